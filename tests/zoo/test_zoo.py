"""The zoo: every model is found, proved, gated, purged and counted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from zoo.convolutional import CONVOLUTIONAL
from zoo.hugging_face import HUGGING_FACE
from zoo.measure import measure
from zoo.sequences import ZOO
from zoo.width import WITH_WIDTH

ENTRIES = {**CONVOLUTIONAL, **ZOO, **HUGGING_FACE, **WITH_WIDTH}


def test_there_are_enough_and_the_front_page_says_how_many() -> None:
    assert len(CONVOLUTIONAL) + len(ZOO) >= 40
    readme = Path(__file__).parents[2] / "README.md"
    assert f"a row for each of {len(ENTRIES)} small models" in readme.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ENTRIES)
def test_model(name: str) -> None:
    entry = ENTRIES[name]
    torch.manual_seed(0)
    row = measure(entry.build(), entry.inputs(), entry.granularity)
    assert row.plan.reachable >= entry.reach * row.plan.parameters, f"\n{row.plan}"
    assert row.found >= len(row.plan)
    assert row.double < 1e-9
    assert row.single < 1e-5
    assert row.attached < 1e-9
    assert row.effect > 1e-4
    assert max(found for found, _ in row.params) < row.plan.parameters
    assert all(found == counted for found, counted in row.params), row.params
    assert entry.routed or all(found == counted for found, counted in row.macs), row.macs
    assert all(refusal.reason for refusal in row.plan.refusals)
