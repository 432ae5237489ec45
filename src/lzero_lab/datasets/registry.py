"""Data sets by name."""

from __future__ import annotations

import os

import numpy as np
import torch

from lzero_lab.datasets.cifar10 import load_cifar10
from lzero_lab.datasets.dataset import Dataset
from lzero_lab.datasets.idx import IDX_SOURCES, load_idx
from lzero_lab.errors import DataError, needing

DIGITS_SPLIT = [1_100, 247, 450]  # training, validation, test: all 1,797


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
        DataError: an unknown name, a file that is missing, truncated or not what its name says, or a package that the
            data needs: scikit-learn for the digits, pillow for CIFAR-10.
    """
    if name == "digits":
        return _load_digits()
    if name in IDX_SOURCES:
        return load_idx(name, data_dir)
    if name == "cifar10":
        return load_cifar10(data_dir)
    raise DataError(f"load: no data set is called {name!r}; there are: {', '.join(names())}")


def names() -> tuple[str, ...]:
    """The names that :func:`load` knows."""
    return ("digits", *IDX_SOURCES, "cifar10")


def _load_digits() -> Dataset:
    with needing("scikit-learn", "digits:"):
        from sklearn.datasets import load_digits
    bunch = load_digits()
    images = torch.from_numpy(bunch.images.astype(np.float32) / 16).unsqueeze(1)
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    # The file's own order is no random one. RandomState's stream is frozen by numpy's compatibility policy.
    order = torch.from_numpy(np.random.RandomState(0).permutation(len(images)))
    train, validation, test = torch.split(order, DIGITS_SPLIT)
    return Dataset(
        "digits", images[train], labels[train], images[validation], labels[validation], images[test], labels[test]
    )
