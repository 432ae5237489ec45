"""Units out of a gated model in place: everything outside of them stays as it was."""

import copy

import torch
from compacting import X, gated

import lzero
from lzero.surgery.narrow import LEFT, narrow_model


def keep_of(gates, every=2):
    keep = torch.arange(len(gates)) % every == 0
    for where in gates.slices.values():
        keep[where.start] = True
    return keep


def test_the_forward_is_that_of_closed_gates_and_hooks_of_others_stay():
    model, gates = gated()
    keep, seen = keep_of(gates), []
    model.f1.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape)))
    z = torch.rand(len(gates), dtype=torch.float64) * keep
    model.eval()
    with gates.fixed(z):
        before = model(X)
    narrow_model(model, keep)
    with gates.fixed(z[keep]):
        torch.testing.assert_close(model(X), before, rtol=1e-12, atol=1e-12)
    assert seen[0] == (6, 10) and seen[-1] == (6, int(keep[gates.whole.plan.slices["f1"]].sum()))
    assert model.c1.out_channels == model.b1.num_features == model.c2.in_channels
    assert next(model.parameters()).requires_grad


def test_parameters_of_groups_that_lose_nothing_stay_too():
    model, gates = gated()
    before = {id(parameter) for parameter in model.parameters()}
    for name in gates.slices:
        keep = torch.ones(len(gates), dtype=torch.bool)
        keep[gates.slices[name].stop - 1] = False
        narrow_model(model, keep)
        assert {id(parameter) for parameter in model.parameters()} == before


def test_memory_formats_stay():
    model, gates = gated()
    model.to(memory_format=torch.channels_last)
    narrow_model(model, keep_of(gates))
    assert model.c2.parametrizations.weight.original.is_contiguous(memory_format=torch.channels_last)


def test_a_state_dict_says_what_is_left_and_copies_are_alike():
    model, gates = gated()
    assert LEFT not in model.state_dict()
    keep = keep_of(gates)
    narrow_model(model, keep)
    twin = copy.deepcopy(model)
    assert torch.equal(model.state_dict()[LEFT], keep.nonzero().flatten())
    assert torch.equal(twin.eval()(X), model.eval()(X))
    again = torch.ones(len(gates), dtype=torch.bool)
    again[1] = False
    narrow_model(twin, again)
    assert len(lzero.gates_of(twin)) == len(gates) - 1


def test_gates_come_off_as_ever():
    model, gates = gated()
    narrow_model(model, keep_of(gates))
    expected = model.eval()(X)
    del expected
    lzero.detach_gates(model)
    assert not any("parametrizations" in name for name, _ in model.named_parameters())
    assert model(X).shape == (6, 5) and not model._load_state_dict_pre_hooks
