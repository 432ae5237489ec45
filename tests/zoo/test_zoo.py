"""The zoo: every model is found, proved, gated, purged and counted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from exactness import largest_difference
from zoo.convolutional import CONVOLUTIONAL
from zoo.hugging_face import HUGGING_FACE
from zoo.measure import measure
from zoo.sequences import ZOO
from zoo.width import WITH_WIDTH

from lzero import attach_gates, purge
from lzero.gates import Deterministic
from lzero.host.run import run

ENTRIES = {**CONVOLUTIONAL, **ZOO, **HUGGING_FACE, **WITH_WIDTH}


def test_there_are_enough_and_a_page_says_how_many() -> None:
    assert len(CONVOLUTIONAL) + len(ZOO) >= 40
    page = Path(__file__).parents[2] / "docs" / "how.md"
    assert f"a row for each of {len(ENTRIES)} small models" in page.read_text(encoding="utf-8")


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
    assert row.compacted < 1e-9
    assert row.effect > 1e-4
    assert max(found for found, _ in row.params) < row.plan.parameters
    assert all(found == counted for found, counted in row.params), row.params
    assert entry.routed or all(found == counted for found, counted in row.macs), row.macs
    assert all(refusal.reason for refusal in row.plan.refusals)


def _pictures(name: str) -> bool:
    inputs = ENTRIES[name].inputs()
    return isinstance(inputs, torch.Tensor) and inputs.dim() == 4


_BRIEF = ("ResNet", "MobileNetV3", "ConvNeXt", "ViT")


@pytest.mark.parametrize(
    "name",
    [name if name in _BRIEF else pytest.param(name, marks=pytest.mark.slow) for name in filter(_pictures, ENTRIES)],
)
def test_model_with_channels_last(name: str) -> None:
    """What is found does not depend on how pictures lie in memory, and stays exact where they lie otherwise."""
    entry, last = ENTRIES[name], torch.channels_last
    torch.manual_seed(0)
    model, inputs = entry.build().to(memory_format=last), entry.inputs().to(memory_format=last)
    gates = attach_gates(model, inputs)
    assert gates.plan.reachable >= entry.reach * gates.plan.parameters, f"\n{gates.plan}"
    with torch.no_grad():
        gates.log_alpha.copy_(torch.randn(len(gates)) * 3)
        for view in gates.split(gates.log_alpha).values():
            view[0] = 1.0
    model, new = model.double(), torch.cat([torch.randn_like(inputs), inputs]).double().to(memory_format=last)
    small = purge(model, settle=False, verify=False).model
    difference, scale = largest_difference(run(model, new), run(small, new))
    assert difference < 1e-9 * scale


_SCALED = ("ResNet", "ViT", "GPT", "LSTM")


@pytest.mark.parametrize("name", _SCALED)
def test_gates_that_are_not_drawn_are_folded_in_whatever_their_scale(name: str) -> None:
    entry = ENTRIES[name]
    torch.manual_seed(0)
    model = entry.build()
    gates = attach_gates(model, entry.inputs(), granularity=entry.granularity, estimator=Deterministic())
    with torch.no_grad():
        gates.log_alpha.copy_(torch.randn(len(gates)) * 2)
        for view in gates.split(gates.log_alpha).values():
            view[0] = 2.5
    model, inputs = model.double().eval(), entry.inputs()
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    assert float(gates.current().z.max()) > 2
    small = purge(model, settle=False, verify=False).model
    difference, scale = largest_difference(run(model, inputs), run(small, inputs))
    assert difference < 1e-9 * scale
