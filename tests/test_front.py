"""One training purged at many budgets: each point exact, the model untouched, nothing evaluated in vain."""

import copy

import numpy as np
import pytest
import torch
from pictures import picture, unchanged
from pipeline.loop import gated, train
from plans import CASES, same, snapshot
from purging import gated as random_gates
from purging import solver_of
from torch import nn
from torch.optim.swa_utils import AveragedModel

import lzero
from lzero import plots
from lzero.constraints import Budgets, Constraint
from lzero.errors import BudgetError, LzeroWarning, RecordError, StructureError
from lzero.front import NOTE, Front
from lzero.settle import breaking

pytestmark = pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")  # of trainings that are cut, or short
TARGETS = (0.8, 0.6, 0.45, 0.3)


def seconds_of_nothing(model):
    return 0.0


def trained(finetune=0.2, steps=80):
    """A gated MLP on digits; without ``finetune`` its gates are still drawn."""
    model, gates = gated(40, 20)
    train(model, lzero.Solver(gates, 0.3, total_steps=steps, finetune=finetune), steps)
    return model, gates


def counted(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("measure", ["params", "macs", "gates"])
@pytest.mark.parametrize("held", [True, False])
def test_every_point_meets_its_budget_within_one_unit_and_they_descend(held, measure):
    model, gates = trained(0.2 if held else 0.0)
    assert (gates.held is not None) == held
    models = []
    front = lzero.front(model, TARGETS, lambda small: models.append(small) or len(models), measure=measure)
    assert [row["evaluation"] for row in front.rows] == [1, 2, 3, 4] and front.trained == (Constraint(0.3),)
    for row, target, small in zip(front.rows, TARGETS, models, strict=True):
        result = lzero.purge(model, constraints=[Constraint(target, measure)])
        assert row["asked"] == target >= row["shipped"] == result.certificate.deployed[measure]
        budgets, open_ = Budgets([Constraint(target, measure)], gates), torch.cat(list(result.kept.values()))
        assert bool(breaking(budgets, open_)[~open_].all())
        assert row["parameters"] == counted(small) and row["params"] == counted(small) / counted(model)
        linear = [module for module in small if isinstance(module, nn.Linear)]
        whole = sum(a * b for a, b in ((64, 40), (40, 20), (20, 10)))
        assert row["macs"] == pytest.approx(sum(layer.weight.numel() for layer in linear) / whole)
        state = result.model.state_dict()
        assert all(torch.equal(tensor, state[name]) for name, tensor in small.state_dict().items())
        assert not small.training
    for name in ("shipped", "params", "macs", "parameters"):
        values = [row[name] for row in front.rows]
        assert values == sorted(values, reverse=True) and values[0] > values[-1]


@pytest.mark.parametrize("case", CASES)
def test_the_model_is_what_it_was_to_the_bit(case):
    model, gates, x = random_gates(CASES[case])
    solver_of(gates, 0.95)
    model.train()
    model(x).sum().backward()
    before, state = picture(model), snapshot(model)
    ledger = {name: tensor.clone() for name, tensor in gates.ledger.items()}

    def evaluate(small):
        with torch.no_grad():
            for parameter in small.parameters():
                parameter.mul_(torch.rand(()))
        np.random.rand()
        return small(x).mean()

    numpy = np.random.get_state()[1].copy()
    lzero.front(model, [0.95, 0.9], evaluate, inputs=x)
    unchanged(before, picture(model))
    same(state, snapshot(model))
    assert model.training and gates.held is None and (np.random.get_state()[1] == numpy).all()
    assert ledger.keys() == gates.ledger.keys()
    assert all(torch.equal(tensor, gates.ledger[name]) for name, tensor in ledger.items())


def test_a_training_goes_on_as_if_it_had_never_been_cut():
    ends = []
    for look in (False, True):
        model, gates = gated(40, 20)
        solver, optimizer = lzero.Solver(gates, 0.3, total_steps=40), torch.optim.Adam(model.parameters(), 1e-3)
        for seed in range(2):
            train(model, solver, 15 + 10 * seed, optimizer, seed)
            held = None if gates.held is None else gates.held.clone()
            if look:
                lzero.front(model, TARGETS, lambda small: torch.rand(()))
            assert held is None if gates.held is None else torch.equal(held, gates.held)
        ends.append(copy.deepcopy(model.state_dict()))
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())


def test_draws_of_an_evaluation_are_the_same_at_every_budget():
    model, _ = trained()
    rows = lzero.front(model, TARGETS, lambda small: torch.rand(())).rows
    assert len({row["evaluation"] for row in rows}) == 1


def test_constraints_are_budgets_too():
    model, gates = trained()
    budgets = [Constraint(0.5, "macs"), Constraint(0.4, within="0"), Constraint(0.6, each_layer=True)]
    rows = lzero.front(model, budgets, seconds_of_nothing).rows
    assert [row["measure"] for row in rows] == ["macs", "params/0", "params, each layer"]
    for row, one in zip(rows, budgets, strict=True):
        met = Budgets([one], gates)
        kept = torch.cat(list(lzero.purge(model, constraints=[one]).kept.values()))
        assert row["shipped"] == float(met.cost.fraction(kept).max()) <= row["asked"] == one.target


def test_times_are_measured_where_inputs_are_given():
    model, _ = trained()
    x = torch.randn(2, 64)
    assert all(row["milliseconds"] > 0 for row in lzero.front(model, [0.5, 0.3], seconds_of_nothing, inputs=x).rows)
    assert "milliseconds" not in lzero.front(model, [0.5], seconds_of_nothing).rows[0]
    seen = []
    with pytest.raises(StructureError, match="front: inputs: the purged model does not run on them"):
        lzero.front(model, [0.5], seen.append, inputs=torch.randn(2, 3))
    assert not seen


def test_statistics_are_taken_anew_where_there_are_batches():
    model, _, x = random_gates(CASES["batch_norm"])
    with torch.no_grad():
        model.bn1.running_mean.fill_(7.0)
    batches = [(torch.randn(5, 2, 4, 4), "labels"), (torch.randn(5, 2, 4, 4), "labels")]
    models = []
    for calibrate in (None, batches):
        lzero.front(model, [0.9], lambda small: models.append(small) or 0.0, calibrate=calibrate)
    before, after = models
    assert bool((before.bn1.running_mean == 7).all()) and bool((model.bn1.running_mean == 7).all())
    expected = torch.stack([before.conv1(batch).mean((0, 2, 3)) for batch, _ in batches]).mean(0)
    torch.testing.assert_close(after.bn1.running_mean, expected)
    assert not after.training and torch.equal(before.conv1.weight, after.conv1.weight)
    with pytest.raises(StructureError, match="front: calibrate: the purged model does not run on a batch"):
        lzero.front(model, [0.9], seconds_of_nothing, calibrate=[x[0, 0]])
    plain, _ = trained(steps=10)
    assert lzero.front(plain, [0.5], seconds_of_nothing, calibrate=[None]).rows


def test_wrapped_models_are_unwrapped():
    model, _ = trained(0.0)
    average = AveragedModel(model)
    rows = lzero.front(model, [0.5, 0.3], seconds_of_nothing).rows
    assert lzero.front(average, [0.5, 0.3], seconds_of_nothing).rows == rows
    assert lzero.front(torch.compile(model, backend="eager"), [0.5, 0.3], seconds_of_nothing).rows == rows


def test_it_prints_writes_and_plots_what_it_is(tmp_path):
    model, _ = trained()
    front = lzero.front(model, [0.5, 0.3], counted, inputs=torch.randn(2, 64))
    head, columns, *lines = str(front).splitlines()
    assert head == f"{NOTE} (it was asked for 0.3 of the params)" and len(lines) == 2
    assert columns.split() == ["asked", "of", "shipped", "params", "MACs", "parameters", "ms", "evaluation"]
    assert lines[0].split()[:2] == ["50.00%", "params"] and len({*map(len, lines)}) == 1
    front.to_csv(tmp_path / "front.csv")
    rows = lzero.Recorder.from_csv(tmp_path / "front.csv").rows
    assert rows == list(front.rows) and rows[0]["cut"] == 1
    figure, axes = plots.front(rows)
    assert len(axes) == 3 and "not equal to training at each" in figure.get_supxlabel()
    assert str(Front([{"asked": 0.5}])).startswith(f"{NOTE} (it was asked for no budget)")


def test_gates_that_nobody_trained_are_warned_of():
    model, _ = gated(12, 8)
    with pytest.warns(LzeroWarning, match="front: no solver has trained these gates"):
        lzero.front(model, [0.5], seconds_of_nothing)
    model, gates = gated(12, 8)
    train(model, lzero.Penalty(gates, 0.1), 5)
    assert lzero.front(model, [0.5], seconds_of_nothing).trained == ()


WRONG = {
    "too small": (
        {"targets": [0.5, 1e-4]},
        BudgetError,
        r"params: a density of 0\.0001 cannot be met.* ask for at least",
    ),
    "no density": ({"targets": [0.5, 1.5]}, BudgetError, r"target: expected a density in \(0, 1\]"),
    "no list": ({"targets": 0.5}, BudgetError, r"front: expected targets=\[0\.5, 0\.25, \.\.\.\], found 0\.5"),
    "no targets": ({"targets": []}, BudgetError, "found \\[\\]"),
    "no measure": ({"measure": "size"}, BudgetError, "measure: expected one of 'params', 'macs', 'gates'"),
    "no function": ({"evaluate": 0.5}, StructureError, "front: evaluate: expected a function of the purged model"),
    "an iterator": ({"calibrate": iter([1])}, StructureError, "front: calibrate: expected batches that can be gone"),
    "no batches": ({"calibrate": 0.5}, StructureError, "such as a list or a DataLoader, found 0.5"),
    "no gates": ({"model": nn.Linear(2, 2)}, StructureError, "Linear: no gates attached; call lzero.attach_gates"),
    "no model": ({"model": 0.5}, StructureError, "front: expected a model with gates attached, found 0.5"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_cut_is_refused_before_anything_is_evaluated(name):
    wrong, error, message = WRONG[name]
    model, _ = gated(12, 8)
    called = []
    with pytest.raises(error, match=message):
        lzero.front(**{"model": model, "targets": [0.5], "evaluate": called.append, **wrong})
    assert not called


@pytest.mark.parametrize("value", [None, "good", torch.zeros(2), [0.5]])
def test_an_evaluation_is_a_number(value):
    model, _ = trained(steps=10)
    with pytest.raises(RecordError, match="front: evaluate: expected it to return a number, found"):
        lzero.front(model, [0.5], lambda small: value)
    assert lzero.front(model, [0.5], lambda small: np.float32(0.5)).rows[0]["evaluation"] == 0.5


def test_an_error_of_the_evaluation_is_passed_on_as_it_is():
    model, _ = trained(steps=10)
    with pytest.raises(ZeroDivisionError):
        lzero.front(model, [0.5], lambda small: 1 / 0)
