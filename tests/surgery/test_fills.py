"""Fills on the norms of a model: where they are put, what they leave open, and that they come off again."""

import copy

import pytest
import torch
from streams import built, close_some, given
from torch import nn

import lzero
from lzero.errors import StructureError
from lzero.gates.fill import Fill
from lzero.surgery import register
from lzero.surgery.fills import fill_closed, filled_layers, norms_in, open_positions, remove_fills


def hooks_on(module):
    tables = (module._forward_pre_hooks, module._forward_hooks)
    return [hook for table in tables for hook in table.values() if isinstance(getattr(hook, "__self__", None), Fill)]


def test_every_norm_of_the_stream_is_filled_and_nothing_else():
    model, x = built("layer norm"), given("layer norm", 2, 7)
    plan = lzero.discover(model, (x,), granularity="width")
    assert list(norms_in(plan)) == ["1.body.0", "2.body.0", "3"]
    lzero.attach_gates(model, plan)
    assert [path for path, module in model.named_modules() if hooks_on(module)] == ["1.body.0", "2.body.0", "3"]


def test_open_positions_are_those_that_no_group_closes():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.norm, self.out = nn.Linear(5, 4), nn.Linear(5, 3), nn.LayerNorm(9), nn.Linear(9, 2)

        def forward(self, x):
            return self.out(self.norm(torch.cat([self.a(x), x[..., :2], self.b(x)], -1)))

    plan = lzero.discover(Two(), torch.randn(3, 5), granularity="width")
    (norms,) = norms_in(plan).values()
    assert [group.name for group, _ in norms] == ["a", "b"]
    opened = open_positions(norms, {"a": torch.tensor([1.0, 0.0, 0.3, 0.0]), "b": torch.tensor([0.0, 1.0, 1.0])})
    assert opened.int().tolist() == [1, 0, 1, 0, 1, 1, 0, 1, 1]


@pytest.mark.parametrize("name", ["layer norm", "weight plus one", "group norm"])
def test_gates_and_one_set_of_gates_fill_alike(name):
    model, x = built(name), given(name, 2, 6)
    plan = lzero.discover(model, (x,), granularity="width")
    gates = lzero.attach_gates(model, plan, rescale=False)
    close_some(gates, 0.5, 1)
    z = gates.evaluate(gates.open_mask())
    plain = built(name)
    lzero.surgery.shrink.scale_consumers(plain, plan.groups, gates.split(z))
    fill_closed(plain, plan.groups, gates.split(z))
    with torch.no_grad():
        torch.testing.assert_close(model(x), plain(x), rtol=1e-12, atol=1e-12)
        remove_fills(plain)
        assert not any(hooks_on(module) for module in plain.modules())
        assert (model(x) - plain(x)).abs().max() > 1e-3


def test_a_copy_follows_its_own_gates():
    model, x = built("layer norm"), given("layer norm", 2, 7)
    gates = lzero.attach_gates(model, (x,), granularity="width")
    twin = copy.deepcopy(model)
    before = twin(x)
    close_some(gates, 0.5, 1)
    assert torch.equal(twin(x), before) and not torch.equal(model(x), before)
    close_some(lzero.gates_of(twin), 0.5, 1)
    assert torch.equal(twin(x), model(x))


@pytest.mark.parametrize("name", ["layer norm", "weight plus one", "gpt", "group norm"])
def test_detaching_takes_every_hook_off(name):
    model, x = built(name), given(name, 2, 6)
    before = model(x)
    lzero.attach_gates(model, (x,), granularity="width")
    torch.testing.assert_close(model(x), before, rtol=1e-9, atol=1e-9)
    lzero.detach_gates(model)
    assert not any(hooks_on(module) for module in model.modules())
    torch.testing.assert_close(model(x), before, rtol=1e-9, atol=1e-9)


def test_a_plan_of_another_model_is_refused():
    plan = lzero.discover(built("layer norm"), (given("layer norm", 2, 7),), granularity="width")
    with pytest.raises(StructureError, match=r"1\.body.0: the plan says that a norm is here, the model has none"):
        filled_layers(nn.Sequential(nn.Linear(5, 12), nn.Linear(12, 3)), plan)


def test_a_failure_while_attaching_takes_every_hook_off_again(monkeypatch):
    model, x = built("weight plus one"), given("weight plus one", 2, 7)
    plan, before = lzero.discover(model, (x,), granularity="width"), model(x)

    def fail(model):
        raise KeyboardInterrupt

    monkeypatch.setattr(register, "show_place", fail)
    with pytest.raises(KeyboardInterrupt):
        lzero.attach_gates(model, plan)
    assert not any(hooks_on(module) for module in model.modules()) and torch.equal(model(x), before)
    assert not any(module._forward_pre_hooks_with_kwargs for module in model.modules())
