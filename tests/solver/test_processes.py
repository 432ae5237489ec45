"""The processes of a training: one alone does nothing, and several have one mean and one state."""

import pytest
import torch
from solver.problem import Problem
from solver.resuming import solver
from torch import distributed

import lzero
from lzero.solver.processes import Processes


class Group:
    """What ``torch.distributed`` would do with several processes, of which the first has ``state``."""

    def __init__(self, monkeypatch, size, log_alpha=None, state=None):
        self.calls, self.log_alpha, self.state = [], log_alpha, state
        monkeypatch.setattr(distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(distributed, "get_world_size", lambda group: size)
        monkeypatch.setattr(distributed, "get_global_rank", lambda group, rank: 10 * group + rank)
        monkeypatch.setattr(distributed, "all_reduce", self.all_reduce)
        monkeypatch.setattr(distributed, "broadcast", self.broadcast)
        monkeypatch.setattr(distributed, "broadcast_object_list", self.broadcast_objects)

    def all_reduce(self, tensor, group):
        self.calls.append(("all_reduce", group))
        tensor.mul_(5.0)  # as if the others' were four times as large together

    def broadcast(self, tensor, source, group):
        self.calls.append(("broadcast", source, group))
        if self.log_alpha is not None:
            tensor.copy_(self.log_alpha)

    def broadcast_objects(self, sent, source, group):
        self.calls.append(("objects", source, group))
        if self.state is not None:
            sent[0] = self.state


@pytest.fixture
def never(monkeypatch):
    def fail(*_args, **_named):
        raise AssertionError("asked the others, of which there are none")

    for name in ("all_reduce", "broadcast", "broadcast_object_list"):
        monkeypatch.setattr(distributed, name, fail)


@pytest.mark.usefixtures("never")
@pytest.mark.parametrize("way", ["not available", "not initialised", "one"])
def test_a_single_process_asks_nobody(way, monkeypatch):
    if way == "not available":
        monkeypatch.setattr(distributed, "is_available", lambda: False)
    if way == "one":
        monkeypatch.setattr(distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(distributed, "get_world_size", lambda group: 1)
    processes, gates, gradient = Processes(), Problem().gates, torch.tensor([1.0, 2.0])
    log_alpha = gates.log_alpha.detach().clone()
    assert len(processes) == 1
    processes.average(gradient)
    assert gradient.tolist() == [1, 2] and not processes.agree(gates)
    assert torch.equal(gates.log_alpha, log_alpha) and not gates.ledger.waiting


def test_a_gradient_becomes_the_mean_in_place(monkeypatch):
    group, gradient = Group(monkeypatch, 2), torch.tensor([2.0, -4.0])
    Processes(7).average(gradient)
    assert gradient.tolist() == [5, -10] and group.calls == [("all_reduce", 7)]


@pytest.mark.parametrize(("given", "source"), [(None, 0), (3, 30)])
def test_gates_that_agree_are_asked_for_once_and_after_every_load(given, source, monkeypatch):
    group, processes, problem = Group(monkeypatch, 2), Processes(given), Problem()
    for _ in range(3):
        assert not processes.agree(problem.gates)
    assert group.calls == [("broadcast", source, given), ("objects", source, given)]
    problem.model.load_state_dict(problem.model.state_dict())
    assert not processes.agree(problem.gates) and len(group.calls) == 4
    assert not processes.agree(problem.gates) and len(group.calls) == 4


def test_other_gates_and_another_state_are_those_of_the_first_process(monkeypatch):
    first, other = Problem(), Problem()
    first.train(solver(first), 3)
    solver(other)
    state = {name: tensor.clone() for name, tensor in first.gates.training_state().items()}
    log_alpha = other.gates.log_alpha
    Group(monkeypatch, 2, first.gates.log_alpha.detach(), state)
    processes = Processes()
    assert processes.agree(other.gates)
    assert other.gates.log_alpha is log_alpha and torch.equal(log_alpha, first.gates.log_alpha)
    assert other.gates.ledger.waiting and int(other.gates.ledger.latest["steps"][0]) == 3
    assert not processes.agree(other.gates)  # what it has brought itself is no load


def test_the_sum_over_the_processes_is_divided_by_their_number(monkeypatch):
    problem = Problem(dtype=torch.float64)
    penalty = lzero.Penalty(problem.gates, 0.0, optimizer=problem.kept)
    problem.backward()
    alone, called = problem.gates.log_alpha.grad.clone(), []
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda group: 2)
    monkeypatch.setattr(distributed, "broadcast", lambda tensor, source, group: called.append((tensor, source)))
    monkeypatch.setattr(distributed, "broadcast_object_list", lambda sent, source, group: None)
    monkeypatch.setattr(distributed, "all_reduce", lambda tensor, group: tensor.add_(3 * alone))
    penalty.step()
    assert alone.any() and torch.equal(problem.kept.gradient, 2 * alone)
    problem.backward()
    penalty.step()
    assert len(called) == 1 and called[0][0].data_ptr() == problem.gates.log_alpha.data_ptr()
