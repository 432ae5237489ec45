"""The width of a residual stream: exact in every network that has one, asked for, and refused where it is not."""

import re

import pytest
import torch
from stream_traps import EXACT, REFUSED
from streams import MODELS, built, close_some, given
from torch import nn

import lzero
from lzero.errors import StructureError
from lzero.host.promoted import Promoted

pytestmark = pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")


def gap(model, fresh, *, granularity="width", example, closures=2):
    """The largest relative difference of gated and purged outputs on inputs that nobody has seen."""
    gates = lzero.attach_gates(model, (example,), granularity=granularity)
    worst = 0.0
    for seed in range(closures):
        close_some(gates, 0.3 + 0.25 * seed, seed)
        small = lzero.purge(model).model
        with torch.no_grad(), Promoted():
            expected, found = model(fresh), small(fresh)
        worst = max(worst, float((expected - found).abs().max() / expected.abs().max()))
    return worst, gates


@pytest.mark.parametrize("name", MODELS)
def test_every_stream_is_exact_on_fresh_inputs_of_another_size(name):
    worst, gates = gap(built(name), given(name, 3, 6 if "space" in name else 9), example=given(name, 2, 6))
    assert worst < 1e-13
    assert any(group.norms for group in gates.plan)


@pytest.mark.parametrize("name", EXACT)
def test_streams_that_only_look_bad_are_exact(name):
    torch.manual_seed(0)
    model = EXACT[name]().double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    worst, gates = gap(model, torch.randn(3, 6, 5).double(), example=torch.randn(2, 6, 5).double())
    assert worst < 1e-12 and any(group.norms for group in gates.plan)


@pytest.mark.parametrize("name", REFUSED)
def test_traps_are_refused_for_their_true_reason(name, assert_exact):
    torch.manual_seed(0)
    build, why = REFUSED[name]
    plan = assert_exact(build().eval(), (torch.randn(2, 6, 5),), granularity="width")
    assert not any(group.norms for group in plan), str(plan)
    stream = [refusal.reason for refusal in plan.refusals if "make.weight" in refusal.tensors]

    assert any(re.search(why, reason) for reason in stream), stream


def test_nothing_changes_where_it_is_not_asked_for():
    model, x = built("layer norm"), given("layer norm", 2, 6)
    plan = lzero.discover(model, (x,))
    assert {group.name for group in plan} == {"1.body.1", "2.body.1"}
    (stream,) = [refusal for refusal in plan.refusals if refusal.name == "0"]
    assert "normalises over all units" in stream.reason and 'granularity="width"' in stream.advice


def test_by_path_every_norm_of_the_stream_has_to_be_named():
    model, x = built("layer norm"), given("layer norm", 2, 6)
    for paths in ({"1": "width"}, {"": "width", "2": "unit"}):
        plan = lzero.discover(model, (x,), granularity=paths)
        assert not any(group.norms for group in plan)
    plan = lzero.discover(model, (x,), granularity={"1": "width", "2": "width", "3": "width"})
    assert [group.size for group in plan if group.norms] == [12]


def test_two_streams_are_asked_for_one_by_one():
    model = nn.Sequential(built("layer norm"), nn.Linear(3, 5).double(), built("rms norm"))
    x = given("layer norm", 2, 6)
    both = lzero.discover(model, (x,), granularity="width")
    assert [group.name for group in both if group.norms] == ["0.0", "2.0"]
    second = lzero.discover(model, (x,), granularity={"2": "width"})
    assert [group.name for group in second if group.norms] == ["2.0"]


def test_an_ignored_norm_keeps_its_stream():
    model, x = built("layer norm"), given("layer norm", 2, 6)
    plan = lzero.discover(model, (x,), granularity="width", ignore="3")
    assert not any(group.norms for group in plan)
    assert any(refusal.reason == "ignored as asked" for refusal in plan.refusals)


def test_gates_for_each_example_are_refused():
    with pytest.raises(StructureError, match=r'1.body.0 normalises over the units of 0, .*granularity="unit"'):
        lzero.attach_gates(built("layer norm"), (given("layer norm", 2, 6),), granularity="width", per_example=True)


def test_detaching_is_refused_while_a_unit_is_closed_and_changes_nothing():
    model, x = built("layer norm"), given("layer norm", 2, 6)
    gates = lzero.attach_gates(model, (x,), granularity="width")
    close_some(gates, 0.5, 1)
    before = model(x)
    with pytest.raises(StructureError, match=r"1\.body.0: normalises over units of 0 that are closed"):
        lzero.detach_gates(model)
    assert torch.equal(model(x), before)


@pytest.mark.parametrize("name", ["layer norm", "by hand, as Llama", "over channels, by hand", "group norm"])
def test_who_has_not_asked_for_the_width_is_told_that_it_can_be_had(name):
    plan = lzero.discover(built(name), (given(name, 2, 6),))
    assert any('granularity="width" gates' in refusal.advice for refusal in plan.refusals)
