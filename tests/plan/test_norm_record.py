"""A norm as plain data and back; what no plan has written is refused by name."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch
from streams import built, given

import lzero
from lzero.errors import StructureError
from lzero.plan.norm import Norm
from lzero.plan.norm_record import read_norm, record_norm
from lzero.plan.plan import Plan

NORM = Norm("body.norm", 1, (-3, -2, -1), 3, "mean", torch.tensor([[0, 2], [1, 3]]), 6, "weight", "bias", "eps")


def assert_same(one: Norm, two: Norm) -> None:
    for field in fields(Norm):
        a, b = getattr(one, field.name), getattr(two, field.name)
        assert torch.equal(a, b) if field.name == "index" else a == b


def test_it_comes_back() -> None:
    assert_same(read_norm("norms[0]", record_norm(NORM), 2), NORM)


@pytest.mark.parametrize(
    ("entry", "value", "said"),
    [
        (0, 3, "expected names in words"),
        (1, "x", "dim: expected a whole number"),
        (2, -1, "over: expected a list of dims"),
        (2, [0], "over: expected a whole number from -64 to -1"),
        (3, -1, "channel groups: expected"),
        (4, "median", "statistic: expected one of 'mean', 'square', 'length'"),
        (5, torch.tensor([[0, 2], [1, 2]]), "index: expected distinct positions from 0 to 5"),
        (5, torch.tensor([[0, 2]]), "index: expected int64 positions"),
        (5, None, "index: expected int64 positions"),
        (6, 2, "index: expected distinct positions from 0 to 1"),
        (9, None, "expected names in words"),
    ],
)
def test_what_no_plan_has_written_is_refused(entry: int, value: Any, said: str) -> None:
    row = record_norm(NORM)
    row[entry] = value
    with pytest.raises(StructureError, match=said):
        read_norm("norms[0]", row, 2)


def test_other_lists_are_refused() -> None:
    for item in (None, [], record_norm(NORM)[:-1]):
        with pytest.raises(StructureError, match=r"norms\[0\]: expected a list of 10 entries"):
            read_norm("norms[0]", item, 2)


def test_a_saved_plan_keeps_its_norms(tmp_path: Path) -> None:
    plan = lzero.discover(built("group norm"), (given("group norm", 2, 6),), granularity="width")
    plan.save(tmp_path / "plan")
    loaded = Plan.load(tmp_path / "plan")
    assert loaded.granularity == {"": "width"}
    for one, two in zip(plan.groups, loaded.groups, strict=True):
        assert len(one.norms) == len(two.norms)
        for a, b in zip(one.norms, two.norms, strict=True):
            assert_same(a, b)
    assert any(group.norms for group in loaded)
