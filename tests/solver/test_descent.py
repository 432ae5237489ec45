"""Several densities from one training: exact at each, resumed to the bit, and what does not descend is refused."""

import copy
import itertools
import warnings

import pytest
import torch
from operations import Operations
from plans import lenet, mlp
from solver.problem import Problem, equal
from solver.resuming import by_safetensors, by_torch
from torch import nn
from torch.nn import functional as F

import lzero
from lzero.constraints import Budgets, Constraint
from lzero.errors import BudgetError, LzeroWarning, SolverError
from lzero.gates import ARM, Deterministic, LogNormal, StraightThrough
from lzero.settle import breaking

STEPS = 20  # a stage


def wide():
    return mlp((8, 12, 10, 2))


def convolutional():
    return lenet(5, 6, 8)


class Alike(nn.Module):
    """Two blocks with a hidden layer of one name and size."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.ModuleDict({"up": nn.Linear(6, 10), "down": nn.Linear(10, 6)}) for _ in range(2))
        self.head = nn.Linear(6, 1)

    def forward(self, x):
        for block in self.blocks:
            x = x + block["down"](F.softplus(block["up"](x)))
        return self.head(x)


def alike():
    model = Alike()
    return model, lzero.discover(model, torch.randn(3, 6))


def scaled(*shares, targets=(0.8, 0.65, 0.5)):
    """One list of constraints a stage, each the given one with its target times that of the stage."""
    return [[Constraint(**{**vars(one), "target": one.target * target}) for one in shares] for target in targets]


# name: problem, estimator, targets, options
KINDS = {
    "params": (wide, None, [0.7, 0.5, 0.3], {}),
    "macs": (convolutional, None, [0.8, 0.6, 0.45], {"measure": "macs"}),
    "gates": (wide, None, [0.8, 0.5, 0.25], {"measure": "gates"}),
    "a part": (convolutional, None, scaled(Constraint(1.0, within="fc1")), {}),
    "each layer": (wide, None, scaled(Constraint(1.0, "macs", each_layer=True)), {}),
    "several": (convolutional, None, scaled(Constraint(0.9), Constraint(1.0, "macs")), {}),
    "one falls": (wide, None, [[Constraint(t), Constraint(0.8, "macs", within="fc2")] for t in (0.7, 0.4)], {}),
    "uniform": (alike, None, scaled(Constraint(1.0, uniform=True)), {}),
    "without finetune": (wide, None, [0.7, 0.5, 0.3], {"finetune": 0.0}),
    "ARM": (wide, ARM(), [0.7, 0.5], {}),
    "log-normal": (wide, LogNormal(), [0.7, 0.5], {}),
    "straight through": (wide, StraightThrough(), [0.7, 0.5], {}),
    "deterministic": (wide, Deterministic(), [0.7, 0.5], {}),
    "steps of each": (wide, None, [0.7, 0.3], {"total_steps": [15, 40]}),
}


def built(kind):
    make, estimator, targets, options = KINDS[kind]
    problem = Problem(make, estimator=estimator)
    return problem, lzero.Descent(problem.gates, targets, **{"total_steps": STEPS * len(targets), **options})


def ship(problem, descent):
    """The purged model of a stage that is due, after checking it against its budget."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LzeroWarning)  # trainings of a few steps
        result = lzero.purge(problem.model)
    budgets, gates = Budgets(descent.constraints, problem.gates), problem.gates
    open_ = torch.cat([result.kept[name] for name in gates.slices])
    assert result.certificate.asked == budgets.named(budgets.targets)
    assert all(result.certificate.deployed[name] <= asked for name, asked in result.certificate.asked.items())
    if "params" in budgets.names:
        left = sum(p.numel() for p in result.model.parameters())
        assert left <= result.certificate.asked["params"] * sum(p.numel() for p in problem.model.parameters())
    if not budgets.families:  # less than one unit to spare
        possible = ~open_ & ((gates.owners < 0) | open_[gates.owners.clamp_min(0)])
        assert bool(breaking(budgets, open_)[possible].all())
    return result


def train(problem, descent, steps):
    """The loop; what each stage that ends in it has shipped."""
    found = []
    for _ in range(steps):
        problem.train(descent, 1)
        if descent.due:
            found.append(ship(problem, descent))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_every_stage_ships_at_its_budget_and_within_one_unit(kind):
    problem, descent = built(kind)
    lengths = KINDS[kind][3].get("total_steps", [STEPS] * len(descent.stages))
    total = sum(lengths)
    found = train(problem, descent, total)
    assert len(found) == len(descent.stages) and descent.steps == total and descent.due and descent.progress == 1
    first = next(iter(found[0].certificate.deployed))
    densities = [result.certificate.deployed[first] for result in found]
    assert densities == sorted(densities, reverse=True)
    counts = [sum(p.numel() for p in result.model.parameters()) for result in found]
    assert all(one > two for one, two in itertools.pairwise(counts))


def test_what_is_shipped_is_what_was_held_and_trained():
    problem, descent = built("params")
    (result,) = train(problem, descent, STEPS)
    assert torch.equal(torch.cat(list(result.kept.values())), problem.gates.held != 0)
    assert result.certificate.largest_difference < 1e-5
    problem.train(descent, 1)
    assert problem.gates.held is None and descent.stage == 1 and not descent.due


def test_steps_stages_and_progress_are_counted_over_the_whole_training():
    problem, descent = built("params")
    seen = []
    for _ in range(3 * STEPS):
        problem.train(descent, 1)
        seen.append((descent.steps, descent.stage, descent.due))
    assert seen == [(n, (n - 1) // STEPS, n % STEPS == 0) for n in range(1, 3 * STEPS + 1)]
    problem, descent = built("params")
    assert descent.progress == 0
    problem.train(descent, STEPS + 6)
    assert descent.progress == pytest.approx(6 / STEPS)
    assert descent.metrics()["stage"] == 1 and descent.metrics()["target"] == 0.5
    assert descent.multipliers.keys() == {"params"} and descent.constraints == (Constraint(0.5),)
    problem.train(descent, 3 * STEPS)  # longer than it was told
    assert descent.stage == 2 and not descent.due and descent.progress == 1 and problem.gates.held is not None


def test_a_target_goes_on_from_the_one_before():
    problem, descent = built("params")
    problem.train(descent, STEPS + 1)
    assert descent.metrics()["annealed_target"] == pytest.approx(0.7)
    problem.train(descent, STEPS // 2)
    assert descent.metrics()["annealed_target"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("kind", "at", "early", "way"),
    [
        *(("params", at, at % 2 == 0, by_torch) for at in (7, STEPS - 1, STEPS + 1, STEPS + 6, 2 * STEPS + 18)),
        ("params", STEPS, True, by_torch),
        ("params", STEPS, False, by_safetensors),
        ("several", STEPS + 6, False, by_torch),
        ("without finetune", STEPS, True, by_torch),
        ("without finetune", STEPS + 1, False, by_torch),
    ],
)
def test_half_and_half_are_the_whole(kind, at, early, way):
    whole, first = built(kind)
    torch.manual_seed(1)
    whole.train(first, at)
    saved = way(whole.model.state_dict()), by_torch(whole.optimizer.state_dict()), torch.get_rng_state()
    before = first.stage, first.due, first.steps, first.progress
    whole.train(first, 3 * STEPS - at)

    resumed = Problem(KINDS[kind][0])
    if early:
        resumed.model.load_state_dict(saved[0])
    _, _, targets, options = KINDS[kind]
    second = lzero.Descent(resumed.gates, targets, total_steps=3 * STEPS, **options)
    if not early:
        resumed.model.load_state_dict(saved[0])
    resumed.optimizer.load_state_dict(saved[1])
    assert (second.stage, second.due, second.steps, second.progress) == before
    torch.set_rng_state(saved[2])
    resumed.train(second, 3 * STEPS - at)
    assert equal(whole.state(), resumed.state()) and first.metrics() == second.metrics()
    one, two = whole.model.state_dict(), resumed.model.state_dict()
    assert set(one) == set(two) and all(torch.equal(one[key], two[key]) for key in one)


def test_going_back_to_an_earlier_stage_is_the_same_training_again():
    problem, descent = built("params")
    problem.train(descent, STEPS - 5)
    saved, optimizer = by_torch(problem.model.state_dict()), by_torch(problem.optimizer.state_dict())
    random = torch.get_rng_state()
    problem.train(descent, STEPS)
    end = problem.state()
    problem.model.load_state_dict(saved)
    problem.optimizer.load_state_dict(optimizer)
    torch.set_rng_state(random)
    assert descent.stage == 0 and descent.steps == STEPS - 5
    problem.train(descent, STEPS)
    assert equal(end, problem.state()) and descent.stage == 1


def test_a_copy_goes_on_as_the_original():
    problem, descent = built("params")
    problem.train(descent, STEPS + 3)
    twin, other = copy.deepcopy((problem, descent))
    for one, trainer in ((problem, descent), (twin, other)):
        torch.manual_seed(2)
        one.optimizer = torch.optim.SGD(one.model.parameters(), 0.01)
        one.train(trainer, STEPS)
    assert equal(problem.state(), twin.state()) and other.stage == descent.stage == 2


def test_another_training_of_the_gates_is_refused_unless_it_is_fresh():
    problem, descent = built("params")
    problem.train(descent, STEPS + 5)
    for targets, steps in (([0.7, 0.5, 0.2], 3 * STEPS), ([0.7, 0.5, 0.3], 4 * STEPS)):
        state = problem.state()
        with pytest.raises(SolverError, match="trained for 4 steps by a DescentStage"):
            lzero.Descent(problem.gates, targets, total_steps=steps)
        assert equal(state, problem.state()) and descent.stage == 1
    again = lzero.Descent(problem.gates, [0.7, 0.5, 0.3], total_steps=3 * STEPS, fresh=True)
    assert (again.stage, again.steps) == (0, 0)
    with pytest.raises(SolverError, match="another one was built on these gates since"):
        problem.train(descent, 1)


def test_a_fresh_one_goes_on_from_the_density_that_it_finds_also_when_resumed():
    problem = Problem(wide)
    problem.train(lzero.Solver(problem.gates, 0.6, total_steps=STEPS), STEPS)
    found = float(Budgets([Constraint(0.6)], problem.gates).cost.fraction(problem.gates.open_mask()))
    descent = lzero.Descent(problem.gates, [0.4, 0.3], total_steps=2 * STEPS, fresh=True)
    assert descent.metrics()["annealed_target"] == pytest.approx(found) and problem.gates.held is None
    problem.train(descent, 4)
    row, again = descent.metrics(), Problem(wide)
    again.model.load_state_dict(problem.model.state_dict())
    assert lzero.Descent(again.gates, [0.4, 0.3], total_steps=2 * STEPS).metrics() == row


def test_a_saved_state_of_another_descent_is_not_loaded():
    problem, descent = built("params")
    problem.train(descent, STEPS + 5)
    other = Problem(wide)
    lzero.Descent(other.gates, [0.7, 0.2], total_steps=2 * STEPS)
    with pytest.raises(SolverError, match="the saved gates were trained for"):
        other.model.load_state_dict(problem.model.state_dict())


def test_a_step_costs_what_a_solvers_costs_and_one_more_operation():
    counts = []
    for make in (
        lambda gates: lzero.Solver(gates, 0.6, total_steps=1000),
        lambda gates: lzero.Descent(gates, [0.6, 0.5], total_steps=2000),
    ):
        problem = Problem(lambda: mlp(input_gates=False))
        trainer = make(problem.gates)
        problem.train(trainer, 5)
        problem.backward()
        with Operations() as operations:
            trainer.step()
        assert operations.waits == []
        counts.append(len(operations.names))
    assert counts[0] <= counts[1] <= counts[0] + 1


def test_an_overflow_is_skipped_and_counted():
    problem, descent = built("params")
    problem.scale = float("inf")
    problem.train(descent, 1)
    assert descent.steps == 1


WRONG = {
    "none": ([], {}, BudgetError, r"expected targets=\[0.5, 0.25, ...\], the largest first, found \[\]"),
    "a number": (0.5, {}, BudgetError, "the largest first, found 0.5"),
    "rising": ([0.5, 0.7], {}, BudgetError, r"stage 1 does not descend \(0.5 to 0.7\); give the largest targets first"),
    "equal": ([0.7, 0.5, 0.5], {}, BudgetError, r"stage 2 does not descend \(0.5 to 0.5\)"),
    "one of two rises": (
        [[Constraint(0.7), Constraint(0.7, "macs")], [Constraint(0.5), Constraint(0.8, "macs")]],
        {},
        BudgetError,
        r"stage 1 does not descend \(0.7 to 0.5, 0.7 to 0.8\)",
    ),
    "other parts": (
        [[Constraint(0.7)], [Constraint(0.5, "macs")]],
        {},
        BudgetError,
        "constraints of stage 1 are not those of stage 0 with other targets",
    ),
    "too small": ([0.5, 0.001], {}, BudgetError, r"density of 0.001 cannot be met.* ask for at least"),
    "no density": ([0.5, "x"], {}, BudgetError, r"expected a density in \(0, 1\]"),
    "few steps": ([0.5, 0.4], {"total_steps": 3}, SolverError, "expected at least 2 steps for each of 2 stages, found"),
    "other lengths": ([0.5, 0.4], {"total_steps": [30]}, SolverError, "one number for each of 2 stages, found 1"),
    "half a step": (
        [0.5, 0.4],
        {"total_steps": [30, 0.5]},
        SolverError,
        r"total_steps\[1\]: expected a positive number",
    ),
    "no share": ([0.5, 0.4], {"finetune": 2.0}, SolverError, "finetune: expected a share"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_descended_is_refused_before_anything_changes(name):
    targets, options, error, message = WRONG[name]
    problem = Problem(wide)
    before, ledger = problem.state(), dict(problem.gates.ledger)
    with pytest.raises(error, match=message):
        lzero.Descent(problem.gates, targets, **{"total_steps": 60, **options})
    assert equal(before, problem.state()) and dict(problem.gates.ledger) == ledger


def test_what_it_is_for_stays_as_it_is():
    _, descent = built("params")
    with pytest.raises(SolverError, match=r"Descent\.stage: what a training is for stays as it is"):
        descent.stage = 2


def test_short_stages_are_warned_of_once():
    problem = Problem(wide)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        descent = lzero.Descent(problem.gates, [0.7, 0.5], total_steps=60)
        problem.train(descent, 40)
    assert [str(one.message)[:42] for one in caught] == ["total_steps, of a stage: 30 optimizer step"]
    assert caught[0].filename == __file__
