"""What a training keeps with its gates: who holds them, what waits for the holder, and what is refused."""

import copy

import pytest
import torch

from lzero.errors import SolverError
from lzero.gates.ledger import Ledger

ONE, OTHER = (torch.tensor(list(text), dtype=torch.uint8) for text in (b"10 %", b"30 %"))


def ledger(asked=None, held=True):
    made = Ledger()
    if held:
        made.adopt()
    if asked is not None:
        made.write(asked=asked)
    return made


def test_a_state_of_the_same_training_and_one_that_nobody_waits_for_are_taken():
    ledger(ONE).check({"asked": ONE, "held": torch.ones(4)}, 4)
    ledger(OTHER, held=False).check({"asked": ONE}, 4)
    ledger().check({"asked": ONE}, 4)
    ledger(ONE).check({}, 4)


@pytest.mark.parametrize("state", [{"held": torch.ones(3)}, {"held": torch.ones(4, 1)}, {"steps": 3}, {"held": "open"}])
def test_a_state_of_other_gates_or_without_tensors_is_refused(state):
    with pytest.raises(SolverError, match=rf"{next(iter(state))} is not as it was saved; load the state dict"):
        ledger().check(state, 4)


def test_a_state_of_another_training_is_refused_with_both():
    with pytest.raises(
        SolverError, match=r"trained for 30 %, these are trained for 10 %; build the Solver .* fresh=True"
    ):
        ledger(ONE).check({"asked": OTHER}, 4)


def test_what_was_brought_waits_as_a_copy_and_notes_are_made_where_one_looks():
    made, steps = ledger(ONE), torch.ones(1)
    made.note(settled=torch.zeros(2))
    assert set(made) == set(made.latest) == {"asked", "settled"} and not made.waiting
    made.bring({"steps": steps})
    steps.zero_()
    assert made.waiting and made.loads == 1 and int(made.latest["steps"]) == 1
    assert set(made) == {"asked", "settled"} and set(made.latest) == {"steps"}
    made.note(settled=torch.ones(2))
    assert bool(made.latest["settled"].all()) and not bool(made["settled"].any())
    made.bring({})
    assert set(made.latest) == {"steps", "settled"} and made.loads == 2
    made.begin()
    assert not made and not made.waiting


def test_the_last_holder_holds_and_nobody_holds_a_copy():
    made = Ledger()
    first = made.adopt()
    second = made.adopt()
    assert made.is_held_by(second) and not made.is_held_by(first)
    made.write(steps=torch.ones(1))
    twin = copy.deepcopy(made)
    assert twin.is_held_by(None) and not twin.is_held_by(second) and made.is_held_by(second)
    assert torch.equal(twin["steps"], made["steps"]) and twin["steps"] is not made["steps"]


def test_a_state_of_another_stage_of_the_same_course_is_taken_and_one_of_another_is_not():
    made = ledger(ONE)
    made.write(course=torch.tensor([1]))
    made.check({"asked": OTHER, "course": torch.tensor([1])}, 4)
    with pytest.raises(SolverError, match="the saved gates were trained for"):
        made.check({"asked": ONE, "course": torch.tensor([2])}, 4)
    with pytest.raises(SolverError, match="the saved gates were trained for"):
        made.check({"asked": ONE}, 4)
