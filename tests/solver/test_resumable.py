"""Trainings that stop and go on: what is written into the ledger of the gates, and what is taken from it.

A hundred steps and a hundred more are two hundred to the bit, from the state dicts of model and optimizer alone.
"""

import copy
import pickle

import pytest
import torch
from solver.problem import Problem, equal
from solver.resuming import CASES, by_safetensors, by_torch, fresh, solver

import lzero
from lzero.constraint_record import KIND, to_tensor
from lzero.solver.resumable import Resumable

ASKED, OTHER = (to_tensor({KIND: "Solver", "constraints": (), "x": x}) for x in (1, 2))


@pytest.mark.parametrize(
    ("way", "early"),
    [(by_torch, False), (by_torch, True), (by_safetensors, False)],
    ids=["late", "early", "safetensors"],
)
@pytest.mark.parametrize("name", CASES)
def test_half_and_half_are_the_whole(name, way, early):
    build, whole = CASES[name][2], fresh(name)
    first, half = build(whole), whole.half
    torch.manual_seed(1)
    whole.train(first, half)
    saved = {"model": way(whole.model.state_dict()), "optimizer": by_torch(whole.optimizer.state_dict())}
    random = torch.get_rng_state()
    whole.train(first, half)

    resumed = fresh(name)
    if early:
        resumed.model.load_state_dict(saved["model"])
    second = build(resumed)
    if not early:
        resumed.model.load_state_dict(saved["model"])
    resumed.optimizer.load_state_dict(saved["optimizer"])
    if early:
        assert second.steps == half
    torch.set_rng_state(random)
    resumed.train(second, half)
    assert equal(whole.state(), resumed.state())
    assert first.metrics() == second.metrics() and first.steps == second.steps == 2 * half
    one, two = whole.model.state_dict(), resumed.model.state_dict()
    assert set(one) == set(two)
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert (whole.gates.held is None) == (resumed.gates.held is None) == ("finetune" not in name and "held" not in name)


def test_the_states_keys_are_those_of_the_model_and_lzeros():
    problem = Problem()
    plain = list(problem.model.state_dict())
    trainer = solver(problem)
    problem.train(trainer, 3)
    state = problem.model.state_dict()
    added = [key for key in state if key not in plain]
    assert added and all(key.startswith("lzero.") for key in added)
    assert all(isinstance(tensor, torch.Tensor) for tensor in state.values())
    assert {"lzero.asked", "lzero.steps", "lzero.skipped", "lzero.multipliers", "lzero.norms"} <= set(added)
    assert int(state["lzero.steps"][0]) == 3


def test_a_saved_state_is_a_copy_that_training_does_not_change():
    problem = Problem()
    trainer = solver(problem)
    problem.train(trainer, 5)
    state = problem.model.state_dict()
    before = {key: tensor.clone() for key, tensor in state.items() if key.startswith("lzero.")}
    problem.train(trainer, 5)
    assert all(torch.equal(before[key], state[key]) for key in before)


def test_going_back_in_the_middle_of_a_training_is_the_same_training_again():
    problem = Problem()
    trainer = solver(problem)
    torch.manual_seed(1)
    problem.train(trainer, 20)
    saved, optimizer = by_torch(problem.model.state_dict()), by_torch(problem.optimizer.state_dict())
    random = torch.get_rng_state()
    problem.train(trainer, 20)
    end = problem.state()
    problem.model.load_state_dict(saved)
    problem.optimizer.load_state_dict(optimizer)
    torch.set_rng_state(random)
    assert trainer.steps == 40  # until it looks
    assert trainer.metrics() and trainer.steps == 20
    problem.train(trainer, 20)
    assert equal(end, problem.state())


def test_loading_a_held_state_into_a_running_training_holds_and_an_earlier_one_releases():
    problem = Problem()
    trainer = solver(problem, total_steps=20, finetune=0.5)
    problem.train(trainer, 9)
    drawn = by_torch(problem.model.state_dict())
    problem.train(trainer, 2)
    assert problem.gates.held is not None
    held = by_torch(problem.model.state_dict())
    problem.model.load_state_dict(drawn)
    assert problem.gates.held is None
    problem.model.load_state_dict(held)
    assert torch.equal(problem.gates.held, held["lzero.held"])


def test_the_same_training_goes_on_in_a_second_solver():
    whole, parts = Problem(), Problem()
    torch.manual_seed(2)
    whole.train(solver(whole), 30)
    torch.manual_seed(2)
    parts.train(solver(parts), 10)
    second = solver(parts)
    assert second.steps == 10
    parts.train(second, 20)
    assert equal(whole.state(), parts.state())


def test_gates_that_no_step_has_moved_take_any_solver():
    problem = Problem()
    solver(problem)
    other = lzero.Solver(problem.gates, 0.7, measure="macs", anneal_steps=3)
    problem.train(other, 1)


def test_a_state_of_other_budgets_is_refused_by_a_running_solver_and_changes_nothing_of_it():
    one, two = Problem(), Problem()
    one.train(solver(one), 5)
    running = solver(two, total_steps=70)
    two.train(running, 3)
    with pytest.raises(lzero.SolverError, match=r"the saved gates were trained for .*, these are trained for"):
        two.model.load_state_dict(one.model.state_dict())
    assert running.steps == 3
    two.train(running, 1)


@pytest.mark.parametrize("dual", ["sgd", "nupi"])
def test_a_model_cast_to_double_in_the_middle_goes_on(dual):
    problem = Problem(kind="sgd")
    problem.optimizer.param_groups[0]["momentum"] = 0.0
    trainer = solver(problem, dual=dual)
    problem.train(trainer, 5)
    problem.model.double()
    problem.x, problem.y = problem.x.double(), problem.y.double()
    problem.train(trainer, 5)
    assert problem.gates.log_alpha.dtype == torch.float64 and trainer.steps == 10
    problem.model.bfloat16()
    problem.x, problem.y = problem.x.bfloat16(), problem.y.bfloat16()
    problem.train(trainer, 5)
    assert torch.isfinite(problem.gates.log_alpha).all() and trainer.skipped == 0
    state, moments = problem.model.state_dict(), trainer._gate_optimizer.tensors()
    assert all(torch.equal(state[f"lzero.{name}"], moments[name]) for name in moments)  # and saves what it has


class Counter(Resumable):
    """Counts, and keeps what it is told in a tensor that changes in place."""

    def __init__(self, gates, asked=ASKED, fresh=False):
        super().__init__(gates, asked, fresh)
        self._steps, self._sum, self._optional = torch.zeros(1, dtype=torch.long), torch.zeros(2), torch.zeros(3)
        self._moves = []
        self._begin()

    def _tensors(self):
        return {"steps": self._steps, "sum": self._sum, "optional": self._optional}

    def _take(self, tensors):
        self._steps.copy_(tensors["steps"])
        self._sum = tensors["sum"]  # not copied: what it is given is its own

    def _needs(self, name):
        return name != "optional"

    def _move(self, device):
        self._moves.append((device.type, self._dtype))

    def count(self):
        self._continue()
        self._steps += 1
        self._sum += 0.5


def counted(times):
    problem = Problem()
    counter = Counter(problem.gates)
    for _ in range(times):
        counter.count()
    return problem, counter


def test_what_is_written_changes_in_place_and_rides_with_the_model():
    problem, counter = counted(0)
    ledger = problem.gates.ledger
    assert set(ledger) == {"asked", "steps", "sum", "optional"} and torch.equal(ledger["asked"], ASKED)
    counter.count()
    assert int(ledger["steps"]) == 1 and ledger["sum"] is counter._sum
    state = problem.model.state_dict()
    assert {key for key in state if key.startswith("lzero.")} == {f"lzero.{name}" for name in ledger}


@pytest.mark.parametrize("early", [False, True])
def test_what_a_state_dict_brings_is_taken_at_the_next_step_and_by_the_next_one(early):
    state = counted(3)[0].model.state_dict()
    problem, counter = counted(1)
    problem.model.load_state_dict(state)
    if early:
        counter = Counter(problem.gates)
        assert int(counter._steps) == 3
    else:
        assert int(counter._steps) == 1 and problem.gates.ledger.waiting
    counter.count()
    assert int(counter._steps) == 4 and counter._sum.tolist() == [2, 2]
    assert not problem.gates.ledger.waiting and int(problem.gates.ledger["steps"]) == 4
    assert int(state["lzero.steps"]) == 3  # it was copied


def test_what_is_not_needed_may_be_missing_and_what_is_may_not():
    for name in ("optional", "sum"):
        state = counted(3)[0].model.state_dict()
        del state[f"lzero.{name}"]
        problem, counter = counted(1)
        problem.model.load_state_dict(state)
        if name == "optional":
            counter.count()
            assert int(counter._steps) == 4
            continue
        with pytest.raises(lzero.SolverError, match=r"^Counter: sum of the training's saved state are missing"):
            counter.count()
        assert int(counter._steps) == 1


def test_fresh_gates_and_fresh_trainings_begin_at_nothing_and_let_go_of_what_is_held():
    problem, _ = counted(3)
    problem.gates.hold(problem.gates.open_mask())
    with pytest.raises(lzero.SolverError, match=r"Counter: .* trained for 3 steps by a Solver \(x=1\)"):
        Counter(problem.gates, OTHER)
    assert problem.gates.held is not None
    assert int(Counter(problem.gates)._steps) == 3 and problem.gates.held is not None
    assert int(Counter(problem.gates, OTHER, fresh=True)._steps) == 0 and problem.gates.held is None
    assert int(problem.gates.ledger["steps"]) == 0
    Counter(problem.gates)  # nothing was trained: whatever may come


def test_only_the_last_one_built_holds_the_gates():
    problem, first = counted(2)
    second = Counter(problem.gates)
    with pytest.raises(lzero.SolverError, match=r"^Counter: another one was built on these gates since; step that one"):
        first.count()
    second.count()
    assert int(second._steps) == 3 and int(first._steps) == 2
    assert second._sum.tolist() == [1.5, 1.5] and first._sum.tolist() == [1, 1]


def test_it_follows_its_gates_to_another_precision_once():
    problem, counter = counted(1)
    counter.count()
    assert counter._moves == []
    problem.model.double()
    counter.count()
    counter.count()
    assert counter._moves == [("cpu", torch.float64)]


def test_a_settled_set_stays_noted_as_long_as_it_is_held():
    for held in (True, False):
        problem, _ = counted(2)
        problem.gates.ledger.note(settled=torch.tensor([0.25]))
        if held:
            problem.gates.hold(problem.gates.open_mask())
        Counter(problem.gates)
        assert ("settled" in problem.gates.ledger) == held


@pytest.mark.parametrize("way", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))], ids=["copy", "pickle"])
def test_a_copy_with_its_gates_goes_on_alone(way):
    problem, counter = counted(2)
    gates, twin = way((problem.gates, counter))
    assert twin.gates is gates is not problem.gates
    twin.count()
    assert int(gates.ledger["steps"]) == 3 and int(problem.gates.ledger["steps"]) == 2
    counter.count()
    assert int(problem.gates.ledger["steps"]) == 3


def test_a_copy_of_one_that_has_lost_its_gates_has_lost_them_too():
    problem, first = counted(2)
    Counter(problem.gates)
    with pytest.raises(lzero.SolverError, match="another one was built on these gates since"):
        copy.deepcopy(first).count()


def test_what_it_is_for_stays_as_it_is():
    _, counter = counted(0)
    with pytest.raises(lzero.SolverError, match=r"^Counter\.target: what a training is for stays as it is"):
        counter.target = 3
    counter._target = 3
