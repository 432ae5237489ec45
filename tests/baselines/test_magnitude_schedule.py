"""When magnitude pruning updates its mask, and to which target."""

import pytest
import torch
from baselines.problem import Problem
from plans import mlp

import lzero


def test_targets_fall_by_the_cube_between_begin_and_end():
    problem = Problem(lambda: mlp((20, 30, 20, 3)))
    trainer = problem.trainer(0.3, total_steps=100, begin=0.1, end=0.6, every=20)
    targets, masks = [trainer.metrics()["annealed_target"]], [problem.gates.open_mask()]
    for _ in range(100):
        problem.train(trainer, 1)
        row = trainer.metrics()
        targets.append(row["annealed_target"])
        masks.append(problem.gates.open_mask())
        assert row["deployed"] == row["expected"] <= row["annealed_target"]
    first, last = 10, 60
    for step in range(100):  # what holds after the update of this step
        latest = -1 if step < first else last if step >= last else first + (step - first) // 20 * 20
        t = 0.0 if latest < 0 else (latest - first) / (last - first)
        assert targets[step + 1] == pytest.approx(0.3 + 0.7 * (1 - t) ** 3, rel=1e-12), step
        if step not in (10, 30, 50, 60):
            assert torch.equal(masks[step], masks[step + 1]), step
    assert targets[0] == 1.0 and targets[-1] == 0.3 == trainer.metrics()["target"]
    assert not torch.equal(masks[30], masks[31]) and not torch.equal(masks[60], masks[61])
    assert 0 <= 0.3 - lzero.purge(problem.model).certificate.deployed["params"] < 0.05


def test_one_shot_happens_at_begin():
    for begin, step in ((0.0, 0), (0.35, 7), (None, 10), (1.0, 19)):
        problem = Problem()
        trainer = problem.trainer(0.5, total_steps=20, schedule="one-shot", begin=begin)
        closed = []
        for _ in range(20):
            problem.train(trainer, 1)
            closed.append(not problem.gates.open_mask().all())
        assert closed == [position >= step for position in range(20)]


def test_an_end_at_the_end_is_the_last_step():
    problem = Problem()
    trainer = problem.trainer(0.5, begin=0.5, end=1.0, every=3)
    problem.train(trainer, 10)
    assert trainer.metrics()["annealed_target"] == 0.5 and trainer.metrics()["deployed"] <= 0.5


def test_a_closed_unit_may_come_back_at_a_later_update_but_not_after_the_last():
    problem = Problem(lambda: mlp(input_gates=False))
    trainer = problem.trainer(0.5, end=0.3, every=1)
    problem.train(trainer, 3)
    gate = int((~problem.gates.open_mask()).nonzero()[0])
    name = "fc1" if gate < 4 else "fc2"
    position = gate - problem.gates.slices[name].start
    with torch.no_grad():
        getattr(problem.model, "fc2" if name == "fc1" else "fc3").parametrizations.weight.original[:, position] = 50.0
    problem.train(trainer, 1)  # the last update
    assert problem.gates.open_mask()[gate]
    with torch.no_grad():
        getattr(problem.model, "fc2" if name == "fc1" else "fc3").parametrizations.weight.original[:, position] = 0.0
    problem.train(trainer, 6)
    assert problem.gates.open_mask()[gate]
