"""Images and their labels: the parts of a data set, the batches of an epoch, random crops of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lzero_lab.errors import DataError, damaged

CLASSES = 10
VALIDATION_IMAGES = 5_000  # taken from the end of the training files, which are shuffled first where they are sorted


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


def without_validation(path: str | os.PathLike[str], images: int) -> int:
    """How many of the ``images`` in the training file at ``path`` are left without those for validation.

    Raises:
        DataError: none are left.
    """
    if images <= VALIDATION_IMAGES:
        expected = f"more than {VALIDATION_IMAGES:,} training images (the last are for validation)"
        raise damaged(path, expected, f"{images:,}")
    return images - VALIDATION_IMAGES


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
        raise DataError(f"batches: {len(x)} inputs but {len(y)} labels; give one label an input")
    order = torch.randperm(len(x), generator=generator, device=generator.device).to(x.device)
    end = len(x) - len(x) % batch_size if drop_last else len(x)
    # A generator expression, not a generator function: the checks above run at the call.
    return ((x[chosen], y[chosen]) for chosen in torch.split(order[:end], batch_size) if len(chosen))


def crop_and_flip(x: Tensor, generator: torch.Generator | None = None, *, padding: int = 4) -> Tensor:
    """Every image of ``x`` shifted by up to ``padding`` pixels each way, and mirrored with probability 1/2.

    The shifts are crops of the zero-padded image (zero is the mean colour where images are normalised), drawn
    uniformly and apart for every image. The whole batch is one gather on its device, and the result lies in memory as
    channels-last.

    Args:
        x: [N, C, H, W].
        generator: where the draws come from; by default torch's global one of the device of ``x``.
        padding: zeros added on each side.

    Shapes: [N, C, H, W], as ``x``.
    """
    count, _, height, width = x.shape
    device = x.device if generator is None else generator.device
    top, left = torch.randint(0, 2 * padding + 1, (2, count), generator=generator, device=device).to(x.device)
    mirrored = torch.randint(0, 2, (count, 1), generator=generator, device=device).to(x.device).bool()
    rows = top[:, None] + torch.arange(height, device=x.device)  # [N, H]
    columns = left[:, None] + torch.arange(width, device=x.device)  # [N, W]
    columns = torch.where(mirrored, columns.flip(1), columns)
    example = torch.arange(count, device=x.device)[:, None, None]
    padded = F.pad(x, [padding] * 4)
    return padded[example, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)  # the gather is [N, H, W, C]
