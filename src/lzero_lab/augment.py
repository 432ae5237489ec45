"""Random shifts and mirror images of training images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


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
