from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lzero.plan.group import GateGroup, Member
from lzero.plan.ownership import parameters_left
from lzero.proving.compare import difference
from lzero.proving.patterns import closures
from lzero.proving.proof import Proof
from lzero.proving.random_weights import randomise
from lzero.surgery.shrink import shrink


class Model(nn.Module):
    """Two hidden layers with something between them."""

    def __init__(
        self, first: Callable[[Tensor], Any] = torch.relu, second: Callable[[Tensor], Any] = torch.relu
    ) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 8), nn.Linear(8, 10), nn.Linear(10, 3)
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Any:
        return self.c(self.second(self.b(self.first(self.a(x)))))


def hidden(maker: str, reader: str, size: int) -> GateGroup:
    index = torch.arange(size)[:, None]
    members = (
        Member(f"{maker}.weight", 0, index, "producer"),
        Member(f"{maker}.bias", 0, index, "coupled"),
        Member(f"{reader}.weight", 1, index, "consumer"),
    )
    return GateGroup(maker, size, "unit", members)


A, B = hidden("a", "b", 8), hidden("b", "c", 10)
X = torch.randn(5, 4)


class TestAccept:
    def test_sound_groups(self) -> None:
        groups, refusals = Proof.of(Model(), X).accept([A, B])
        assert groups == [A, B]
        assert refusals == []

    @pytest.mark.parametrize(
        ("between", "reason"),
        [
            (lambda h: h / math.sqrt(h.shape[-1]), "purged and gated outputs differ by"),
            (lambda h: h - h.mean(-1, keepdim=True), "purged and gated outputs differ by"),
            (lambda h: h.view(-1, 10), "the purged model fails in"),
            (lambda h: h + torch.ones(10), "the purged model fails in its forward: RuntimeError"),
        ],
    )
    def test_culprit_is_found_among_sound_groups(self, between: Callable[[Tensor], Tensor], reason: str) -> None:
        groups, refusals = Proof.of(Model(second=between), X).accept([A, B])
        assert groups == [A]
        assert [r.name for r in refusals] == ["b"]
        assert reason in refusals[0].reason
        assert refusals[0].size == 10
        assert refusals[0].tensors == ("b.weight", "b.bias", "c.weight")

    def test_given_groups_stay_and_are_not_returned_twice(self) -> None:
        groups, refusals = Proof.of(Model(), X).accept([B], [A])
        assert groups == [A, B]
        assert not refusals

    def test_incomplete_group(self) -> None:
        half = GateGroup("a", 8, "unit", A.members[1:])
        groups, refusals = Proof.of(Model(), X).accept([half, B])
        assert groups == [B]
        assert "the purged model fails in a" in refusals[0].reason

    def test_trained_zeros_hide_nothing(self) -> None:
        model = Model(first=lambda h: h / h.shape[-1])
        for tensor in model.parameters():
            nn.init.zeros_(tensor)
        assert Proof.of(model, X).accept([A, B])[0] == [B]

    def test_output_that_does_not_depend_on_a_group_proves_nothing(self) -> None:
        model = Model(second=lambda h: torch.relu(h) * 0)
        groups, refusals = Proof.of(model, X).accept([A, B])
        assert not groups
        assert {r.reason for r in refusals} == {"closing it changes no output, so that nothing can be proved"}

    @pytest.mark.parametrize("size", range(2, 8))
    @pytest.mark.parametrize("seed", range(5))
    def test_a_small_layer_whose_units_happen_to_be_dead(self, size: int, seed: int) -> None:
        model = nn.Sequential(nn.Linear(4, size), nn.ReLU(), nn.Linear(size, 3), nn.ReLU(), nn.Linear(3, 2))
        groups = [hidden("0", "2", size), hidden("2", "4", 3)]
        assert Proof.of(model, torch.zeros(1, 4), seed).accept(groups)[0] == groups

    @pytest.mark.parametrize("seed", range(5))
    def test_a_rarely_living_layer_that_no_gradient_reaches(self, seed: int) -> None:
        model = Model(first=lambda h: torch.relu(h - 2).detach())
        assert Proof.of(model, torch.zeros(1, 4), seed).accept([A, B])[0] == [A, B]

    @pytest.mark.parametrize("seed", range(5))
    def test_a_dead_layer_is_woken_before_it_is_believed(self, seed: int) -> None:
        model = Model(first=lambda h: torch.relu(h - 2) / h.shape[-1])
        assert Proof.of(model, torch.zeros(1, 4), seed).accept([A, B])[0] == [B]

    def test_forward_without_gradients_is_compared_by_value(self) -> None:
        assert Proof.of(Model(first=lambda h: torch.relu(h).detach()), X).accept([A, B])[0] == [A, B]

    def test_model_that_never_runs_on_random_weights(self) -> None:
        model = Model(first=lambda h: h * math.nan)
        groups, refusals = Proof.of(model, X).accept([A])
        assert not groups
        assert "nothing can be proved: with random weights and inputs, its outputs are NaN" in refusals[0].reason

    def test_inputs_are_taken_as_given_where_random_ones_fail(self) -> None:
        model = Model(first=lambda h: h)
        model.register_forward_pre_hook(lambda module, args: (args[0].log(),))
        assert Proof.of(model, X.abs() + 1).accept([A, B])[0] == [A, B]

    def test_hooks_and_weights_of_the_model_stay(self) -> None:
        model = Model()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        Proof.of(model, X).accept([A, B])
        assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
        assert all(p.requires_grad and p.grad is None for p in model.parameters())
        assert not model._forward_hooks and not model.a._forward_pre_hooks


class TestClosures:
    def test_every_group_is_closed_unevenly_and_never_whole(self) -> None:
        groups = [hidden("a", "b", 8), hidden("b", "c", 30), hidden("c", "d", 2)]
        patterns = list(closures(groups, torch.Generator().manual_seed(0)))
        for group in groups:
            opens = [int((pattern[group.name] > 0).sum()) for pattern in patterns]
            assert all(1 <= kept < group.size for kept in opens[:3])
            if group.size > 2:
                assert {kept % 2 for kept in opens[:3]} == {0, 1}
            z = torch.cat([pattern[group.name] for pattern in patterns])
            assert z[z > 0].min() > 0.1 and z.max() < 1 and z[z > 0].unique().numel() > 1

    def test_every_group_is_left_with_one_unit_and_a_small_one_with_every_number(self) -> None:
        groups = [hidden(f"g{size}", "r", size) for size in (*range(2, 12), 50)]
        patterns = list(closures(groups, torch.Generator().manual_seed(0)))
        for group in groups:
            opens = {int((pattern[group.name] > 0).sum()) for pattern in patterns}
            assert 1 in opens
            assert group.size >= 8 or opens >= set(range(1, group.size))

    def test_no_two_small_groups_always_lose_alike(self) -> None:
        groups = [hidden(f"g{i}", "r", 2) for i in range(9)]
        patterns = list(closures(groups, torch.Generator().manual_seed(0)))
        lost = {tuple(int((p[g.name] == 0).sum()) for p in patterns) for g in groups}
        assert len(lost) == len(groups)


class TestCounting:
    def test_prediction_equals_the_purged_model(self) -> None:
        model = Model()
        keep = {"a": torch.arange(8) % 3 > 0, "b": torch.arange(10) < 7}
        expected = parameters_left([A, B], keep, {name: p.shape for name, p in model.named_parameters()})
        assert expected == (4 * 5 + 5) + (5 * 7 + 7) + (7 * 3 + 3)
        shrink(model, [A, B], keep)
        assert sum(p.numel() for p in model.parameters()) == expected


class TestRelativeDifference:
    def test_is_relative_to_what_differs(self) -> None:
        for constant in (100.0, -1e30, math.inf):
            one, two = torch.tensor([1.0, 4.0, constant]), torch.tensor([1.0, 5.0, constant])
            assert difference([one], [two]).relative == pytest.approx(0.25)
        one, two = torch.tensor([1e-9, 2.0, 4.0]), torch.tensor([2e-9, 2.0 + 1e-5, 4.0 + 1e-5])
        assert difference([one], [two]).relative == pytest.approx(5e-6, rel=0.05)  # 1e-9 of the median

    def test_rounding_about_zero_is_no_difference(self) -> None:
        one, two = torch.tensor([1e-17, 3.0], dtype=torch.float64), torch.tensor([0.0, 3.0], dtype=torch.float64)
        assert difference([one], [two]).relative < 1e-9

    @pytest.mark.parametrize(
        ("a", "b"),
        [
            ([torch.ones(2)], [torch.ones(3)]),
            ([torch.ones(2)], []),
            ([torch.ones(2)], [torch.tensor([1.0, math.nan])]),
            ([torch.tensor([1])], [torch.tensor([2])]),
            ([torch.tensor([math.inf, 1.0])], [torch.tensor([1.0, 1.0])]),
        ],
    )
    def test_what_does_not_match_is_infinitely_far(self, a: list[Tensor], b: list[Tensor]) -> None:
        assert difference(a, b).relative == math.inf

    def test_equal_infinities_match(self) -> None:
        masked = torch.tensor([-math.inf, 2.0])
        assert difference([masked, torch.tensor([3])], [masked.clone(), torch.tensor([3])]).relative == 0.0


def test_randomise_leaves_no_value_and_keeps_variances_positive() -> None:
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4))
    mask = torch.tensor([0.0, -math.inf])
    model.register_buffer("mask", mask.clone())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    randomise(model, torch.Generator().manual_seed(0))
    after = model.state_dict()
    changed = {name for name in before if not (before[name] == after[name]).any()}
    assert changed == set(before) - {"mask", "1.num_batches_tracked"}
    assert torch.equal(after["mask"], mask)
    assert (after["1.running_var"] > 0).all()
