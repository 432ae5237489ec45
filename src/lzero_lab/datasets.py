"""Data sets as plain tensors: scikit-learn's digits, MNIST and Fashion-MNIST from IDX files, CIFAR-10 from images."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lzero.errors import DataError
from lzero_lab import cifar10

CLASSES = 10
VALIDATION_IMAGES = 5_000  # taken from the end of the training files, which are shuffled first where they are sorted
DIGITS_SPLIT = [1_100, 247, 450]  # training, validation, test: all 1,797

_UNSIGNED_BYTE = 0x08
_CHUNK = 1 << 20


class _Readable(Protocol):
    def read1(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images [N, C, H, W] in float32 and labels [N] in int64, for training, validation and test."""

    name: str
    train_x: Tensor
    train_y: Tensor
    validation_x: Tensor
    validation_y: Tensor
    test_x: Tensor
    test_y: Tensor
    classes: int = CLASSES

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        channels, height, width = self.train_x.shape[1:]
        return channels, height, width

    @property
    def features(self) -> int:
        """Numbers in one flattened image."""
        return self.train_x[0].numel()

    def to(self, device: torch.device | str) -> Dataset:
        """The same data on ``device``."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        values |= {name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)}
        return Dataset(**values)


@dataclass(frozen=True)
class IdxSource:
    """Where the four IDX files of a data set may lie, and how its pixels are normalised."""

    folders: tuple[str, ...]  # below the data folder, tried in this order
    system_folders: tuple[str, ...]  # tried last, with or without a data folder
    mean: float
    std: float


# Mean and standard deviation of the training pixels after scaling to 0..1.
IDX_SOURCES = {
    "mnist": IdxSource(("mnist", "MNIST/raw", "."), (), 0.1307, 0.3081),
    "fashion-mnist": IdxSource(
        ("fashion-mnist", "FashionMNIST/raw", "."), ("/usr/share/datasets/fashion-mnist",), 0.2860, 0.3530
    ),
}
IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def load(name: str, data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """The data set called `name`: "digits", "mnist", "fashion-mnist" or "cifar10"; the same split and order every time.

    Pixels are scaled to 0..1; all but the digits are then normalised by their training mean and standard deviation (of
    each colour), while the digits stay in 0..1, since their border pixels are constant zeros that should remain zero.
    The last 5,000 training images are for validation; those of CIFAR-10, which its archive has class by class, after a
    shuffle that is the same every time.

    Args:
        name: one of :func:`names`.
        data_dir: the folder with the IDX files, plain or gzipped, or with ``cifar10-jpeg.tar.gz``; they may also lie in
            a subfolder of the data set's name. The digits come with scikit-learn and need none.

    Raises:
        DataError: an unknown name, or a file that is missing, truncated or not what its name says.
    """
    if name == "digits":
        return _load_digits()
    if name in IDX_SOURCES:
        return _load_idx(name, IDX_SOURCES[name], None if data_dir is None else Path(data_dir))
    if name == "cifar10":
        return _load_cifar10(cifar10.find_archive(data_dir))
    raise DataError(f"load: no data set is called {name!r}; there are: {', '.join(names())}")


def names() -> tuple[str, ...]:
    """The names that :func:`load` knows."""
    return ("digits", *IDX_SOURCES, "cifar10")


def batches(
    x: Tensor, y: Tensor, batch_size: int, generator: torch.Generator, *, drop_last: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of shuffled batches, every example once; the last batch is smaller unless `drop_last`.

    The order comes from `generator` alone, so its state is all that a resumed run has to restore.

    Raises:
        DataError: a batch size below one, or inputs and labels of different lengths.
    """
    if batch_size < 1:
        raise DataError(f"batches: batch_size is {batch_size}, expected at least 1")
    if len(x) != len(y):
        raise DataError(f"batches: {len(x)} inputs but {len(y)} labels; they must pair up")
    order = torch.randperm(len(x), generator=generator, device=generator.device).to(x.device)
    end = len(x) - len(x) % batch_size if drop_last else len(x)
    # A generator expression, not a generator function: the checks above run at the call.
    return ((x[chosen], y[chosen]) for chosen in torch.split(order[:end], batch_size) if len(chosen))


def read_idx(path: str | os.PathLike[str], dimensions: int) -> npt.NDArray[np.uint8]:
    """The unsigned bytes in an IDX file, plain or gzipped by suffix, in the shape that its header declares.

    The header is two zero bytes, the type code 8, the number of dimensions, then each size as a big-endian
    32-bit integer. Memory follows what the file holds, never what its header claims.

    Raises:
        DataError: the file is unreadable, has another magic number, or holds fewer or more bytes than declared.
    """
    path = Path(path)
    magic = bytes([0, 0, _UNSIGNED_BYTE, dimensions])
    header_size = 4 + 4 * dimensions
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header, damage = _read_up_to(file, header_size)
            if header[:4] != magic[: len(header)]:
                raise _broken(path, f"the magic bytes {magic.hex(' ')}", header[:4].hex(" "))
            if len(header) < header_size:
                raise _broken(path, f"a header of {header_size} bytes", f"{len(header)}{damage}")
            shape = tuple(int(size) for size in np.frombuffer(header, dtype=">u4", offset=4))
            expected = math.prod(shape)
            body, damage = _read_up_to(file, expected + 1)  # one more, to notice a surplus
    except OSError as error:
        raise DataError(f"{path}: not readable ({error}); check the path and its permissions") from error
    if len(body) != expected or damage:
        found = f"{len(body):,}{damage}" if len(body) <= expected else "more"
        raise _broken(path, f"{expected:,} bytes for the declared shape {shape}", found)
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def _read_up_to(file: _Readable, size: int) -> tuple[bytearray, str]:
    """At most `size` bytes and, where a gzip stream broke off before them, how.

    Gathered in chunks, so that a header that lies about its size cannot ask for the memory up front.
    """
    content = bytearray()
    try:
        # read1 hands over what is there before a damaged stream raises; read would drop it.
        while len(content) < size and (chunk := file.read1(min(_CHUNK, size - len(content)))):
            content += chunk
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        return content, f" (gzip: {error})"
    return content, ""


def _broken(path: Path, expected: str, found: str) -> DataError:
    return DataError(f"{path}: expected {expected}, found {found or 'none'}; replace it by the original file")


def _load_digits() -> Dataset:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise DataError('digits: they come with scikit-learn; install it with pip install "lzero[demo]"') from error
    bunch = load_digits()
    images = torch.from_numpy(bunch.images.astype(np.float32) / 16).unsqueeze(1)
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    # The file's own order is no random one. RandomState's stream is frozen by numpy's compatibility policy.
    order = torch.from_numpy(np.random.RandomState(0).permutation(len(images)))
    train, validation, test = torch.split(order, DIGITS_SPLIT)
    return Dataset(
        "digits", images[train], labels[train], images[validation], labels[validation], images[test], labels[test]
    )


def _load_cifar10(path: Path) -> Dataset:
    splits = cifar10.read_archive(path)
    (train_x, train_y), (test_x, test_y) = ((_normalised(x), torch.from_numpy(y)) for x, y in splits.values())
    if len(train_x) <= VALIDATION_IMAGES:
        raise _broken(
            path, f"more than {VALIDATION_IMAGES:,} training images (the last are for validation)", f"{len(train_x):,}"
        )
    # RandomState's stream is frozen by numpy's compatibility policy.
    order = torch.from_numpy(np.random.RandomState(0).permutation(len(train_x)))
    train, validation = order[:-VALIDATION_IMAGES], order[-VALIDATION_IMAGES:]
    return Dataset(
        "cifar10", train_x[train], train_y[train], train_x[validation], train_y[validation], test_x, test_y,
        classes=int(train_y.max()) + 1,
    )  # fmt: skip


def _normalised(images: cifar10.Images) -> Tensor:
    """Colours [N, H, W, 3] as float32 [N, 3, H, W]."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float().div_(255)
    mean, std = (torch.tensor(values)[:, None, None] for values in (cifar10.MEAN, cifar10.STD))
    return x.sub_(mean).div_(std)


def _load_idx(name: str, source: IdxSource, data_dir: Path | None) -> Dataset:
    train_images, train_labels, test_images, test_labels = _find_idx_files(name, source, data_dir)
    train_x, train_y = _read_pair(train_images, train_labels, source)
    test_x, test_y = _read_pair(test_images, test_labels, source)
    if len(train_x) <= VALIDATION_IMAGES:
        raise _broken(
            train_images, f"more than {VALIDATION_IMAGES:,} images (the last are for validation)", f"{len(train_x):,}"
        )
    if train_x.shape[1:] != test_x.shape[1:]:
        raise _broken(test_images, f"images of {_size(train_x)} as in {train_images.name}", _size(test_x))
    kept = len(train_x) - VALIDATION_IMAGES
    return Dataset(name, train_x[:kept], train_y[:kept], train_x[kept:], train_y[kept:], test_x, test_y)


def _find_idx_files(name: str, source: IdxSource, data_dir: Path | None) -> list[Path]:
    """The four files, all from the first folder that holds any of them."""
    folders = [] if data_dir is None else [data_dir / folder for folder in source.folders]
    # Both data sets use the same file names: a folder named after the other one is not ours.
    others = set(IDX_SOURCES) - {name}
    folders = [folder for folder in folders if folder.resolve().name not in others]
    folders += [Path(folder) for folder in source.system_folders]
    missing = list(IDX_FILES)
    for folder in folders:
        found = {stem: path for stem in IDX_FILES for path in (folder / stem, folder / f"{stem}.gz") if path.is_file()}
        if len(found) == len(IDX_FILES):
            return [found[stem] for stem in IDX_FILES]
        if found:
            missing = [stem for stem in IDX_FILES if stem not in found]
            folders = [folder]
            break
    if data_dir is None and not folders:
        raise DataError(
            f"{name}: no data folder was named; put {', '.join(IDX_FILES)} (plain or .gz) into one folder and pass it "
            "as data_dir (--data-dir)"
        )
    raise DataError(
        f"{name}: missing {', '.join(missing)} (plain or .gz) in {' or '.join(map(str, folders))}; put the files "
        "there, or pass the folder that holds them as data_dir (--data-dir)"
    )


def _read_pair(images_path: Path, labels_path: Path, source: IdxSource) -> tuple[Tensor, Tensor]:
    """Normalised images [N, 1, H, W] and their labels [N]."""
    images, labels = read_idx(images_path, dimensions=3), read_idx(labels_path, dimensions=1)
    if len(images) != len(labels):
        raise _broken(labels_path, f"{len(images):,} labels, one an image of {images_path.name}", f"{len(labels):,}")
    if images.size == 0:
        raise _broken(images_path, "at least one image", f"shape {images.shape}")
    if labels.max() >= CLASSES:
        raise _broken(labels_path, f"labels from 0 to {CLASSES - 1}", f"a label {labels.max()}")
    x = torch.from_numpy(images).unsqueeze(1).float().div_(255).sub_(source.mean).div_(source.std)
    return x, torch.from_numpy(labels).long()


def _size(images: Tensor) -> str:
    return f"{images.shape[-2]} x {images.shape[-1]} pixels"
