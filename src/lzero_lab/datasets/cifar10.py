"""CIFAR-10 from a tar archive of image files, or from the file that its images were decoded into."""

from __future__ import annotations

import io
import os
import tarfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lzero_lab.datasets.dataset import Dataset, without_validation
from lzero_lab.errors import DataError, damaged, needing
from lzero_lab.files import read_tensors, write_tensors

ARCHIVE = "cifar10-jpeg.tar.gz"
DECODED = "cifar10.pt"  # what decode writes; it is read in the place of an archive beside it
FOLDERS = ("cifar10", ".")  # below the data folder, tried in this order
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of the training pixels after scaling to 0..1

_SPLITS = ("train", "test")
_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
_SIZE = (32, 32)
_LARGEST = 1 << 20  # bytes of one file; a real one has about 300

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


def load_cifar10(data_dir: str | os.PathLike[str] | None) -> Dataset:
    """CIFAR-10 from what lies in ``data_dir``; see :func:`lzero_lab.datasets.load`."""
    path = find_decoded(data_dir) or find_archive(data_dir)
    splits = read_decoded(path) if path.name == DECODED else read_archive(path)
    (train_x, train_y), (test_x, test_y) = ((_normalised(x), torch.from_numpy(y)) for x, y in splits.values())
    kept = without_validation(path, len(train_x))
    # RandomState's stream is frozen by numpy's compatibility policy.
    order = torch.from_numpy(np.random.RandomState(0).permutation(len(train_x)))
    train, validation = order[:kept], order[kept:]
    return Dataset(
        "cifar10", train_x[train], train_y[train], train_x[validation], train_y[validation], test_x, test_y,
        classes=int(train_y.max()) + 1,
    )  # fmt: skip


def find_archive(data_dir: str | os.PathLike[str] | None) -> Path:
    """The archive in ``data_dir`` or its subfolder ``cifar10``.

    Raises:
        DataError: no folder was named, or there is no archive in it.
    """
    if data_dir is None:
        raise DataError(
            f"cifar10: no data folder was named; put {ARCHIVE}, with train/<class>/NNNN.jpg and test/<class>/NNNN.jpg "
            "in it, into a folder and pass that as data_dir (--data-dir)"
        )
    places = [Path(data_dir, folder, ARCHIVE) for folder in FOLDERS]
    for place in places:
        if place.is_file():
            return place
    raise DataError(
        f"cifar10: missing {' or '.join(map(str, places))}; put the archive there, or pass the folder that holds it as "
        "data_dir (--data-dir)"
    )


def find_decoded(data_dir: str | os.PathLike[str] | None) -> Path | None:
    """The file :data:`DECODED` in ``data_dir`` or its subfolder ``cifar10``; None where there is none."""
    places = [] if data_dir is None else [Path(data_dir, folder, DECODED) for folder in FOLDERS]
    return next((place for place in places if place.is_file()), None)


def decode(data_dir: str | os.PathLike[str], folder: str | os.PathLike[str]) -> Path:
    """The file :data:`DECODED` in ``folder``, with the images of the archive in ``data_dir``.

    As a ``data_dir``, the folder then gives the same data set many times faster: for several processes, or many starts.

    Raises:
        DataError: no archive, or a damaged one.
    """
    path = Path(folder, DECODED)
    splits = read_archive(find_archive(data_dir))
    write_tensors(path, {split: [torch.from_numpy(part) for part in parts] for split, parts in splits.items()})
    return path


def read_decoded(path: str | os.PathLike[str]) -> dict[str, tuple[Images, Labels]]:
    """What :func:`read_archive` returned to :func:`decode`, from the file at ``path``.

    Raises:
        DataError: a file that is damaged, or holds something else.
    """
    values = read_tensors(path, set(_SPLITS), "delete it; it is made anew from the archive")
    found = {}
    for split in _SPLITS:
        parts = values[split]
        x, y = parts if isinstance(parts, list) and len(parts) == 2 else (None, None)
        if not isinstance(x, Tensor) or not isinstance(y, Tensor) or x.dtype != torch.uint8 or y.dtype != torch.int64:
            raise damaged(path, f"images and labels for {split}", "something else")
        if tuple(x.shape) != (len(y), *_SIZE, 3):
            raise damaged(path, f"{split} of {len(y)} x 32 x 32 x 3", " x ".join(map(str, x.shape)))
        found[split] = x.numpy(), y.numpy()
    return found


def read_archive(path: str | os.PathLike[str]) -> dict[str, tuple[Images, Labels]]:
    """Under ``"train"`` and ``"test"`` the images [N, 32, 32, 3] and labels [N] of the archive at ``path``.

    Files are ``<split>/<class>/<name>.jpg`` (or .jpeg, .png), whatever lies above; labels number the classes in
    alphabetical order, which is CIFAR-10's own. Images come class by class, then by name, in whatever order the archive
    has them. It is read as a stream: nothing is written to disk, and no path in it is followed.

    Raises:
        DataError: a file that is damaged, no image or not 32 x 32; or splits that are empty or differ in classes.
    """
    found: dict[str, list[tuple[str, str, Images]]] = {split: [] for split in _SPLITS}
    try:
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                place = PurePosixPath(member.name)
                suffix = place.suffix.lower()
                if not member.isfile() or len(place.parts) < 3 or suffix not in _FORMATS:
                    continue
                split, kind, name = place.parts[-3:]
                if split not in found:
                    continue
                if member.size > _LARGEST:
                    raise damaged(path, f"{member.name} of at most {_LARGEST:,} bytes", f"{member.size:,}")
                file = archive.extractfile(member)
                content = b"" if file is None else file.read()
                found[split].append((kind, name, _decode(path, member.name, content, _FORMATS[suffix])))
    except (tarfile.TarError, OSError, EOFError, zlib.error) as problem:
        raise DataError(f"{path}: not readable as a tar archive ({problem}); replace it by the original file") from None
    classes = {split: sorted({kind for kind, _, _ in files}) for split, files in found.items()}
    if not classes["train"] or classes["train"] != classes["test"]:
        raise damaged(
            path,
            "train/<class>/NNNN.jpg and test/<class>/NNNN.jpg, of the same classes",
            "; ".join(f"{split}: {', '.join(kinds) or 'none'}" for split, kinds in classes.items()),
        )
    number = {kind: label for label, kind in enumerate(classes["train"])}
    stacked = {}
    for split, files in found.items():
        files.sort(key=lambda file: file[:2])
        labels = np.array([number[kind] for kind, _, _ in files], dtype=np.int64)
        stacked[split] = np.stack([image for _, _, image in files]), labels
    return stacked


def _decode(path: str | os.PathLike[str], name: str, content: bytes, format_: str) -> Images:
    with needing("pillow", "cifar10:"):
        from PIL import Image
    try:
        with Image.open(io.BytesIO(content), formats=(format_,)) as image:
            if image.size != _SIZE:  # known from the header, before any pixel is decoded
                raise damaged(path, f"{name} of 32 x 32 pixels", " x ".join(map(str, image.size)))
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except (OSError, SyntaxError, Image.DecompressionBombError) as problem:
        raise damaged(path, f"{name} as {format_}", f"{problem}") from problem


def _normalised(images: Images) -> Tensor:
    """Colours [N, H, W, 3] as float32 [N, 3, H, W]."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().float().div_(255)
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return x.sub_(mean).div_(std)
