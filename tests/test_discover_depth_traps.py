"""Blocks that are counted, numbered, shared or read beside their stream: what is accepted is exact."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from depth_traps import EXACT, REFUSED, Frozen, Net, plain
from streams import close_some

import lzero
from lzero.errors import StructureError

pytestmark = pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")


def built(build, seed=0):
    torch.manual_seed(seed)
    return build().double().eval()


def gap(one, two):
    """The largest difference of two results, of any form, in parts of the first."""
    pairs = [(one, two)] if isinstance(one, torch.Tensor) else list(zip(one, two, strict=True))
    return max(float((a - b).abs().max() / a.abs().max()) for a, b in pairs)


def given(batch, time):
    return torch.randn(batch, time, 5, dtype=torch.float64)


@pytest.mark.parametrize("name", EXACT)
@torch.no_grad()
def test_what_is_closed_is_exact_on_fresh_inputs_in_both_modes_and_from_its_file(name, tmp_path):
    build, expected = EXACT[name]
    model, x = built(build), given(3, 9)
    gates = lzero.attach_gates(model, given(2, 6), granularity="width+depth" if len(name) % 2 else "depth")
    found = {group.name: (group.size, {block.closed for block in group.blocks}) for group in gates.plan if group.blocks}
    assert found == {group: (size, {closed}) for group, (size, closed) in expected.items()}, str(gates.plan)
    for seed in range(2):
        close_some(gates, 0.4 + 0.3 * seed, seed)
        result = lzero.purge(model, settle=False)
        assert gap(model(x), result.model(x)) < 1e-11
        gates.hold(gates.open_mask())
        assert gap(model.train()(x), result.model.train()(x)) < 1e-11
        gates.hold(None)
        model.eval(), result.model.eval()
        lzero.save_purged(result, tmp_path / str(seed))
        for saved in (tmp_path / str(seed), result.model.state_dict()):
            assert torch.equal(flat(lzero.load_purged(built(build, 1), saved)(x)), flat(result.model(x)))


def flat(results: Any) -> torch.Tensor:
    return results if isinstance(results, torch.Tensor) else torch.cat([each.flatten() for each in results])


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_closed_is_refused_for_its_true_reason(name):
    build, why = REFUSED[name]
    plan = lzero.discover(built(build), given(2, 6), granularity="width+depth")
    assert not any(group.blocks for group in plan), str(plan)
    reasons = [f"{refusal.reason}: {refusal.advice}" for refusal in plan.refusals if "layers" in refusal.name]
    assert any(re.search(why, reason) for reason in reasons), reasons


def test_gates_of_blocks_alone_are_found_copied_saved_and_taken_off():
    model, x = built(lambda: Net(plain, Frozen)), given(2, 6)
    before, names = model(x), set(model.state_dict())
    gates = lzero.attach_gates(model, x, granularity="depth")
    assert lzero.gates_of(model) is gates and all(group.blocks for group in gates.plan)
    assert torch.equal(model(x), before)
    close_some(gates, 0.5, 1)
    other = built(lambda: Net(plain, Frozen), 1)
    lzero.attach_gates(other, gates.plan)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), model(x)) and not torch.equal(model(x), before)
    with pytest.raises(StructureError, match="whole blocks of it are closed"):
        lzero.detach_gates(model)
    gates.log_alpha.data.fill_(9.0)
    lzero.detach_gates(model)
    assert set(model.state_dict()) == names and torch.equal(model(x), before)


def test_gates_of_blocks_for_each_example_are_refused():
    model = built(lambda: Net(plain))
    with pytest.raises(StructureError, match=r"layers\.0 has one gate as a whole, which switches it for all examples"):
        lzero.attach_gates(model, given(2, 6), granularity="depth", per_example=True)
