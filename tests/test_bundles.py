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


def test_a_group_with_a_step_opens_by_so_many_of_its_best():
    floor = PRIORITY >= 0.9
    bundles = Bundles(PRIORITY, floor, (), [(slice(0, 3), 2), (slice(4, 7), 3)])
    assert bundles.of.tolist() == [2, 0, 0, 3, 4, 4, 4] and not bundles.alone
    assert torch.allclose(bundles.priority, torch.tensor([0.1, 0.7, 0.7, 0.3, 1.7 / 3, 1.7 / 3, 1.7 / 3]))
    assert bundles.floor.tolist() == [False, True, True, False, False, False, False]
    assert bundles.next(~bundles.floor).tolist() == [True, False, False, True, True, True, True]


def test_a_family_with_a_step_opens_as_many_in_each_group():
    bundles = Bundles(PRIORITY, torch.zeros(7, dtype=torch.bool), [GROUPS], [(group, 2) for group in GROUPS])
    assert bundles.of.tolist() == [2, 0, 0, 3, 0, 2, 0]
    assert torch.allclose(bundles.priority, torch.tensor([0.15, 0.725, 0.725, 0.3, 0.725, 0.15, 0.725]))
    closed = torch.tensor([True, False, True, True, False, True, True])
    assert bundles.next(closed).tolist() == [False, False, True, True, False, False, True]


def test_behind_a_step_that_is_refused_come_those_of_the_same_group_alone():
    bundles = Bundles(torch.linspace(1, 0, 9), torch.zeros(9, dtype=torch.bool), (), [(slice(0, 6), 2)])
    refused = torch.zeros(9, dtype=torch.bool)
    refused[[2, 3, 7]] = True
    assert bundles.behind(refused).tolist() == [False, False, True, True, True, True, False, True, False]
    assert Bundles(PRIORITY, PRIORITY > 1, ()).behind(PRIORITY > 0.5).tolist() == (PRIORITY > 0.5).tolist()


def test_the_priority_of_a_later_step_is_no_higher_though_its_mean_is_rounded_up():
    rounded_up = 0
    for value in torch.rand(200, generator=torch.Generator().manual_seed(0)):
        priority = value.expand(10).clone()
        bundles = Bundles(priority, torch.zeros(10, dtype=torch.bool), (), [(slice(0, 10), 7)])
        rounded_up += int(priority[7:].sum() / 3 > priority[:7].sum() / 7)
        assert bundles.priority[:7].min() >= bundles.priority[7:].max()
    assert rounded_up


def test_what_is_open_in_any_case_does_not_lower_the_priority_of_what_follows():
    floor = torch.tensor([True, True, False, False, False, False])
    bundles = Bundles(torch.tensor([0.1, 0.2, 0.9, 0.8, 0.7, 0.6]), floor, (), [(slice(0, 6), 2)])
    assert torch.allclose(bundles.priority, torch.tensor([0.15, 0.15, 0.85, 0.85, 0.65, 0.65]))


def test_the_highest_is_that_of_the_bundle_of_each_gate():
    bundles = Bundles(PRIORITY, torch.zeros(7, dtype=torch.bool), [GROUPS])
    values = torch.tensor([0.5, 0.0, 2.0, 3.0, 4.0, 5.0, 1.0])
    assert bundles.highest(values).tolist() == [5.0, 4.0, 2.0, 3.0, 4.0, 5.0, 2.0]
