"""Gates that open together: the j-th best of every group alike, with what is open in any case before the others."""

import torch

from lzero.bundles import Bundles

PRIORITY = torch.tensor([0.1, 0.9, 0.5, 0.3, 0.8, 0.2, 0.7])
GROUPS = (slice(0, 3), slice(4, 7))  # gate 3 stands alone


def test_without_families_every_gate_is_alone():
    bundles = Bundles(PRIORITY, PRIORITY > 0.7, ())
    assert bundles.of.tolist() == list(range(7)) and torch.equal(bundles.priority, PRIORITY)
    assert torch.equal(bundles.floor, PRIORITY > 0.7) and bundles.ends(torch.tensor([3, 0, 5])) == [1, 2, 3]


def test_the_best_of_every_group_are_one_bundle_and_so_on():
    floor = torch.tensor([False, True, False, False, True, False, False])
    bundles = Bundles(PRIORITY, floor, [GROUPS])
    assert bundles.of.tolist() == [2, 0, 1, 3, 0, 2, 1]
    assert torch.allclose(bundles.priority, torch.tensor([0.15, 0.85, 0.6, 0.3, 0.85, 0.15, 0.6]))
    assert bundles.floor.tolist() == [False, True, False, False, True, False, False]
    assert bundles.ends(torch.tensor([1, 4, 2, 6, 3, 0, 5])) == [2, 4, 5, 7]


def test_what_is_open_in_any_case_comes_first_and_opens_its_bundle():
    floor = torch.tensor([True, True, False, False, True, False, False])  # gate 0 owns something that must live
    bundles = Bundles(PRIORITY, floor, [GROUPS])
    assert bundles.of.tolist() == [1, 0, 2, 3, 0, 2, 1]
    assert bundles.floor.tolist() == [True, True, False, False, True, False, True]


def test_sums_are_those_of_the_bundle_of_each_gate():
    bundles = Bundles(PRIORITY, torch.zeros(7, dtype=torch.bool), [GROUPS])
    assert bundles.sums(torch.arange(7.0)).tolist() == [5.0, 5.0, 8.0, 3.0, 5.0, 5.0, 8.0]


def test_the_highest_is_that_of_the_bundle_of_each_gate():
    bundles = Bundles(PRIORITY, torch.zeros(7, dtype=torch.bool), [GROUPS])
    values = torch.tensor([0.5, 0.0, 2.0, 3.0, 4.0, 5.0, 1.0])
    assert bundles.highest(values).tolist() == [5.0, 4.0, 2.0, 3.0, 4.0, 5.0, 2.0]
