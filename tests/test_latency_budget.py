"""A budget of latency from the constraint to the certificate: tables are made by hand, and no clock is read."""

import dataclasses
import io
import json
import warnings

import pytest
import torch
from hand_tables import plain, stairs, table_of
from plans import lenet, mlp
from solver.problem import Problem
from torch import nn

import lzero
from lzero.baselines import Magnitude
from lzero.bundles import Bundles
from lzero.certificate import asked_of
from lzero.constraint_record import from_tensor, to_json, to_tensor
from lzero.constraints import Budgets, Constraint
from lzero.errors import BudgetError, SolverError
from lzero.latency.packed import TABLES, pack
from lzero.latency.timer import device_name
from lzero.settle import fill

pytestmark = pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")  # most trainings are short

PLAN = mlp((6, 24, 18, 4), input_gates=False)[1]
TABLE = table_of(PLAN, stairs)


def wide():
    """A network wide enough for steps."""
    return mlp((6, 24, 18, 4), input_gates=False)


def budget(target, table=TABLE, **options):
    return Constraint(target, "latency", table=table, **options)


def trained(constraints, steps=80, **options):
    problem = Problem(wide)
    solver = lzero.Solver(problem.gates, constraints=constraints, total_steps=steps, **options)
    problem.train(solver, steps)
    return problem, solver


def units_to_spare(gates, budgets, open_):
    """Whether a closed gate could be opened alone."""
    for gate in (~open_).nonzero().flatten().tolist():
        more = open_.clone()
        more[gate] = True
        if budgets.met(more):
            return True
    return False


def test_constraints_with_equal_tables_are_equal():
    same = table_of(PLAN, stairs)
    assert budget(0.5) == budget(0.5, same) and hash(budget(0.5)) == hash(budget(0.5, same))
    assert budget(0.5) != budget(0.5, table_of(PLAN, plain)) and budget(0.5) != Constraint(0.5)


def test_a_description_has_the_digest_and_the_table_stands_beside_it():
    asked = to_tensor({"constraints": (budget(0.5), Constraint(0.25, "macs"))})
    text = bytes(asked.tolist()).decode()
    assert json.loads(text)["constraints"][0]["table"] == TABLE.digest and len(text) < 400
    assert "table" not in to_json([Constraint(0.25)])[0]  # as it was written before there were tables
    assert from_tensor(asked, pack([TABLE]))["constraints"] == (budget(0.5), Constraint(0.25, "macs"))
    for tables in (None, pack([table_of(PLAN, plain)])):
        with pytest.raises(BudgetError, match="the saved description of the budgets cannot be read"):
            from_tensor(asked, tables)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"measure": "latency"}, "table: a budget of latency needs what layers take by their width, found None"),
        ({"measure": "macs", "table": TABLE}, "table: belongs to the measure 'latency'"),
        ({"measure": "latency", "table": "latency.json"}, "found 'latency.json'"),
    ],
)
def test_a_latency_and_a_table_belong_together(options, message):
    with pytest.raises(BudgetError, match=message):
        Constraint(0.5, **options)
    gates = lzero.attach_gates(*wide())
    with pytest.raises(BudgetError, match="needs what layers take"):
        lzero.Solver(gates, 0.5, measure="latency", total_steps=100)
    with pytest.raises(BudgetError, match="measure: expected one of 'params', 'macs', 'gates', found 'latency'"):
        lzero.Penalty(gates, 0.5, measure="latency")


def test_a_target_below_the_floor_is_refused_with_the_floor():
    gates = lzero.attach_gates(*wide())
    budgets = Budgets([budget(1.0)], gates)
    least = float(budgets.cost.fraction(gates.floor()))
    one = TABLE.predict({"fc1": (1, 6), "fc2": (1, 1), "fc3": (4, 1)}) / TABLE.total
    assert least == pytest.approx(one, rel=1e-12)
    with pytest.raises(BudgetError, match=rf"latency: a density of .* cannot be met.*already cost {least:.6g}"):
        Budgets([budget(least * 0.99)], gates)
    Budgets([budget(least)], gates)


def test_a_table_of_another_model_is_refused_with_the_way_out():
    gates = lzero.attach_gates(*wide())
    with pytest.raises(BudgetError, match=r"another model.*table=lzero.latency.measure\(model, inputs\)"):
        lzero.Solver(gates, constraints=[budget(0.5, table_of(lenet()[1]))], total_steps=100)


def test_parts_are_layers_of_the_table():
    gates = lzero.attach_gates(*wide())
    budgets = Budgets([budget(0.9, each_layer=True), budget(0.7)], gates)
    assert budgets.names == ["latency/fc1", "latency/fc2", "latency/fc3", "latency"]
    whole = [layer.total for layer in TABLE.layers]
    assert budgets.cost.total.tolist() == pytest.approx([*whole, TABLE.total])
    assert Budgets([budget(0.9, within="fc2")], gates).cost.total.tolist() == pytest.approx([whole[1]])
    with pytest.raises(BudgetError, match="within: no gated layer at 'fc7'"):
        Budgets([budget(0.9, within="fc7")], gates)


@pytest.mark.parametrize("ms", [plain, stairs])
@pytest.mark.parametrize("target", [0.3, 0.6])
def test_a_training_ships_at_its_budget_with_less_than_a_unit_to_spare(target, ms):
    problem, solver = trained([budget(target, table_of(PLAN, ms))], steps=300)
    assert abs(solver.metrics()["deployed"] - target) < 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the training, and not settling, has chosen
        result = lzero.purge(problem.model)
    widths = {path: tuple(result.model.get_submodule(path).weight.shape) for path in ("fc1", "fc2", "fc3")}
    table = table_of(PLAN, ms)
    shipped = table.predict(widths) / table.total
    assert shipped <= target and result.certificate.deployed["latency"] == pytest.approx(shipped, rel=1e-12)
    open_ = torch.cat([result.kept[name] for name in problem.gates.slices])
    assert not units_to_spare(problem.gates, solver.budgets, open_)


def test_several_budgets_hold_at_once():
    asked = [budget(0.5), Constraint(0.4, "params"), budget(0.8, within="fc2"), Constraint(0.9, "macs")]
    problem, solver = trained(asked)
    result = lzero.purge(problem.model)
    deployed = result.certificate.deployed
    assert set(deployed) == {"latency", "params", "latency/fc2", "macs"} == set(solver.multipliers)
    assert all(deployed[name] <= target for name, target in result.certificate.asked.items())
    open_ = torch.cat([result.kept[name] for name in problem.gates.slices])
    assert not units_to_spare(problem.gates, solver.budgets, open_)
    assert {"latency:multiplier", "params:violation"} <= set(solver.metrics())


def test_a_uniform_budget_opens_whole_bundles_until_none_fits():
    torch.manual_seed(1)
    model = nn.Sequential(*(nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 5)) for _ in range(3)))
    gates = lzero.attach_gates(model, torch.randn(2, 5))
    table = table_of(gates.plan, stairs)
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        priority = torch.rand(len(gates), generator=generator)
        budgets = Budgets([budget(0.35 + 0.03 * seed, table, uniform=True)], gates)
        open_ = fill(priority, budgets, gates.masks)
        assert budgets.met(open_)
        floor = gates.masks.with_floor(torch.zeros_like(open_), priority.double())
        bundles = Bundles(priority, floor, budgets.families)
        for first in bundles.of[~open_].unique().tolist():
            more = open_ | (bundles.of == first)
            assert not budgets.met(more)


def test_a_step_that_is_paid_for_is_filled():
    """Three rows cost what one does: of a layer that is likelier than others, whole steps are kept."""
    gates = lzero.attach_gates(*wide())
    table = table_of(PLAN, lambda rows, columns: 0.05 + 0.2 * -(-rows // 3))
    for target in (0.35, 0.45, 0.62, 0.8):
        budgets = Budgets([budget(target, table)], gates)
        open_ = fill(torch.linspace(0.9, 0.1, len(gates)), budgets, gates.masks)
        assert all(int(mask.sum()) % 3 == 0 for mask in gates.split(open_).values())


def interrupted(problem, solver, steps):
    """The state dict after some steps, through a file."""
    problem.train(solver, steps)
    file = io.BytesIO()
    torch.save(problem.model.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_a_training_resumes_to_the_bit_and_its_state_does_not_grow():
    constraints, steps = [budget(0.5), Constraint(0.8, "macs")], 60

    def begun():
        problem = Problem(wide)
        return problem, lzero.Solver(problem.gates, constraints=constraints, total_steps=steps)

    whole, one = begun()
    whole.train(one, steps)
    first, two = begun()
    state, random = interrupted(first, two, 25), torch.get_rng_state()
    later = interrupted(*begun(), 45)
    tables = [name for name in state if name.endswith(TABLES)]
    assert len(tables) == 1 and state[tables[0]].dtype == torch.uint8
    assert {name: value.shape for name, value in state.items()} == {n: v.shape for n, v in later.items()}
    second, three = begun()
    second.model.load_state_dict(state)
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    torch.set_rng_state(random)
    second.train(three, steps - 25)
    assert all(torch.equal(a, b) for a, b in zip(whole.state(), second.state(), strict=True))
    assert asked_of(second.gates) == tuple(constraints)


def test_another_process_purges_to_what_was_asked():
    problem, _ = trained([budget(0.4)], finetune=0.0)
    other, plan = wide()
    gates = lzero.attach_gates(other, plan)
    other.load_state_dict(problem.model.state_dict())
    assert asked_of(gates) == (budget(0.4),)
    again, first = lzero.purge(other), lzero.purge(problem.model)
    assert again.certificate.deployed == first.certificate.deployed
    assert again.certificate.asked == {"latency": 0.4}


def test_gates_trained_by_another_table_are_not_taken_over():
    problem, _ = trained([budget(0.5)], steps=20)
    other = table_of(PLAN, plain)
    with pytest.raises(SolverError) as caught:
        lzero.Solver(problem.gates, constraints=[budget(0.5, other)], total_steps=20)
    text = str(caught.value)
    assert f"0.5 of the latency, table {TABLE.digest[:8]}" in text and f"table {other.digest[:8]}" in text
    assert len(text) < 600


def test_magnitude_takes_a_budget_of_latency():
    model, plan = wide()
    gates = lzero.attach_gates(model, plan, estimator=lzero.gates.Mask())
    pruner = Magnitude(gates, constraints=[budget(0.5)], model=model, total_steps=10)
    for _ in range(10):
        model(plan.example_inputs).sum().backward()
        pruner.step()
    assert lzero.purge(model).certificate.deployed["latency"] <= 0.5


def test_a_certificate_says_what_the_table_does_and_no_more_elsewhere():
    problem, _ = trained([budget(0.5)])
    certificate = lzero.purge(problem.model).certificate
    latency = certificate.latency
    assert latency.predicted_before == pytest.approx(TABLE.total)
    assert latency.predicted == pytest.approx(certificate.deployed["latency"] * TABLE.total)
    assert latency.measured is latency.measured_before is None
    assert f"latency: {latency}" in str(certificate)
    assert certificate.to_dict()["latency"]["predicted"] == latency.predicted
    json.dumps(certificate.to_dict())
    plain_one = Problem(wide)
    assert lzero.purge(plain_one.model, settle=False).certificate.latency is None


def test_where_the_table_was_measured_the_purged_model_is_timed_again():
    here = dataclasses.replace(TABLE, device=device_name(torch.device("cpu")), shapes=((4, 6),))
    problem, _ = trained([budget(0.5, here)])
    state = torch.random.get_rng_state()
    certificate = lzero.purge(problem.model).certificate
    assert torch.equal(state, torch.random.get_rng_state())
    assert certificate.latency.measured > 0 and certificate.latency.measured_before > 0
    assert "measured again" in str(certificate)
    without = lzero.purge(problem.model, measure=False).certificate
    assert without.latency.measured is None
    with pytest.raises(lzero.StructureError, match="measure: expected True or False, found 'again'"):
        lzero.purge(problem.model, measure="again")


def test_a_saved_model_has_it_in_its_description(tmp_path):
    problem, _ = trained([budget(0.5)])
    result = lzero.purge(problem.model)
    lzero.save_purged(result, tmp_path)
    lzero.load_purged(wide()[0], tmp_path)
    held = json.loads((tmp_path / "lzero.json").read_text())["certificate"]
    assert held["latency"]["predicted"] == result.certificate.latency.predicted


def test_a_descent_takes_up_its_tables_too():
    stages = [[budget(0.8)], [budget(0.5)]]

    def begun():
        problem = Problem(wide)
        return problem, lzero.Descent(problem.gates, stages, total_steps=80)

    first, one = begun()
    first.train(one, 30)
    second, _ = begun()
    second.model.load_state_dict(first.model.state_dict())
    two = lzero.Descent(second.gates, stages, total_steps=80)
    assert two.steps == 30
    first.train(one, 50)
    assert lzero.purge(first.model).certificate.deployed["latency"] <= 0.5


def test_units_that_leave_a_training_leave_the_budget_as_it_was():
    problem = Problem(wide)
    plan = problem.gates.plan
    whole = lzero.Gates(plan)
    with torch.no_grad():
        problem.gates.log_alpha[1::3] = -9.0
    open_ = problem.gates.open_mask()
    solver = lzero.Solver(problem.gates, constraints=[budget(0.5)], total_steps=300)
    lzero.compact(problem.model, problem.optimizer)
    problem.train(solver, 1)
    cost, before = solver.budgets.cost, Budgets([budget(0.5)], whole).cost
    stay = torch.zeros(len(whole), dtype=torch.bool)
    stay[problem.gates.whole.numbers] = True
    assert torch.equal(cost.total, before.total) and int(stay.sum()) == len(problem.gates) < len(whole)
    assert torch.equal(cost.value(open_[stay]), before.value(open_ & stay))
    result = lzero.purge(problem.model)
    assert result.certificate.deployed["latency"] <= 0.5 and result.certificate.latency.measured_before is None
