"""Blocks and branches as a whole: exact in every shape of network that has them, and refused for the true reason."""

import dataclasses

import pytest
import torch
from deep_nets import EXACT, REFUSED, blocks_in, built, close_some, given
from torch import nn

import lzero
from lzero.errors import StructureError
from lzero.host.promoted import Promoted

QUICK = (
    "post-norm",
    "a Sequential called whole",
    "by number",
    "zip strict",
    "last two states",
    "pairs unread",
    "a mask first",
    "an entry that is None",
    "widths",
    "blocks in blocks",
)
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in EXACT]

pytestmark = pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")


def gap_and_move(model, plan, fresh, sets=3):
    """The largest relative difference of gated and purged outputs, and how far the gated ones are from the model's."""
    with torch.no_grad():
        before = model(fresh)
    gates = lzero.attach_gates(model, plan)
    worst = moved = 0.0
    for seed in range(sets):
        close_some(gates, 0.2 + 0.2 * seed, seed)
        small = lzero.purge(model, verify=False).model
        with torch.no_grad(), Promoted():
            expected, found = model(fresh), small(fresh)
        worst = max(worst, float((expected - found).abs().max() / expected.abs().max()))
        moved = max(moved, float((expected - before).abs().max()))
        count = sum(parameter.numel() for parameter in small.parameters())
        assert count == round(float(lzero.cost.Cost(gates).value(gates.open_mask())))
    return worst, moved


@pytest.mark.parametrize("name", NAMES)
def test_blocks_are_exact_on_fresh_inputs_of_another_size(name):
    build, closed = EXACT[name]
    model = built(build)
    plan = lzero.discover(model, given(name, 2, 8), granularity="depth")
    assert [block.closed for block in blocks_in(plan)] == closed.split(), str(plan)
    worst, moved = gap_and_move(model, plan, given(name, 3, 12))
    assert worst < 1e-12 < 1e-3 < moved


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_closed_says_why(name):
    build, path, why = REFUSED[name]
    model = built(build)
    plan = lzero.discover(model, given(name, 2, 5), granularity="depth")
    assert path not in [block.path for block in blocks_in(plan)]
    refused = {refusal.name: refusal for refusal in plan.refusals}
    assert why in refused[path].reason and why in str(plan)
    if plan.groups:
        worst, _ = gap_and_move(model, plan, given(name, 3, 7), sets=1)
        assert worst < 1e-12


def test_a_refused_block_names_its_own_tensors():
    plan = lzero.discover(built(REFUSED["both results"][0]), given("", 2, 5), granularity="depth")
    (refusal,) = (refusal for refusal in plan.refusals if refusal.name == "layers.1")
    assert refusal.tensors and all(name.startswith("layers.1.") for name in refusal.tensors)


@pytest.mark.parametrize("kept", [(0, 2), (3,), (1, 2, 3)])
def test_the_purged_model_is_the_one_with_its_blocks_deleted_by_hand(kept):
    model = built(EXACT["by length"][0])
    by_hand = built(EXACT["by length"][0])
    by_hand.layers = nn.ModuleList(by_hand.layers[place] for place in kept)
    plan = lzero.discover(model, given("", 2, 5), granularity="depth")
    gates = lzero.attach_gates(model, dataclasses.replace(plan, groups=tuple(g for g in plan if g.name == "layers")))
    with torch.no_grad():
        gates["layers"].fill_(-9.0)
        gates["layers"][list(kept)] = 9.0
    fresh = given("", 3, 9)
    small = lzero.purge(model).model
    assert torch.equal(small(fresh), by_hand(fresh)) and torch.equal(model(fresh), by_hand(fresh))
    names = [name for name in small.state_dict() if not name.endswith("purged_blocks")]
    assert names == list(by_hand.state_dict()) and small.layers.purged_blocks.tolist() == list(kept)


@pytest.mark.parametrize("branch", [pytest.param("attn", marks=pytest.mark.slow), "mlp"])
def test_a_closed_branch_adds_nothing(branch):
    model, by_hand = built(EXACT["by length"][0]), built(EXACT["by length"][0])
    by_hand.layers[1].get_submodule(branch).register_forward_hook(lambda module, args, out: out * 0)
    plan = lzero.discover(model, given("", 2, 5), granularity="depth")
    name = f"layers.*.{branch}"
    gates = lzero.attach_gates(model, dataclasses.replace(plan, groups=tuple(g for g in plan if g.name == name)))
    with torch.no_grad():
        gates[name].fill_(9.0)
        gates[name][1] = -9.0
    fresh = given("", 3, 9)
    small = lzero.purge(model).model
    torch.testing.assert_close(small(fresh), by_hand(fresh), rtol=1e-13, atol=1e-13)
    assert not list(small.layers[1].get_submodule(branch).parameters())


@pytest.mark.slow
def test_single_blocks_of_stages_join_a_group_of_their_class():
    plan = lzero.discover(built(EXACT["ResNet basic"][0]), given("ResNet", 2, 8), granularity="depth")
    paths = {group.name: [block.path for block in group.blocks] for group in plan if group.blocks}
    assert paths == {"layer1": ["layer1.0", "layer1.1", "layer3.1"], "layer2": ["layer2.1", "layer2.2"]}


@pytest.mark.parametrize("ignored", ["layers.1", "layers.1.mlp", "layers.1.norm.weight"])
def test_what_is_ignored_does_not_leave_with_its_block(ignored):
    plan = lzero.discover(built(EXACT["by length"][0]), given("", 2, 5), granularity="depth", ignore=ignored)
    assert [block.path for block in blocks_in(plan)] == ["layers.0", "layers.2", "layers.3"]
    assert not any(ignored in group.tensors for group in plan)


def test_depth_is_asked_for_by_path():
    asked = {"left": "depth", "right": "unit"}
    plan = lzero.discover(built(EXACT["towers"][0]), given("", 2, 5), granularity=asked)
    assert {block.path.split(".")[0] for block in blocks_in(plan)} == {"left"}
    assert not any(group.blocks for group in lzero.discover(built(EXACT["towers"][0]), given("", 2, 5)))


@pytest.mark.parametrize(
    "granularity", [pytest.param("input+depth", marks=pytest.mark.slow), "depth+width", "input+width+depth"]
)
def test_depth_goes_with_every_other_word(granularity):
    model = built(EXACT["by length"][0])
    plan = lzero.discover(model, given("", 2, 5), granularity=granularity)
    assert len(blocks_in(plan)) == 4
    assert any(group.norms for group in plan) == ("width" in granularity)
    assert any(group.kind == "input" for group in plan) == ("input" in granularity)
    worst, moved = gap_and_move(model, plan, given("", 3, 9), sets=4)
    assert worst < 1e-12 < moved


def test_an_unknown_word_beside_depth_is_refused():
    with pytest.raises(StructureError, match="granularity"):
        lzero.discover(built(EXACT["by length"][0]), given("", 2, 5), granularity="depth+weight")
