"""Parts of a dim that are cut out at numbers which a module keeps: fused queries, keys and values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lzero.plan.refusal import Reason
from lzero.tracing.label import IntArray


@dataclass(frozen=True, eq=False)
class Cut:
    """``labels[start : start + size]``, cut out by the op number ``step``; ``reason`` forbids it where it cannot be."""

    labels: IntArray
    start: int
    size: int
    reason: Reason
    step: int

    @property
    def tied(self) -> IntArray | None:
        """The labels as equal parts [n, size], which lose alike; None where this is none of some."""
        whole = self.labels.size
        if self.size > 1 and whole % self.size == 0 and self.start % self.size == 0:
            return self.labels.reshape(-1, self.size)
        return None


def whole_dims(cuts: Sequence[Cut]) -> Iterable[list[Cut]]:
    """The ``cuts`` of each dim that its parts must be tied for, or that freeze it.

    Parts that are unequal and make up the whole dim are left out: each loses what it likes, since the numbers that it
    is cut at are the module's, and follow the units. Where they do not, the proof says so.
    """
    found: dict[bytes, list[Cut]] = {}
    for cut in cuts:
        found.setdefault(cut.labels.tobytes(), []).append(cut)
    return [parts for parts in found.values() if not _unequal_and_whole(parts)]


def _unequal_and_whole(parts: Sequence[Cut]) -> bool:
    places = sorted({(part.start, part.size) for part in parts})
    ends = np.cumsum([0, *(size for _, size in places)])
    meet = all(start == end for (start, _), end in zip(places, ends, strict=False))
    return meet and int(ends[-1]) == parts[0].labels.size and len({size for _, size in places}) > 1
