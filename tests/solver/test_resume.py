"""A hundred steps and a hundred more are two hundred to the bit, from the state dicts of model and optimizer alone."""

import pytest
import torch
from solver.problem import Problem, equal
from solver.resuming import CASES, by_safetensors, by_torch, fresh, solver


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
