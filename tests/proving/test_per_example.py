"""Gates drawn for each example: outputs and gradients of a loop over the examples, and what is purged."""

import copy

import pytest
import torch
from gates.forwards import gradient_under_autocast
from plans import same, snapshot
from proving.examples import CASES, DOUBLE, PLANS, built, stack
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import lzero
from lzero.attach import attach_gates
from lzero.errors import StructureError
from lzero.gates.bernoulli import AR, ARM, StraightThrough
from lzero.gates.estimator import Estimator
from lzero.gates.gate import Gate
from lzero.gates.hard_concrete import HardConcrete
from lzero.gates.log_normal import LogNormal
from lzero.surgery.attached import gates_of

pytestmark = pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")  # without a training


NOISE = {}


@pytest.fixture(autouse=True)
def remember(monkeypatch):
    """The noise of the last draw, which nothing but the score of an estimator needs to keep."""
    for kind in (Estimator, HardConcrete):
        original = kind.noise

        def noise(self, like, original=original):
            NOISE["last"] = original(self, like)
            return NOISE["last"]

        monkeypatch.setattr(kind, "noise", noise)


def example_by_example(plain, plan, gates, x):
    """Outputs of the ungated model for one example at a time, each with weights gated by its own draw by hand."""
    h, outputs = gates.estimator, []
    for noise, example in zip(NOISE["last"], x, strict=True):
        s = torch.sigmoid((noise + gates.log_alpha) / h.temperature)
        z = gates.split((s * (h.zeta - h.gamma) + h.gamma).clamp(0, 1))
        weights = dict(plain.named_parameters())
        for group in plan.groups:
            for member in group.consumers:
                weight = weights[member.tensor]
                positions = member.index.flatten()
                factor = weight.new_ones(weight.shape[member.dim])
                factor = factor.index_put((positions,), z[group.name].repeat_interleave(member.width))
                weights[member.tensor] = weight * factor.view(
                    [-1 if d == member.dim else 1 for d in range(weight.dim())]
                )
        if hasattr(plain, "two"):
            weights["two.weight"] = weights["one.weight"]
        outputs.append(functional_call(plain, weights, (example[None],)))
    return torch.cat(outputs)


@pytest.mark.parametrize("name", [*CASES, *PLANS])
def test_outputs_and_gradients_are_those_of_a_loop_over_the_examples(name):
    model, gates, plain, plan, x = built(name)
    torch.manual_seed(5)
    out = model(x)
    expected = example_by_example(plain, plan, gates, x)
    assert torch.allclose(out, expected, rtol=1e-10, atol=1e-12)
    direction = torch.randn_like(out)
    found = torch.autograd.grad((out.sin() * direction).sum(), [gates.log_alpha, *weights_of(model, plain)])
    truth = torch.autograd.grad((expected.sin() * direction).sum(), [gates.log_alpha, *plain.parameters()])
    assert len(found) == len(truth) and (truth[0] != 0).sum() > len(gates) / 2
    for one, two in zip(found, truth, strict=True):
        assert torch.allclose(one, two, rtol=1e-9, atol=1e-12)


def weights_of(model, plain):
    """The parameters of the gated ``model`` in the order of ``plain``."""
    state = dict(model.named_parameters())
    names = [name.rpartition(".") for name, _ in plain.named_parameters()]
    return [
        state.get(f"{path}.{leaf}", state.get(f"{path}.parametrizations.{leaf}.original")) for path, _, leaf in names
    ]


def test_two_gates_on_one_feature_multiply():
    model, gates, _, _, x = built("flattened")
    assert len(model.mid._forward_pre_hooks) == len(model.mid.parametrizations.weight) == 1
    seen = []
    model.mid.register_forward_hook(lambda m, args, out: seen.append(args[0]))
    model(x)
    z = gates.drawing.last.z
    channels, features = z[:, gates.slices["conv"]], z[:, gates.slices["mid.input"]]
    expected = F.softplus(model.conv(x * z[:, gates.slices["conv.input"]] if "conv.input" in gates.slices else x))
    expected = expected.flatten(1) * channels.repeat_interleave(4, 1) * features
    assert torch.allclose(seen[0], expected, rtol=1e-12)


def test_every_example_and_every_forward_has_its_own_draw():
    model, gates, _, _, x = built("linear")
    same_input = x[:1].expand(200, -1)
    out = model(same_input)
    noise = NOISE["last"]
    assert noise.shape == (200, len(gates)) and len(noise.unique()) == noise.numel()
    assert len(out.unique(dim=0)) > 150
    centred = (noise - noise.mean(0)) / noise.std(0)
    correlation = (centred.T @ centred / len(noise)).fill_diagonal_(0).abs().max()
    assert correlation < 4.5 / len(noise) ** 0.5  # gates are independent of each other
    model(same_input)
    assert not torch.equal(noise, NOISE["last"])
    model(x)
    assert NOISE["last"].shape == (3, len(gates))  # the last batch of an epoch may be smaller


def test_binary_gates_for_each_example_are_straight_through():
    model, gates, _, _, x = built("linear", estimator=StraightThrough())
    model(x).sum().backward()
    z = gates.drawing.last.z
    assert set(z.unique().tolist()) == {0.0, 1.0} and gates.log_alpha.grad.any()


def test_gates_with_two_parameters_are_drawn_for_each_example():
    model, gates, _, _, x = built("linear", estimator=LogNormal())
    torch.manual_seed(1)
    model(x).pow(2).sum().backward()
    found, noise = gates.log_alpha.grad.clone(), NOISE["last"]
    assert found.shape == (2, len(gates)) and found.all()
    one_by_one = torch.zeros_like(found)
    for i in range(3):
        z, slope = gates.estimator.sample(gates.log_alpha.detach(), noise[i])
        z.requires_grad_()
        apart = gates.split(z)
        hidden = F.softplus(F.linear(x[i], model[0].weight, model[0].bias)) * apart["0"]
        hidden = F.softplus(F.linear(hidden, model[2].parametrizations.weight.original, model[2].bias)) * apart["2"]
        out = F.linear(hidden, model[4].parametrizations.weight.original, model[4].bias)
        one_by_one += torch.autograd.grad(out.pow(2).sum(), z)[0] * slope
    assert torch.allclose(found, one_by_one, rtol=1e-9)
    gates.log_alpha.grad = None
    with gates.fixed(torch.rand(3, len(gates))):
        model(x).sum().backward()
    assert gates.log_alpha.grad is None


def twins(name):
    """The same gated model twice, drawing for each example and once for all."""
    one, gates, _, _, x = built(name)
    two, other, _, _, _ = built(name, per_example=False)
    with torch.no_grad():
        gates.log_alpha.copy_(torch.linspace(-3.5, 1.5, len(gates)))
    two.load_state_dict(one.state_dict())
    assert torch.equal(gates.log_alpha, other.log_alpha)
    return one, two, x


@pytest.mark.parametrize("name", [*CASES, *PLANS])
def test_eval_mode_and_the_purged_model_are_those_of_shared_draws(name):
    one, two, x = twins(name)
    assert torch.equal(one.eval()(x), two.eval()(x))
    assert torch.equal(one(x[:1]), two(x[:1]))
    small, other = lzero.purge(one), lzero.purge(two)
    assert small.certificate == other.certificate
    assert small.model.state_dict().keys() == other.model.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(small.model.parameters(), other.model.parameters(), strict=True))
    torch.testing.assert_close(small.model(x), one(x), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_a_purged_model_has_no_hook_left(name):
    model, _, _, _, x = built(name)
    model(x)
    before = snapshot(model)
    small = lzero.purge(model).model
    same(before, snapshot(model))
    for module in small.modules():
        assert not module._forward_pre_hooks and not module._forward_pre_hooks_with_kwargs
        assert not module._forward_hooks and not isinstance(module, Gate)
    small.train()(x)


def test_a_deep_copy_reads_its_own_gates():
    model, _, _, _, x = built("flattened")
    model(x)
    twin = copy.deepcopy(model)
    own = [getattr(hook, "__self__", None) for m in twin.modules() for hook in m._forward_pre_hooks.values()]
    readers = [gate for gate in own if isinstance(gate, Gate)]
    assert readers and all(gate._gates[0] is gates_of(twin) for gate in readers)
    torch.manual_seed(1)
    before = model(x)
    with torch.no_grad():
        gates_of(twin).log_alpha.fill_(-4.0)
    torch.manual_seed(1)
    assert torch.equal(before, model(x))
    torch.manual_seed(1)
    assert not torch.equal(before, twin(x))


def test_the_state_goes_to_a_model_of_either_kind():
    one, gates, _, _, x = built("flattened")
    with torch.no_grad():
        gates.log_alpha.normal_()
    for per_example in (True, False):
        two, _, _, _, _ = built("flattened", per_example=per_example, open_probability=0.5)
        assert str(two.load_state_dict(one.state_dict())) == "<All keys matched successfully>"
        assert torch.equal(one.eval()(x), two.eval()(x))
    one.train(), two.train()
    fresh, _, _, _, _ = built("flattened", open_probability=0.5)
    fresh.load_state_dict(one.state_dict())
    torch.manual_seed(2)
    expected = one(x)
    torch.manual_seed(2)
    assert torch.equal(fresh(x), expected)


def test_fixed_gates_may_be_given_for_each_example():
    model, gates, _, _, x = built("linear")
    z = torch.rand(3, len(gates), dtype=DOUBLE)
    with gates.fixed(z):
        found = model(x)
    for i in range(3):
        with gates.fixed(z[i]):
            assert torch.allclose(model(x[i : i + 1]), found[i : i + 1], rtol=1e-12)
    found.sum().backward()
    assert gates.log_alpha.grad is None
    shared = built("linear", per_example=False)[1]
    message = r"expected \[7\], found \(3, 7\); attach gates with per_example=True"
    with pytest.raises(StructureError, match=message), shared.fixed(z):
        pass


@pytest.mark.parametrize("estimator", [AR(), ARM()])
def test_gates_that_are_scored_share_one_draw(estimator):
    with pytest.raises(StructureError, match=f"per_example: {type(estimator).__name__} gates share one draw"):
        built("linear", estimator=estimator)


class Checkpointed(nn.Module):
    def __init__(self, inner, on):
        super().__init__()
        self.inner, self.on = inner, on

    def forward(self, x):
        if not self.on:
            return self.inner(x)
        return checkpoint(self.inner, x, use_reentrant=False, preserve_rng_state=False)


def test_recomputation_sees_the_draws_of_the_forward():
    def gradients(on):
        torch.manual_seed(0)
        model = Checkpointed(stack(nn.Linear(5, 8), nn.Linear(8, 6), nn.Linear(6, 2)), on).double()
        x = torch.randn(4, 5, dtype=DOUBLE)
        attach_gates(model, x, per_example=True, open_probability=0.6)
        torch.manual_seed(3)
        model(x).pow(2).sum().backward()
        return [gates_of(model).log_alpha.grad, *(p.grad for p in model.parameters())]

    assert all(torch.equal(a, b) for a, b in zip(gradients(True), gradients(False), strict=True))


def test_autocast_gives_nearly_the_gradient_of_full_precision():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(36, 16), nn.Softplus())
    model.append(nn.Linear(16, 3))
    x = torch.randn(8, 1, 5, 5)
    gates = attach_gates(model, x, per_example=True, open_probability=0.7)
    full, cast = (gradient_under_autocast(model, gates, x, enabled=enabled) for enabled in (False, True))
    assert cast.dtype == torch.float32 and full.any()
    assert 0 < (full - cast).norm() < 0.1 * full.norm()


def test_a_bfloat16_model_can_have_gates_for_each_example():
    torch.manual_seed(0)
    model = stack(nn.Linear(64, 256), nn.Linear(256, 64), nn.Linear(64, 10)).bfloat16()
    gates = attach_gates(model, torch.randn(4, 64).bfloat16(), per_example=True)
    out = model(torch.randn(8, 64).bfloat16())
    assert out.dtype == torch.bfloat16
    out.float().sum().backward()
    assert gates.log_alpha.grad.dtype == torch.float32 and gates.log_alpha.grad.any()


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(5, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.b(input=F.softplus(self.a(input=x)))


def test_layers_may_be_called_with_their_input_by_name():
    torch.manual_seed(0)
    model = Named().double()
    x = torch.randn(3, 5, dtype=DOUBLE)
    gates = attach_gates(model, x, per_example=True, open_probability=0.6)
    out = model(x)
    z = gates.drawing.last.z
    expected = F.linear(F.softplus(model.a(x)) * z, model.b.parametrizations.weight.original, model.b.bias)
    assert torch.allclose(out, expected, rtol=1e-12)


def test_the_users_own_hooks_stay_when_the_gates_leave():
    torch.manual_seed(0)
    model = Named()
    model.b.register_forward_pre_hook(lambda m, args, named: (args, {"input": 2 * named["input"]}), with_kwargs=True)
    x = torch.randn(3, 5)
    attach_gates(model, x, per_example=True)
    small = lzero.purge(model).model
    assert len(small.b._forward_pre_hooks) == len(small.b._forward_pre_hooks_with_kwargs) == 1
    torch.testing.assert_close(small(x), model.eval()(x))


def test_a_training_with_gates_for_each_example_ships_its_budget():
    datasets = pytest.importorskip("sklearn.datasets")
    data = datasets.load_digits()
    x, y = torch.tensor(data.data / 16, dtype=torch.float32), torch.tensor(data.target)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    attach_gates(model, x[:2], per_example=True, estimator=HardConcrete())
    solver = lzero.Solver(gates_of(model), 0.3, total_steps=400)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(400):
        batch = torch.randint(len(x), (64,))
        optimizer.zero_grad()
        F.cross_entropy(model(x[batch]), y[batch]).backward()
        solver.step()
        optimizer.step()
    assert abs(solver.metrics()["deployed"] - 0.3) < 0.05
    result = lzero.purge(model)
    assert 0 <= 0.3 - result.certificate.deployed["params"] < 0.03
    assert (result.model(x).argmax(1) != y).double().mean() < 0.15


def test_attaching_draws_no_random_number():
    torch.manual_seed(0)
    model = stack(nn.Linear(5, 4), nn.Linear(4, 2))
    state = torch.get_rng_state()
    attach_gates(model, torch.zeros(3, 5), per_example=True)
    assert torch.equal(state, torch.get_rng_state())
