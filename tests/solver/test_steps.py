"""Counting steps: what was taken and skipped, one look every so many, and going on from tensors."""

import pytest
import torch

from lzero.errors import NonFiniteError
from lzero.solver.steps import PATIENCE, Steps

CPU = torch.device("cpu")


def walk(steps, finite):
    for each in finite:
        skip = steps.skip_unless(torch.tensor(each))
        assert bool(skip) != each
        steps.take()
        steps.look()


def test_what_is_skipped_on_the_device_and_on_the_host_is_counted_alike():
    steps = Steps(CPU)
    walk(steps, [True, False, True])
    steps.skip()
    steps.take()
    assert (steps.taken, steps.skipped) == (4, 2)
    tensors = steps.tensors()
    walk(steps, [False])
    assert (int(tensors["steps"]), int(tensors["skipped"])) == (5, 3)  # they change in place


def test_as_many_skips_in_a_row_as_it_has_patience_are_an_error_and_one_less_is_none():
    steps = Steps(CPU)
    walk(steps, [False] * (PATIENCE - 1) + [True])
    with pytest.raises(NonFiniteError, match=f"any of the last {PATIENCE} steps, up to step {2 * PATIENCE}; they were"):
        walk(steps, [False] * PATIENCE)
    assert steps.taken == 2 * PATIENCE


def test_it_goes_on_from_its_tensors():
    one, two = Steps(CPU), Steps(CPU)
    walk(one, [True, False, True, False])
    two.restore({name: tensor.clone() for name, tensor in one.tensors().items()})
    assert (two.taken, two.skipped) == (4, 2)
    walk(two, [True] * (PATIENCE - 4))  # skips of before it was restored are no skips in a row
    walk(one, [True])
    assert (one.taken, two.taken) == (5, PATIENCE)
