"""MNIST and Fashion-MNIST from their IDX files."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lzero_lab.datasets.dataset import CLASSES, Dataset, without_validation
from lzero_lab.errors import DataError, damaged

_UNSIGNED_BYTE = 0x08
_CHUNK = 1 << 20


class _Readable(Protocol):
    def read1(self, size: int, /) -> bytes: ...


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


def load_idx(name: str, data_dir: str | os.PathLike[str] | None) -> Dataset:
    """The data set called ``name``, one of :data:`IDX_SOURCES`; see :func:`lzero_lab.datasets.load`."""
    source = IDX_SOURCES[name]
    files = _find_idx_files(name, source, None if data_dir is None else Path(data_dir))
    train_images, train_labels, test_images, test_labels = files
    train_x, train_y = _read_pair(train_images, train_labels, source)
    test_x, test_y = _read_pair(test_images, test_labels, source)
    kept = without_validation(train_images, len(train_x))
    if train_x.shape[1:] != test_x.shape[1:]:
        raise damaged(test_images, f"images of {_size(train_x)} as in {train_images.name}", _size(test_x))
    return Dataset(name, train_x[:kept], train_y[:kept], train_x[kept:], train_y[kept:], test_x, test_y)


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
                raise damaged(path, f"the magic bytes {magic.hex(' ')}", header[:4].hex(" "))
            if len(header) < header_size:
                raise damaged(path, f"a header of {header_size} bytes", f"{len(header)}{damage}")
            shape = tuple(int(size) for size in np.frombuffer(header, dtype=">u4", offset=4))
            expected = math.prod(shape)
            body, damage = _read_up_to(file, expected + 1)  # one more, to notice a surplus
    except OSError as error:
        raise DataError(f"{path}: not readable ({error}); check the path and its permissions") from error
    if len(body) != expected or damage:
        found = f"{len(body):,}{damage}" if len(body) <= expected else "more"
        raise damaged(path, f"{expected:,} bytes for the declared shape {shape}", found)
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


def _find_idx_files(name: str, source: IdxSource, data_dir: Path | None) -> list[Path]:
    """The four files, all from the first folder that holds any of them."""
    folders = [] if data_dir is None else [data_dir / folder for folder in source.folders]
    # Both data sets use the same file names: a folder named after the other one is not ours.
    others = set(IDX_SOURCES) - {name}
    folders = [folder for folder in folders if Path(os.path.realpath(folder)).name not in others]
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
        raise damaged(labels_path, f"{len(images):,} labels, one an image of {images_path.name}", f"{len(labels):,}")
    if images.size == 0:
        raise damaged(images_path, "at least one image", f"shape {images.shape}")
    if labels.max() >= CLASSES:
        raise damaged(labels_path, f"labels from 0 to {CLASSES - 1}", f"a label {labels.max()}")
    x = torch.from_numpy(images).unsqueeze(1).float().div_(255).sub_(source.mean).div_(source.std)
    return x, torch.from_numpy(labels).long()


def _size(images: Tensor) -> str:
    return f"{images.shape[-2]} x {images.shape[-1]} pixels"
