"""Attention within shifted windows of images and clips, with fewer heads than its stream has room for."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lzero.surgery.replacements import replaces

_SWIN = "torchvision.models.swin_transformer"
_HOTTEST = math.log(100.0)  # of a head's logit_scale
_LARGEST = 16.0  # bias that ``cpb_mlp`` may make
_APART = -100.0  # what is added to the score of positions that a cyclic shift alone has put together


@replaces(f"{_SWIN}.ShiftedWindowAttention")
class WindowAttention(nn.Module):
    """The ``ShiftedWindowAttention`` of torchvision, whose heads may make less than the width C of the stream.

    For every head in every window ``softmax(q k^T / sqrt(d) + bias) v``, then ``proj``; ``qkv.weight`` is
    [3 * heads * d, C], ``proj.weight`` [C, heads * d] and the table of the bias [distances, heads].
    """

    qkv: nn.Linear
    proj: nn.Linear
    relative_position_bias_table: Tensor
    relative_position_index: Tensor
    window_size: Sequence[int]
    shift_size: Sequence[int]
    num_heads: int
    attention_dropout: float
    dropout: float

    def forward(self, x: Tensor) -> Tensor:
        """Of ``x`` [B, *space, C], the same."""
        space = x.shape[1:-1]
        window, shift = self._window(space)
        whole = [size + -size % side for size, side in zip(space, window, strict=True)]
        dims, back = list(range(1, x.dim() - 1)), [-step for step in shift]
        padding = [n - size for n, size in zip(reversed(whole), reversed(space), strict=True)]
        x = F.pad(x, (0, 0, *(side for n in padding for side in (0, n))))
        x = torch.roll(x, back, dims) if any(shift) else x
        x = windows(x, window)  # [B, windows, positions, C]
        q, k, v = self._qkv(x)  # [B, windows, heads, positions, d]
        scores = self._scores(q, k) + self._bias(math.prod(window))
        if any(shift):
            scores = scores + _masks(whole, window, shift, x)[:, None]
        weights = F.dropout(scores.softmax(-1), self.attention_dropout, self.training)
        x = self.proj((weights @ v).transpose(2, 3).flatten(3))
        x = image(F.dropout(x, self.dropout, self.training), whole, window)
        x = torch.roll(x, list(shift), dims) if any(shift) else x
        for dim, size in zip(dims, space, strict=True):
            x = x.narrow(dim, 0, size)
        return x.contiguous()

    def _window(self, space: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
        """Sides and shift of the windows; a dim that one window covers is not shifted."""
        covered = [size <= side for size, side in zip(space, self.window_size, strict=True)]
        return self.window_size, [0 if alone else n for alone, n in zip(covered, self.shift_size, strict=True)]

    def _qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        made = F.linear(x, self.qkv.weight, self._qkv_bias())
        q, k, v = made.view(*x.shape[:-1], 3, self.num_heads, -1).permute(3, 0, 1, 4, 2, 5).unbind()
        return q, k, v

    def _qkv_bias(self) -> Tensor | None:
        return self.qkv.bias

    def _scores(self, q: Tensor, k: Tensor) -> Tensor:
        scores: Tensor = (q * q.shape[-1] ** -0.5) @ k.mT
        return scores

    def _bias(self, positions: int) -> Tensor:
        """Of the table, [heads, positions, positions]."""
        return self._by_distance(self.relative_position_bias_table, positions)

    def _by_distance(self, table: Tensor, positions: int) -> Tensor:
        most = math.prod(self.window_size)
        index = self.relative_position_index.view(most, most)[:positions, :positions]
        return table[index.flatten()].view(positions, positions, -1).permute(2, 0, 1)


@replaces(f"{_SWIN}.ShiftedWindowAttentionV2")
class CosineWindowAttention(WindowAttention):
    """The same of version 2: scores are cosines times a scale of each head, and the bias is made by ``cpb_mlp``."""

    cpb_mlp: nn.Sequential
    relative_coords_table: Tensor
    logit_scale: Tensor

    def _qkv_bias(self) -> Tensor | None:
        if self.qkv.bias is None:
            return None
        q, k, v = self.qkv.bias.chunk(3)
        return torch.cat([q, torch.zeros_like(k), v])

    def _scores(self, q: Tensor, k: Tensor) -> Tensor:
        scores: Tensor = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT * self.logit_scale.clamp(max=_HOTTEST).exp()
        return scores

    def _bias(self, positions: int) -> Tensor:
        table = self.cpb_mlp(self.relative_coords_table).view(-1, self.num_heads)
        return self._by_distance(table, positions).sigmoid() * _LARGEST


@replaces("torchvision.models.video.swin_transformer.ShiftedWindowAttention3d")
class ClipWindowAttention(WindowAttention):
    """The same of clips [B, T, H, W, C]: a window shrinks to what is shorter than it."""

    def _window(self, space: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
        _, shift = super()._window(space)
        return [min(pair) for pair in zip(space, self.window_size, strict=True)], shift


def windows(x: Tensor, window: Sequence[int]) -> Tensor:
    """``x`` [B, *space, C] cut into windows, [B, windows, positions, C]."""
    sizes = [n for size, side in zip(x.shape[1:-1], window, strict=True) for n in (size // side, side)]
    last = 2 * len(window) + 1
    x = x.view(len(x), *sizes, x.shape[-1]).permute(0, *range(1, last, 2), *range(2, last, 2), last)
    return x.reshape(len(x), -1, math.prod(window), x.shape[-1])


def image(x: Tensor, space: Sequence[int], window: Sequence[int]) -> Tensor:
    """Windows [B, windows, positions, C] put together, [B, *space, C]."""
    dims, counts = len(window), [size // side for size, side in zip(space, window, strict=True)]
    order = [place for dim in range(dims) for place in (1 + dim, 1 + dims + dim)]
    x = x.reshape(len(x), *counts, *window, x.shape[-1]).permute(0, *order, 2 * dims + 1)
    return x.reshape(len(x), *space, x.shape[-1])


def _masks(space: Sequence[int], window: Sequence[int], shift: Sequence[int], like: Tensor) -> Tensor:
    """What keeps apart, in every window, positions that no window holds without the shift: [windows, n, n]."""
    regions = like.new_zeros(1, *space, 1)
    for dim, (size, side, step) in enumerate(zip(space, window, shift, strict=True), start=1):
        places = torch.arange(size, device=like.device)
        region = (places >= size - side).to(like.dtype) + (places >= size - step) if step else torch.zeros_like(places)
        regions = 3 * regions + region.to(like.dtype).view([-1 if d == dim else 1 for d in range(regions.dim())])
    cut = windows(regions, window)[0]  # [windows, n, 1]
    return (cut != cut.mT).to(like.dtype) * _APART
