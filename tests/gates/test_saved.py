"""Saved states of a training are looked at before anything takes them in."""

import pytest
import torch

from lzero.errors import SolverError
from lzero.gates.saved import check_saved

ONE, OTHER = (torch.tensor(list(text), dtype=torch.uint8) for text in (b"10 %", b"30 %"))


def test_a_state_of_the_same_training_and_one_that_nobody_waits_for_are_taken():
    check_saved({"asked": ONE, "held": torch.ones(4)}, 4, ONE)
    check_saved({"asked": ONE}, 4, None)
    check_saved({}, 4, ONE)


@pytest.mark.parametrize("state", [{"held": torch.ones(3)}, {"held": torch.ones(4, 1)}, {"steps": 3}, {"held": "open"}])
def test_a_state_of_other_gates_or_without_tensors_is_refused(state):
    with pytest.raises(SolverError, match=rf"{next(iter(state))} is not as it was saved; load the state dict"):
        check_saved(state, 4, None)


def test_a_state_of_another_training_is_refused_with_both():
    with pytest.raises(
        SolverError, match=r"trained for 30 %, these are trained for 10 %; build the Solver .* fresh=True"
    ):
        check_saved({"asked": OTHER}, 4, ONE)
