"""Gates on whole blocks through the life of a model: attached, trained, resumed, purged, saved, and taken off again."""

import copy
import dataclasses

import pytest
import torch
from deep_nets import EXACT, built, close_some, given
from plans import same, snapshot
from torch.utils.checkpoint import checkpoint

import lzero
from lzero.baselines.magnitude import Magnitude
from lzero.baselines.scores import magnitude_scores
from lzero.cost import Cost
from lzero.errors import BudgetError, StructureError
from lzero.gates.bernoulli import AR, ARM, StraightThrough
from lzero.gates.deterministic import Deterministic
from lzero.gates.log_normal import LogNormal
from lzero.gates.mask import Mask
from lzero.gates.skip import Skip

pytestmark = pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
FRESH = given("", 3, 7, torch.float32)


def model():
    """Four blocks of attention and MLP in float32, in eval mode."""
    return built(EXACT["pre-norm"][0], torch.float32)


@pytest.fixture(scope="module")
def plans():
    """A plan of units, blocks and branches, and one of blocks and branches alone."""
    plan = lzero.discover(model(), given("", 2, 5, torch.float32), granularity="depth")
    return {"all": plan, "depth": dataclasses.replace(plan, groups=tuple(group for group in plan if group.blocks))}


@pytest.fixture(params=["all", "depth"])
def plan(request, plans):
    return plans[request.param]


def trained(plan, steps=8, budget=0.5, estimator=None, seed=0, **options):
    """A model, its gates, an Adam and a solver after a few steps."""
    made = model().train()
    gates = lzero.attach_gates(made, plan, estimator=estimator)
    optimizer = torch.optim.Adam(made.parameters(), lr=1e-2)
    options = {"constraints": [lzero.Constraint(budget)], "anneal_steps": 6, **options}
    run = made, gates, optimizer, lzero.Solver(gates, **options)
    go_on(run, steps, seed)
    return run


def go_on(run, steps, seed):
    made, _, optimizer, solver = run
    torch.manual_seed(seed)
    for _ in range(steps):
        batch = torch.randn(4, 5, 4)

        def closure(batch=batch):
            return made(batch).square().mean()

        optimizer.zero_grad()
        loss = closure()
        loss.backward()
        optimizer.step()
        solver.step(loss, closure)


def test_a_gated_model_gives_in_eval_mode_what_it_gave(plans):
    plain = model()
    expected = plain(FRESH)
    lzero.attach_gates(plain, plans["depth"])
    assert torch.equal(plain(FRESH), expected)
    both = model()
    lzero.attach_gates(both, plans["all"])
    torch.testing.assert_close(both(FRESH), expected, rtol=1e-5, atol=1e-5)


def test_in_train_mode_a_block_is_blended_with_what_it_is_given(plans):
    made = model().train()
    gates = lzero.attach_gates(made, plans["depth"], open_probability=0.6)
    torch.manual_seed(0)
    found = made(FRESH)
    z = gates.split(gates.current().z)
    assert bool(((z["layers"] > 0) & (z["layers"] < 1)).any())
    x = made.make(FRESH)
    for number, layer in enumerate(made.layers):
        y = x + z["layers.*.attn"][number] * layer.attn.forward(layer.norm1(x))
        y = y + z["layers.*.mlp"][number] * layer.mlp.forward(layer.norm2(y))
        x = (1 - z["layers"][number]) * x + z["layers"][number] * y
    torch.testing.assert_close(found, made.head(made.norm(x)), rtol=1e-5, atol=1e-6)


def test_fixed_and_held_gates_of_blocks_are_open_or_closed_as_what_is_shipped(plans):
    made = model().train()
    gates = lzero.attach_gates(made, plans["depth"])
    z = torch.full((len(gates),), 0.7)
    z[gates.slices["layers"].start + 1] = 0
    shut = (z > 0).float()
    with gates.fixed(z), torch.no_grad():
        found = made(FRESH)
    with gates.fixed(shut), torch.no_grad():
        assert torch.equal(found, made(FRESH))
    gates.hold(shut > 0)
    with torch.no_grad():
        assert torch.equal(found, made(FRESH))
    assert torch.equal(found, lzero.purge(made).model(FRESH))


@pytest.mark.parametrize("measure", ["params", "macs", "gates"])
def test_a_training_ships_at_its_budget(plan, measure):
    made, gates, _, _ = trained(plan, 10, measure=measure, constraints=None, target_density=0.6)
    result = lzero.purge(made)
    shipped = float(Cost(gates, measure).fraction(gates.open_mask() if gates.held is not None else kept(gates, result)))
    assert 0.2 < shipped <= 0.6
    if measure == "params":
        count = sum(parameter.numel() for parameter in result.model.parameters())
        assert count == round(shipped * plan.parameters)


def kept(gates, result):
    return torch.cat([result.kept[name] for name in gates.slices])


def test_a_training_goes_on_from_its_state_dict_to_the_bit(plan):
    through = trained(plan, 5)
    go_on(through, 5, 1)
    first, second = trained(plan, 5), trained(plan, 0)
    for place in (0, 2):  # the model, with which the solver's own state goes, and the optimizer
        second[place].load_state_dict(copy.deepcopy(first[place].state_dict()))
    go_on(second, 5, 1)
    state = second[0].state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in through[0].state_dict().items())


def test_purged_saved_and_loaded_it_is_the_same_to_the_bit(plan, tmp_path):
    made = model()
    gates = lzero.attach_gates(made, plan)
    for seed in range(3):
        close_some(gates, 0.3 + 0.2 * seed, seed)
        result = lzero.purge(made)
        lzero.save_purged(result, tmp_path / str(seed))
        for saved in (tmp_path / str(seed), result.model.state_dict()):
            back = lzero.load_purged(model(), saved)
            assert torch.equal(back(FRESH), result.model(FRESH))
            assert list(back.state_dict()) == list(result.model.state_dict())


def test_a_purged_model_can_be_gated_and_purged_again(plans):
    made = model()
    close_some(lzero.attach_gates(made, plans["all"]), 0.3, 1)
    once = lzero.purge(made).model
    gates = lzero.attach_gates(once, given("", 2, 5, torch.float32), granularity="depth")
    close_some(gates, 0.4, 2)
    twice = lzero.purge(once).model
    torch.testing.assert_close(twice(FRESH), once(FRESH), rtol=1e-5, atol=1e-5)
    back = lzero.load_purged(model(), twice.state_dict())
    assert torch.equal(back(FRESH), twice(FRESH))


def test_detached_it_is_what_it_was(plans):
    made = model()
    before = snapshot(made)
    lzero.attach_gates(made, plans["depth"])
    lzero.detach_gates(made)
    same(before, snapshot(made))


def test_a_copy_has_gates_of_its_own(plan):
    made = model()
    gates = lzero.attach_gates(made, plan)
    copied = copy.deepcopy(made)
    with torch.no_grad():
        lzero.gates_of(copied)["layers"][1:3].fill_(-9.0)
    assert bool((gates["layers"] > 0).all())
    assert not torch.allclose(copied(FRESH), made(FRESH))
    again = model()
    lzero.attach_gates(again, plan)
    again.load_state_dict(copied.state_dict())
    assert torch.equal(again(FRESH), copied(FRESH))


def test_gates_for_each_example_are_refused_with_the_block(plan):
    made = model()
    before = snapshot(made)
    with pytest.raises(StructureError, match=r"per_example: layers\.0 has one gate as a whole.*leave depth out"):
        lzero.attach_gates(made, plan, per_example=True)
    same(before, snapshot(made))


def test_an_interrupted_registration_leaves_the_model_as_it_was(plans, monkeypatch):
    made, count = model(), [0]
    before, attach = snapshot(made), Skip.attach

    def interrupted(self, module):
        count[0] += 1
        if count[0] == 31:  # twelve on each of two copies, and some on the model
            raise KeyboardInterrupt
        attach(self, module)

    monkeypatch.setattr(Skip, "attach", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lzero.attach_gates(made, plans["all"])
    assert count[0] == 31
    same(before, snapshot(made))


def test_groups_of_blocks_start_as_they_are_asked_to(plans):
    gates = lzero.attach_gates(model(), plans["all"], open_probability={"layers": 0.8, "layers.*.mlp": 0.6})
    p = gates.split(gates.probability().detach())
    torch.testing.assert_close(p["layers"], torch.full((4,), 0.8))
    torch.testing.assert_close(p["layers.*.mlp"], torch.full((4,), 0.6))
    torch.testing.assert_close(p["layers.*.attn"], torch.full((4,), 0.97))


@pytest.mark.parametrize(
    "constraint",
    [
        lzero.Constraint(0.6, within="layers"),
        lzero.Constraint(0.5, within="layers.1"),
        lzero.Constraint(0.7, "macs", each_layer=True),
        lzero.Constraint(0.6, uniform=True),
        lzero.Constraint(0.7, "gates", within="layers"),
    ],
    ids=repr,
)
def test_budgets_of_every_kind_are_met(plans, constraint):
    made, gates, _, _ = trained(plans["all"], 4, constraints=[constraint], anneal_steps=2)
    result = lzero.purge(made)
    for path, target in constraint.parts(gates).items():
        assert float(Cost(gates, constraint.measure, [(path,)]).fraction(kept(gates, result))) <= target


@pytest.mark.parametrize(
    ("constraint", "why"),
    [
        (lzero.Constraint(0.6, uniform=True), "there are no groups of units"),
        (lzero.Constraint(0.7, "macs", each_layer=True), r"macs/layers\.\d\.attn\.qkv: .*cannot be met"),
        (lzero.Constraint(0.7, "gates", each_layer=True), "each_layer: no layer has gates of its own"),
        (lzero.Constraint(0.7, "gates", within="head"), r"no gated layer at 'head'; .*layers\.0"),
    ],
    ids=repr,
)
def test_budgets_that_blocks_alone_cannot_meet_are_refused(plans, constraint, why):
    gates = lzero.attach_gates(model(), plans["depth"])
    with pytest.raises(BudgetError, match=why):
        lzero.Solver(gates, constraints=[constraint])


def test_a_block_counts_one_gate(plans):
    gates = lzero.attach_gates(model(), plans["depth"])
    cost, ones = Cost(gates, "gates"), torch.ones(len(gates), dtype=torch.bool)
    assert float(cost.total) == 12
    closed = ones.clone()
    closed[gates.slices["layers"].start] = False
    assert float(cost.value(closed)) == 9  # with it go the gates of its two branches


@pytest.mark.parametrize("reentrant", [True, False])
def test_blocks_that_are_computed_twice_have_one_draw(plans, reentrant):
    found = []
    for again in (False, True):
        made = model().train()
        gates = lzero.attach_gates(made, plans["all"], open_probability=0.6)
        torch.manual_seed(3)
        x = gates.draw(made) or made.make(FRESH)
        for layer in made.layers:
            x = checkpoint(layer, x, use_reentrant=reentrant) if again else layer(x)
        made.head(made.norm(x)).square().mean().backward()
        found.append([parameter.grad for parameter in made.parameters()] + [gates.log_alpha.grad])
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_model_gives_the_same(plans, backend):
    made = model()
    gates = lzero.attach_gates(made, plans["all"], open_probability=0.6)
    compiled = torch.compile(made, backend=backend)
    torch.testing.assert_close(compiled(FRESH), made(FRESH))
    grads = []
    for run in (compiled.train(), made.train()):
        gates.log_alpha.grad = None
        torch.manual_seed(0)
        run(FRESH).square().mean().backward()
        grads.append(gates.log_alpha.grad.clone())
    torch.testing.assert_close(*grads)
    assert float(grads[0][gates.slices["layers"]].abs().max()) > 0


def test_under_autocast_gates_of_blocks_get_gradients(plans):
    made = model().train()
    gates = lzero.attach_gates(made, plans["all"], open_probability=0.5)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        out = made(FRESH)
    out.float().square().mean().backward()
    slope = gates.log_alpha.grad[gates.slices["layers"]]
    assert out.dtype is torch.bfloat16 and bool(slope.isfinite().all()) and bool((slope != 0).any())


@pytest.mark.parametrize(
    "estimator",
    [StraightThrough, LogNormal, Deterministic, *(pytest.param(kind, marks=pytest.mark.slow) for kind in (AR, ARM))],
)
def test_other_gates_train_blocks_too(plans, estimator):
    made, gates, _, _ = trained(plans["depth"], 4, estimator=estimator(), anneal_steps=2)
    result = lzero.purge(made)
    assert float(Cost(gates).fraction(kept(gates, result))) <= 0.5


@pytest.mark.parametrize("measure", ["params", "gates"])
def test_a_penalty_closes_blocks(plan, measure):
    made = model().train()
    gates = lzero.attach_gates(made, plan)
    start = float(gates["layers"].detach().sum())
    penalty = lzero.Penalty(gates, 1e4, measure=measure)
    for _ in range(3):
        made(FRESH).square().mean().backward()
        penalty.step()
    assert float(gates["layers"].detach().sum()) < start


@pytest.mark.parametrize("criterion", ["magnitude", "lamp", "random"])
def test_blocks_are_ranked_by_the_baselines(plan, criterion):
    made = model().train()
    gates = lzero.attach_gates(made, plan, estimator=Mask())
    magnitude = Magnitude(gates, 0.5, model=made, total_steps=4, criterion=criterion)
    for _ in range(4):
        made(FRESH).square().mean().backward()
        magnitude.step()
    assert float(Cost(gates).fraction(kept(gates, lzero.purge(made)))) <= 0.5


def test_a_block_with_small_weights_has_a_small_magnitude(plans):
    made = model()
    with torch.no_grad():
        for parameter in made.layers[2].parameters():
            parameter.mul_(0.01)
    gates = lzero.attach_gates(made, plans["depth"])
    scores = gates.split(magnitude_scores(gates, made))
    assert all(int(scores[name].argmin()) == 2 and scores[name][2] < 0.1 for name in scores)
