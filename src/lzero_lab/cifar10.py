"""CIFAR-10 from a tar archive of image files."""

from __future__ import annotations

import io
import os
import tarfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image

from lzero.errors import DataError

ARCHIVE = "cifar10-jpeg.tar.gz"
FOLDERS = ("cifar10", ".")  # below the data folder, tried in this order
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of the training pixels after scaling to 0..1

_SPLITS = ("train", "test")
_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
_SIZE = (32, 32)
_LARGEST = 1 << 20  # bytes of one file; a real one has about 300

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


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
                    raise _broken(path, f"{member.name} of at most {_LARGEST:,} bytes", f"{member.size:,}")
                file = archive.extractfile(member)
                content = b"" if file is None else file.read()
                found[split].append((kind, name, _decode(path, member.name, content, _FORMATS[suffix])))
    except (tarfile.TarError, OSError, EOFError, zlib.error) as problem:
        raise DataError(f"{path}: not readable as a tar archive ({problem}); replace it by the original file") from None
    classes = {split: sorted({kind for kind, _, _ in files}) for split, files in found.items()}
    if not classes["train"] or classes["train"] != classes["test"]:
        raise _broken(
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
    try:
        with Image.open(io.BytesIO(content), formats=(format_,)) as image:
            if image.size != _SIZE:  # known from the header, before any pixel is decoded
                raise _broken(path, f"{name} of 32 x 32 pixels", " x ".join(map(str, image.size)))
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except (OSError, SyntaxError, Image.DecompressionBombError) as problem:
        raise _broken(path, f"{name} as {format_}", f"{problem}") from problem


def _broken(path: str | os.PathLike[str], expected: str, found: str) -> DataError:
    return DataError(f"{path}: expected {expected}, found {found}; replace it by the original file")
