"""Where the gates of a model stand on one dim of a tensor, in as few pieces as they have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_SPANS_MAX = 64  # beyond, one look-up is cheaper than to join so many pieces


@dataclass(frozen=True)
class Span:
    """Consecutive positions of a dim: gates ``start`` to ``stop`` of one group, each ``repeat`` times in a row.

    Attributes:
        group: number of the group, -1 where the positions are ungated.
        start, stop: gates of the group.
        repeat: positions of one gate; of an ungated span, all of them.
    """

    group: int
    start: int
    stop: int
    repeat: int


class Layout:
    """The gate of every position of one dim, as spans of whole groups: slices instead of look-ups.

    Args:
        index: long, [n]: the gate of each position, G for an ungated one.
        sizes: gates of every group, in the order in which they are numbered.
    """

    def __init__(self, index: Tensor, sizes: Sequence[int]) -> None:
        spans = _spans(index.cpu().numpy(), np.asarray(sizes))
        self.spans: tuple[Span, ...] | None = tuple(spans) if len(spans) <= _SPANS_MAX else None
        self._index = index.cpu() if self.spans is None else index.new_empty(0)  # what no few spans describe
        self._sizes = tuple(int(size) for size in sizes)

    def expand(self, pieces: Sequence[Tensor]) -> Tensor:
        """Factors of all positions, [..., n], from the gates of every group, [..., k] each; 1 where ungated."""
        if self.spans is None:
            flat = torch.cat([*pieces, pieces[0].new_ones(*pieces[0].shape[:-1], 1)], -1)
            if self._index.device != flat.device:
                self._index = self._index.to(flat.device)
            return flat[..., self._index]
        parts = [self._part(span, pieces) for span in self.spans]
        return parts[0] if len(parts) == 1 else torch.cat(parts, -1)

    def _part(self, span: Span, pieces: Sequence[Tensor]) -> Tensor:
        if span.group < 0:
            like = pieces[0]
            return like.new_ones(*like.shape[:-1], span.repeat)
        z = pieces[span.group]
        if (span.start, span.stop) != (0, self._sizes[span.group]):
            z = z[..., span.start : span.stop]
        return z if span.repeat == 1 else z[..., None].expand(*z.shape, span.repeat).flatten(-2)


def _spans(
    index: np.ndarray[tuple[int], np.dtype[np.int64]], sizes: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> list[Span]:
    """``index`` as spans: runs of one gate first, then neighbours whose gates follow each other."""
    if not len(index):
        return []
    ends = np.concatenate([[0], np.cumsum(sizes)])
    cuts = np.flatnonzero(np.diff(index)) + 1
    starts = np.concatenate([[0], cuts])
    lengths = np.diff(np.concatenate([starts, [len(index)]]))
    gates = index[starts]
    groups = np.searchsorted(ends, gates, side="right") - 1  # of an ungated position: the number of groups
    joined = (np.diff(gates) == 1) & (np.diff(groups) == 0) & (np.diff(lengths) == 0)
    firsts = np.flatnonzero(np.concatenate([[True], ~joined]))
    lasts = np.concatenate([firsts[1:], [len(gates)]]) - 1
    made = []
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        group = int(groups[first])
        if group == len(sizes):
            made.append(Span(-1, 0, 0, int(lengths[first])))
        else:
            offset = int(ends[group])
            made.append(Span(group, int(gates[first]) - offset, int(gates[last]) - offset + 1, int(lengths[first])))
        if len(made) > _SPANS_MAX:
            break
    return made
