"""Gates on a model: one draw a forward, and the gradient of the forward as one would write it by hand."""

import copy

import pytest
import torch
from gates.forwards import by_hand, gated
from plans import CASES, lenet, mlp, sized

from lzero.errors import StructureError
from lzero.gates.gate import Gate
from lzero.gates.gates import Gates
from lzero.surgery.attached import gates_of


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
