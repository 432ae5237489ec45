"""Which gates a forward sees: drawn anew, kept, held, fixed, opposite, for each example, compiled."""

import copy
import pickle

import pytest
import torch
from gates.forwards import by_hand, gated, z_of
from hypothesis import example, given, settings
from hypothesis import strategies as st
from plans import lenet, mlp

import lzero
from lzero.errors import SolverError, StructureError
from lzero.gates import AR, ARM, HardConcrete
from lzero.gates.drawing import Drawing

SIZES = (2, 3)
DEPLOYED = torch.tensor([1.0, 0.0, 0.5, 1.0, 0.0])


class Bench:
    """A drawing with parameters of its own, that counts how often it is asked for the deployed set."""

    def __init__(self, estimator=None, per_example=False):
        torch.manual_seed(0)
        self.estimator = estimator or HardConcrete()
        self.drawing = Drawing(self.estimator, SIZES, per_example)
        self.log_alpha, self.training, self.asked = torch.randn(5), True, 0

    def deployed(self):
        self.asked += 1
        return DEPLOYED, torch.zeros(5)

    def begin(self):
        self.drawing.begin(self.log_alpha, self.training, self.deployed)

    def current(self, examples=None):
        return self.drawing.current(self.log_alpha, self.training, self.deployed, examples)

    def forward(self):
        """The draw of a forward whose layers look twice."""
        self.begin()
        draw = self.current()
        assert self.current() is draw
        return draw


STEPS = st.sampled_from(["forward", "layer", "update", "train", "eval", "hold", "release", "forget", "fix", "unfix"])


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=25))
@example(["eval", "forward", "train", "eval", "forward"])
@example(["forward", "eval", "train", "layer"])
def test_any_history_of_forwards_sees_what_it_should(steps):
    """A draw is made anew by a forward in train mode, or by a change; held gates and fixed ones stand in its place."""
    bench, held, fixed = Bench(), None, []
    kept, mode = None, None  # the draw that stands, None where the next is new, and the mode that it was made in
    contexts = []
    for number, step in enumerate(steps):
        if step in ("train", "eval"):
            bench.training = step == "train"
        elif step == "update":
            bench.log_alpha.add_(0.1)
            kept = None
        elif step in ("hold", "release"):
            held = torch.full((5,), float(number)) if step == "hold" else None
            bench.drawing.hold(held)
            kept = None
        elif step == "forget":
            bench.drawing.forget()
            kept = None
        elif step == "fix":
            fixed.append(torch.full((5,), 100.0 + number))
            contexts.append(bench.drawing.fix(fixed[-1], bench.log_alpha))
            contexts[-1].__enter__()
        elif step == "unfix" and contexts:
            contexts.pop().__exit__(None, None, None)
            fixed.pop()
        elif step in ("forward", "layer"):
            asked, state = bench.asked, torch.get_rng_state()
            draw = bench.forward() if step == "forward" else bench.current()
            drawn = not torch.equal(state, torch.get_rng_state())
            if fixed:
                assert torch.equal(draw.z, fixed[-1]) and draw is not kept and not drawn and bench.asked == asked
                continue
            anew = kept is None or mode != bench.training or (step == "forward" and bench.training and held is None)
            assert (draw is not kept) == anew
            assert drawn == (anew and bench.training and held is None)
            assert bench.asked - asked == (anew and not bench.training and held is None)
            if held is not None:
                assert torch.equal(draw.z, held) and draw.slope is None
            elif not bench.training:
                assert torch.equal(draw.z, DEPLOYED)
            kept, mode = draw, bench.training


def test_a_training_draw_is_the_estimators_sample_of_its_noise():
    bench = Bench()
    torch.manual_seed(3)
    draw = bench.forward()
    torch.manual_seed(3)
    z, slope = HardConcrete().sample(bench.log_alpha, HardConcrete().noise(torch.empty(5)))
    assert torch.equal(draw.z, z) and torch.equal(draw.slope, slope)
    assert bench.drawing.noise is None  # the estimator scores no loss


def test_draws_for_each_example_wait_for_the_number_of_examples():
    bench = Bench(per_example=True)
    bench.begin()
    assert bench.drawing.last is None and bench.drawing.by_example(True) and not bench.drawing.by_example(False)
    draw = bench.current(7)
    assert draw.z.shape == (7, 5) and bench.current(7) is draw and len(torch.unique(draw.z[:, 0])) > 1
    with pytest.raises(StructureError, match="a gated layer reads 6 examples, the last draw has gates for 7"):
        bench.current(6)
    bench.begin()
    assert bench.current(6).z.shape == (6, 5)
    bench.training = False
    bench.begin()
    assert torch.equal(bench.current().z, DEPLOYED)
    bench.training = True
    bench.drawing.hold(DEPLOYED)
    bench.begin()
    assert not bench.drawing.by_example(True) and torch.equal(bench.current().z, DEPLOYED)


def test_held_gates_are_those_of_every_example_that_asks():
    bench = Bench(per_example=True)
    bench.drawing.hold(DEPLOYED)
    assert torch.equal(bench.current(3).z, DEPLOYED.expand(3, 5))


def test_fixed_gates_say_whether_they_are_for_each_example():
    bench = Bench(per_example=True)
    with bench.drawing.fix(DEPLOYED, bench.log_alpha):
        assert not bench.drawing.by_example(True)
        with bench.drawing.fix(torch.rand(4, 5), bench.log_alpha):
            assert bench.drawing.by_example(True) and bench.drawing.by_example(False) and bench.current(4).examples == 4
    assert bench.drawing.fixed is None


def test_fixed_gates_are_cast_and_are_data():
    bench = Bench()
    wanted = torch.rand(5, dtype=torch.float64, requires_grad=True)
    with bench.drawing.fix(wanted, bench.log_alpha):
        z = bench.current().z
    assert z.dtype is torch.float32 and not z.requires_grad and torch.equal(z, wanted.detach().float())


@pytest.mark.parametrize(
    ("z", "message"),
    [
        (None, r"Gates: expected a tensor of gates \[5\], found None"),
        ([1.0] * 5, r"expected a tensor of gates \[5\], found \[1\.0"),
        (torch.zeros(5, dtype=torch.complex64), "expected a tensor of gates"),
        (torch.zeros(5, device="meta"), "expected a tensor of gates"),
        (torch.zeros(4), r"expected \[5\], found \(4,\); attach gates with per_example=True"),
        (torch.zeros(2, 5), r"expected \[5\], found \(2, 5\)"),
        (torch.zeros(()), r"expected \[5\], found \(\)"),
    ],
)
def test_what_is_no_set_of_gates_cannot_be_fixed(z, message):
    bench = Bench()
    with pytest.raises(StructureError, match=message), bench.drawing.fix(z, bench.log_alpha):
        pass
    assert bench.drawing.fixed is None


def test_the_opposite_forward_has_the_opposite_noise_and_the_draw_stays():
    bench = Bench(ARM())
    draw = bench.forward()
    noise = bench.drawing.noise
    with bench.drawing.opposite(bench.log_alpha, True):
        opposite = bench.forward().z
    assert torch.equal(opposite, ARM().sample(bench.log_alpha, 1 - noise)[0]) and not torch.equal(opposite, draw.z)
    assert bench.current() is draw and bench.drawing.noise is noise


@pytest.mark.parametrize("before", ["nothing", "eval", "a forward of gates without scores"])
def test_there_is_no_opposite_of_nothing(before):
    bench = Bench(HardConcrete() if "scores" in before else AR())
    bench.training = before != "eval"
    if before != "nothing":
        bench.forward()
    message = "no draw to take the opposite of; run the model's forward in train mode first"
    with pytest.raises(StructureError, match=message), bench.drawing.opposite(bench.log_alpha, bench.training):
        pass


@pytest.mark.parametrize("estimator", [AR(), ARM()])
def test_gates_with_scores_have_no_draw_for_each_example(estimator):
    message = f"per_example: {type(estimator).__name__} gates share one draw, which their score belongs to"
    with pytest.raises(StructureError, match=message):
        Drawing(estimator, SIZES, per_example=True)


def test_a_compiled_forward_draws_and_its_layers_see_that_draw(monkeypatch):
    bench = Bench()
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    bench.begin()
    draw = bench.drawing.last
    bench.log_alpha.add_(1.0)  # compiled graphs ask for no version
    assert bench.current() is draw
    bench.begin()
    assert bench.current() is not draw
    bench.training = False
    bench.begin()
    assert torch.equal(bench.current().z, DEPLOYED)
    with bench.drawing.fix(torch.ones(5), bench.log_alpha):
        bench.begin()
        assert torch.equal(bench.current().z, torch.ones(5))


def test_moving_forgets_the_draw_and_takes_what_is_held_along():
    bench = Bench()
    bench.forward()
    bench.drawing.to(bench.log_alpha.double())
    assert bench.drawing.last is None and bench.drawing.held is None
    bench.drawing.hold(DEPLOYED)
    bench.drawing.to(bench.log_alpha.double())
    assert bench.drawing.held.dtype is torch.float64 and torch.equal(bench.drawing.held, DEPLOYED.double())


def test_a_copy_keeps_what_is_held_alone():
    bench = Bench()
    bench.drawing.hold(DEPLOYED)
    bench.forward()
    with bench.drawing.fix(torch.ones(5), bench.log_alpha):
        for twin in (copy.deepcopy(bench.drawing), pickle.loads(pickle.dumps(bench.drawing))):
            assert twin.last is None and twin.fixed is None and torch.equal(twin.held, DEPLOYED)
            assert twin.history is not bench.drawing.history


def test_a_draw_that_is_gone_may_not_be_recomputed_but_for_held_and_fixed_gates(monkeypatch):
    bench = Bench()
    monkeypatch.setattr(bench.drawing.history, "recomputes_another_draw", lambda: True)
    with pytest.raises(SolverError, match="activation checkpointing runs a gated layer again within backward"):
        bench.drawing.check_recomputation()
    with bench.drawing.fix(torch.ones(5), bench.log_alpha):
        bench.drawing.check_recomputation()
    bench.drawing.hold(DEPLOYED)
    bench.drawing.check_recomputation()


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


def counting(monkeypatch, gates, method):
    calls, kind = [], type(gates.estimator)
    original = getattr(kind, method)
    monkeypatch.setattr(kind, method, lambda self, *a: calls.append(1) or original(self, *a))
    return calls


def test_eval_forwards_of_an_unchanged_model_compute_no_gates_again(monkeypatch):
    model, gates, x = gated(lenet)
    calls = counting(monkeypatch, gates, "evaluation")
    model.eval()
    with torch.no_grad():
        first = [model(x) for _ in range(5)]
    once = len(calls)
    assert once and all(torch.equal(out, first[0]) for out in first)
    with torch.no_grad():
        model(x)
        assert len(calls) == once
        gates.log_alpha.add_(1.0)
        assert not torch.equal(model(x), first[0])
    assert len(calls) == 2 * once
    model.train()(x)
    model.eval()(x)
    assert len(calls) == 3 * once


def test_in_eval_mode_the_random_state_stays_and_in_train_mode_all_gates_are_fresh():
    model, gates, x = gated(lenet)
    model.eval()
    state = torch.get_rng_state()
    model(x)
    assert torch.equal(state, torch.get_rng_state())
    model.train()
    seen = []
    for _ in range(40):
        model(x)
        seen.append(z_of(gates).clone())
    assert (torch.stack(seen).std(0) > 0).all()


def test_a_deep_copy_forgets_the_draw_and_shares_no_history():
    model, gates, x = gated(mlp)
    model(x)
    twin = lzero.gates_of(copy.deepcopy(model))
    assert twin.drawing.last is None and twin.history is not gates.history and twin.ledger.is_held_by(None)
