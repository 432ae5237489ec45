"""A norm that units pass as plain data, and back."""

from __future__ import annotations

from typing import Any, get_args

from lzero.checks import choice, shown, whole
from lzero.errors import StructureError
from lzero.plan.norm import Norm, Statistic
from lzero.plan.positions import read_positions


def record_norm(norm: Norm) -> list[Any]:
    """``norm`` as a list of plain data."""
    index = norm.index.detach().cpu().clone()
    numbers = [int(norm.dim), [int(dim) for dim in norm.over], int(norm.channel_groups)]
    return [norm.path, *numbers, norm.statistic, index, int(norm.length), norm.weight, norm.bias, norm.eps]


def read_norm(place: str, item: object, size: int) -> Norm:
    """The norm over units of ``size`` gates that :func:`record_norm` made ``item`` of.

    Raises:
        StructureError: anything else, naming the entry.
    """
    if type(item) is not list or len(item) != 10:
        raise StructureError(f"{place}: expected a list of 10 entries, found {shown(item)}")
    path, dim, over, groups, statistic, index, length, *names = item
    if not all(type(word) is str for word in (path, *names)):
        raise StructureError(f"{place}: expected names in words, found {shown([path, *names])}")
    if type(over) is not list:
        raise StructureError(f"{place} over: expected a list of dims, found {shown(over)}")
    weight, bias, eps = names
    positions = _whole(f"{place} length", length, 1, 2**62)
    return Norm(
        path,
        _whole(f"{place} dim", dim, -64, 63),
        tuple(_whole(f"{place} over", one, -64, -1) for one in over),
        _whole(f"{place} channel groups", groups, 0, 2**62),
        choice(f"{place} statistic", statistic, get_args(Statistic), error=StructureError),  # type: ignore[arg-type]
        read_positions(f"{place} index", index, size, positions),
        positions,
        weight,
        bias,
        eps,
    )


def _whole(place: str, value: object, least: int, most: int) -> int:
    expected = f"a whole number from {least} to {most}"
    return whole(place, value, least=least, most=most, expected=expected, error=StructureError)
