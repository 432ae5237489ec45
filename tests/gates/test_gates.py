"""Gates on a model: one draw a forward, and the gradient of the forward as one would write it by hand."""

import copy

import pytest
import torch
from gates.forwards import by_hand, drawn, gated, z_of
from plans import CASES, batch_norm, lenet, mlp, reused, sized, tied, weights

from lzero.errors import StructureError
from lzero.gates.gate import Gate
from lzero.gates.gates import Gates
from lzero.gates.hard_concrete import HardConcrete
from lzero.host.tensors import find_tensor
from lzero.surgery.attached import gates_of

HAND = {"mlp": mlp, "lenet": lenet, "reused": reused, "tied": tied, "batch_norm": batch_norm, "weights": weights}


@pytest.mark.parametrize("name", HAND)
def test_outputs_and_gradients_are_those_of_the_forward_by_hand(name):
    model, gates, x = gated(HAND[name], torch.float64, open_probability=0.6)
    parameters = [gates.log_alpha, *model.parameters()]
    torch.manual_seed(5)
    out = model(x)
    found = torch.autograd.grad(out.pow(2).sum(), parameters)
    expected_out = by_hand(name, model, drawn(gates, 5), x)
    expected = torch.autograd.grad(expected_out.pow(2).sum(), parameters)
    assert torch.allclose(out, expected_out, rtol=1e-10, atol=1e-12)
    for one, two in zip(found, expected, strict=True):
        assert torch.allclose(one, two, rtol=1e-9, atol=1e-12)
    assert (found[0] != 0).any()


def test_a_forward_draws_once_and_every_reader_sees_that_draw(monkeypatch):
    model, gates, x = gated(mlp)
    calls = []
    noise = HardConcrete.noise
    monkeypatch.setattr(HardConcrete, "noise", lambda self, like: calls.append(1) or noise(self, like))
    seen = {}

    def look(module, args, output):
        seen[module] = (module.weight.detach().clone(), module.weight.detach().clone())

    for module in (model.fc2, model.fc3):
        module.register_forward_hook(look)
    model(x)
    assert len(calls) == 1
    z = gates.split(z_of(gates))
    assert len(calls) == 1
    for module, group in ((model.fc2, "fc1"), (model.fc3, "fc2")):
        first, second = seen[module]
        assert torch.equal(first, second)
        assert torch.equal(first, module.parametrizations.weight.original * z[group])
    model(x)
    assert len(calls) == 2


def test_eval_uses_the_mean_of_open_gates_and_switching_back_draws_again():
    model, gates, x = gated(lenet, torch.float64)
    with torch.no_grad():
        gates.log_alpha.copy_(torch.randn_like(gates.log_alpha).mul(3) - 1)
        gates.log_alpha[:2] = torch.tensor([1.0, -4.0])
    model.eval()
    state = torch.get_rng_state()
    out = model(x)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(out, model(x))
    z = gates.split(gates.evaluate(gates.open_mask()))
    assert z["conv1"][1] == 0 and z["conv1"][0] == gates.means()[0]
    assert torch.allclose(out, by_hand("lenet", model, z, x), rtol=1e-12)
    model.train()
    assert not torch.equal(model(x), model(x))


def test_eval_gradients_reach_the_open_gates_alone():
    model, gates, x = gated(mlp, torch.float64)
    with torch.no_grad():
        gates.log_alpha.fill_(-0.5)
        gates.log_alpha[0] = -5
    model.eval()
    model(x).pow(2).sum().backward()
    assert gates.log_alpha.grad[0] == 0 and (gates.log_alpha.grad[1:] != 0).any()


def test_reading_weights_in_eval_follows_log_alpha_without_a_forward():
    model, gates, _x = gated(mlp)
    model.eval()
    before = model.fc2.weight.clone()
    with torch.no_grad():
        gates["fc1"].fill_(-0.5)
    assert not torch.equal(before, model.fc2.weight)


def test_a_model_called_by_another_method_draws_anew_after_every_update():
    model, gates, x = gated(mlp)
    one = model.fc2(x[:, :4]).detach()
    assert torch.equal(one, model.fc2(x[:, :4]))  # nothing says that a new forward began
    with torch.no_grad():
        gates.log_alpha.add_(0.0)  # an optimizer step
    assert not torch.equal(one, model.fc2(x[:, :4]))


def test_fixed_gates_hold_within_the_context_alone():
    model, gates, x = gated(mlp, torch.float64)
    z = torch.rand(len(gates), dtype=torch.float64)
    with gates.fixed(z):
        out = model(x)
        assert torch.equal(out, model(x))
        with gates.fixed(torch.ones(len(gates))):
            assert torch.equal(model.fc2.weight, model.fc2.parametrizations.weight.original)
        assert torch.equal(out, model(x))
    assert torch.allclose(out, by_hand("mlp", model, gates.split(z), x), rtol=1e-12)
    assert not torch.equal(model(x), model(x))
    with pytest.raises(RuntimeError), gates.fixed(z):
        raise RuntimeError
    assert not torch.equal(model(x), model(x))


@pytest.mark.parametrize("name", CASES)
def test_a_deep_copy_is_independent_and_alike(name):
    model, gates, x = gated(CASES[name])
    model(x)
    twin = copy.deepcopy(model)
    twin_gates = gates_of(twin)
    assert twin_gates is not gates and twin_gates.plan is gates.plan
    assert all(step._gates[0] is twin_gates for step in twin.modules() if isinstance(step, Gate))
    before = model.eval()(x)
    assert torch.equal(before, twin.eval()(x))
    with torch.no_grad():
        twin_gates.log_alpha.fill_(-0.5)
    assert not torch.equal(before, twin(x))
    assert torch.equal(before, model(x))


def test_a_model_can_be_copied_and_trained_after_a_forward_in_inference_mode():
    model, gates, x = gated(mlp)
    model.eval()
    with torch.inference_mode():
        model(x)
    copy.deepcopy(model)(x)
    model.fc2(x[:, :4]).sum().backward()
    with torch.inference_mode():
        model.train()(x)
    model.fc2(x[:, :4]).sum().backward()
    assert gates.log_alpha.grad is not None


def test_state_dict_round_trip_gives_the_same_model():
    model, gates, x = gated(lenet, open_probability=0.6)
    other, _, _ = gated(lenet)
    with torch.no_grad():
        gates.log_alpha.add_(torch.randn_like(gates.log_alpha))
    state = model.state_dict()
    assert sum(key.endswith(".log_alpha") for key in state) == 1
    assert not any("index" in key or "owners" in key for key in state)
    assert other.load_state_dict(state).missing_keys == []
    assert torch.equal(model.eval()(x), other.eval()(x))


def test_two_forwards_before_a_backward_keep_their_own_draws():
    model, gates, x = gated(mlp, torch.float64)

    def gradient(*seeds):
        gates.log_alpha.grad = None
        total = 0
        for seed in seeds:
            torch.manual_seed(seed)
            total = total + model(x).pow(2).sum()
        total.backward()
        return gates.log_alpha.grad

    both = gradient(1, 2)
    assert torch.allclose(both, gradient(1) + gradient(2), rtol=1e-12)
    gates.log_alpha.grad = None
    for seed in (1, 2):  # accumulation over two backwards
        torch.manual_seed(seed)
        model(x).pow(2).sum().backward()
    assert torch.allclose(both, gates.log_alpha.grad, rtol=1e-12)


def test_gates_of_a_bfloat16_model_stay_in_float32():
    model, gates, x = gated(mlp, torch.bfloat16)
    assert gates.log_alpha.dtype == torch.float32
    out = model(x)
    assert out.dtype == torch.bfloat16
    out.float().pow(2).sum().backward()
    assert gates.log_alpha.grad.dtype == torch.float32 and gates.log_alpha.grad.any()
    assert model.fc2.parametrizations.weight.original.grad.dtype == torch.bfloat16


def test_autocast_gives_nearly_the_gradient_of_full_precision():
    model, gates, x = gated(mlp)

    def gradient(enabled):
        gates.log_alpha.grad = None
        torch.manual_seed(4)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            loss = model(x).float().pow(2).sum()
        loss.backward()
        return gates.log_alpha.grad

    full, cast = gradient(False), gradient(True)
    assert full.any() and (full - cast).norm() < 0.1 * full.norm()


@pytest.mark.parametrize("name", CASES)
def test_slices_split_and_groups_agree(name):
    model, gates, _ = gated(CASES[name])
    flat = torch.arange(len(gates))
    assert torch.equal(torch.cat(list(gates.split(flat).values())), flat)
    for position, (group, where) in enumerate(gates.slices.items()):
        assert list(gates.pieces(flat)[position]) == list(flat[where])
        assert torch.equal(gates[group], gates.log_alpha[where])
    assert not any(p is gates.log_alpha for p in model.parameters())
    assert sum(b is gates.log_alpha for b in model.buffers()) == 1


def test_owners_are_the_channels_of_the_features():
    _, gates, _ = gated(lenet)
    features, channels = gates.slices["fc1.input"], gates.slices["conv2"]
    assert gates.owners[features].tolist() == [channels.start + feature // 4 for feature in range(8)]
    assert (gates.owners[: features.start] == -1).all()


def test_gates_without_groups_are_refused():
    with pytest.raises(StructureError, match="expected a Plan of at least one group of at least one gate"):
        Gates(sized({}))
    with pytest.raises(StructureError, match="expected a Plan of at least one group of at least one gate"):
        Gates(sized({"a": 2, "b": 0}))


def test_gates_need_no_gradient_of_the_weights_and_weights_none_of_the_gates():
    model, gates, x = gated(mlp)
    model.requires_grad_(False)
    model(x).sum().backward()
    assert gates.log_alpha.grad.any()
    model, gates, x = gated(mlp)
    gates.log_alpha.requires_grad_(False)
    model(x).sum().backward()
    assert gates.log_alpha.grad is None and find_tensor(model, "fc1.parametrizations.weight.original").grad.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_casting_the_model_later_keeps_log_alpha_exact(dtype):
    model, gates, x = gated(mlp)
    with torch.no_grad():
        gates.log_alpha.normal_()
    model(x).sum().backward()
    parameter, before, grad = gates.log_alpha, gates.log_alpha.detach().clone(), gates.log_alpha.grad.clone()
    model.to(dtype)
    assert gates.log_alpha is parameter and torch.equal(parameter, before) and torch.equal(parameter.grad, grad)
    model(x.to(dtype)).sum().backward()
    assert not torch.equal(parameter.grad, grad)
    model.double()
    assert parameter.dtype == torch.float64
