"""Where the units of a group lie in the norms of a forward."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from lzero.plan.norm import Norm
from lzero.plan.refusal import Reason
from lzero.tracing.label import Classes, IntArray
from lzero.tracing.norm_call import NormSite

UNEVEN = Reason("a norm takes statistics of more positions of some of its units than of others")


def norms_of(roots: IntArray, sites: Iterable[NormSite], classes: Classes) -> list[Norm] | Reason:
    """The norms over units with these class ``roots`` [k]; why they cannot be gated, where these see them unevenly."""
    unit = np.full(classes.everywhere.size, -1, dtype=np.int64)
    unit[roots] = np.arange(len(roots))
    found = []
    for site in sites:
        owner = np.where(classes.everywhere[site.labels] > 0, unit[classes.everywhere[site.labels]], -1)
        if not (owner >= 0).any():
            continue
        index = _positions(owner, len(roots))
        if index is None or not _even(index, owner.size, site.channel_groups):
            return UNEVEN
        found.append(
            Norm(
                site.path,
                site.dim,
                site.over,
                site.channel_groups,
                site.statistic,
                torch.from_numpy(index),
                owner.size,
                site.weight,
                site.bias,
                site.eps,
            )
        )
    return found


def _positions(owner: IntArray, units: int) -> IntArray | None:
    """The positions of every unit, [k, r]; None where some have more than others."""
    counts = np.bincount(owner[owner >= 0], minlength=units)
    if (counts != counts[0]).any():
        return None
    order = np.argsort(owner, kind="stable")[(owner < 0).sum() :]
    return order.reshape(units, -1)


def _even(index: IntArray, channels: int, groups: int) -> bool:
    """Whether every unit has equally many positions in each of the channel groups."""
    if not groups:
        return True
    group = index // (channels // groups)
    return all(bool(((group == g).sum(1) * groups == index.shape[1]).all()) for g in range(groups))
