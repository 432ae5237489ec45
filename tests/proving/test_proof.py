"""Which groups hold: all at once, and where that fails by halves, down to the culprits."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from proving.chains import A, B, Model, X, hidden, proof_of
from torch import Tensor, nn

from lzero.plan.group import GateGroup
from lzero.plan.refusal import Reason
from lzero.proving import proof
from lzero.proving.proof import _parts
from lzero.proving.trial import Failure


class TestAccept:
    def test_sound_groups(self) -> None:
        groups, refusals = proof_of(Model(), X).accept([A, B])
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
        groups, refusals = proof_of(Model(second=between), X).accept([A, B])
        assert groups == [A]
        assert [r.name for r in refusals] == ["b"]
        assert reason in refusals[0].reason
        assert refusals[0].size == 10
        assert refusals[0].tensors == ("b.weight", "b.bias", "c.weight")

    def test_given_groups_stay_and_are_not_returned_twice(self) -> None:
        groups, refusals = proof_of(Model(), X).accept([B], [A])
        assert groups == [A, B]
        assert not refusals

    def test_incomplete_group(self) -> None:
        half = GateGroup("a", 8, "unit", A.members[1:])
        groups, refusals = proof_of(Model(), X).accept([half, B])
        assert groups == [B]
        assert "the purged model fails in a" in refusals[0].reason

    def test_trained_zeros_hide_nothing(self) -> None:
        model = Model(first=lambda h: h / h.shape[-1])
        for tensor in model.parameters():
            nn.init.zeros_(tensor)
        assert proof_of(model, X).accept([A, B])[0] == [B]

    def test_what_no_draw_shows_is_given_up_after_a_few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        trial = proof_of(Model(second=lambda h: torch.relu(h) * 0), X)
        draws = list[int]()
        monkeypatch.setattr(trial._model, "redraw", lambda draw: draws.append(draw) or True)  # type: ignore[func-returns-value]
        _, refusals = trial.accept([B])
        assert draws == [1, 2, 3]
        assert [r.name for r in refusals] == ["b"] and "closing it changes no output" in refusals[0].reason

    def test_output_that_does_not_depend_on_a_group_proves_nothing(self) -> None:
        model = Model(second=lambda h: torch.relu(h) * 0)
        groups, refusals = proof_of(model, X).accept([A, B])
        assert not groups
        assert {r.reason for r in refusals} == {"closing it changes no output, so that nothing can be proved"}

    @pytest.mark.parametrize("size", range(2, 8))
    @pytest.mark.parametrize("seed", range(5))
    def test_a_small_layer_whose_units_happen_to_be_dead(self, size: int, seed: int) -> None:
        model = nn.Sequential(nn.Linear(4, size), nn.ReLU(), nn.Linear(size, 3), nn.ReLU(), nn.Linear(3, 2))
        groups = [hidden("0", "2", size), hidden("2", "4", 3)]
        assert proof_of(model, torch.zeros(1, 4), seed).accept(groups)[0] == groups

    @pytest.mark.parametrize("seed", range(5))
    def test_a_rarely_living_layer_that_no_gradient_reaches(self, seed: int) -> None:
        model = Model(first=lambda h: torch.relu(h - 2).detach())
        assert proof_of(model, torch.zeros(1, 4), seed).accept([A, B])[0] == [A, B]

    @pytest.mark.parametrize("seed", range(5))
    def test_a_dead_layer_is_woken_before_it_is_believed(self, seed: int) -> None:
        model = Model(first=lambda h: torch.relu(h - 2) / h.shape[-1])
        assert proof_of(model, torch.zeros(1, 4), seed).accept([A, B])[0] == [B]

    def test_forward_without_gradients_is_compared_by_value(self) -> None:
        assert proof_of(Model(first=lambda h: torch.relu(h).detach()), X).accept([A, B])[0] == [A, B]

    def test_model_that_never_runs_on_random_weights(self) -> None:
        model = Model(first=lambda h: h * math.nan)
        groups, refusals = proof_of(model, X).accept([A])
        assert not groups
        assert "nothing can be proved: with random weights and inputs, its outputs are NaN" in refusals[0].reason

    def test_inputs_are_taken_as_given_where_random_ones_fail(self) -> None:
        model = Model(first=lambda h: h)
        model.register_forward_pre_hook(lambda module, args: (args[0].log(),))
        assert proof_of(model, X.abs() + 1).accept([A, B])[0] == [A, B]

    def test_hooks_and_weights_of_the_model_stay(self) -> None:
        model = Model()
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        proof_of(model, X).accept([A, B])
        assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
        assert all(p.requires_grad and p.grad is None for p in model.parameters())
        assert not model._forward_hooks and not model.a._forward_pre_hooks


class Row(nn.Module):
    """Many pairs of layers in one forward, every other one with a size of its own written down."""

    def __init__(self, pairs: int) -> None:
        super().__init__()
        self.up = nn.ModuleList(nn.Linear(4, 6) for _ in range(pairs))
        self.down = nn.ModuleList(nn.Linear(6, 4) for _ in range(pairs))

    def forward(self, x: Tensor) -> Tensor:
        for number, (up, down) in enumerate(zip(self.up, self.down, strict=True)):
            h = up(x).relu()
            x = x + down(h if number % 2 else h.reshape(-1, 6))
        return x


def forwards(monkeypatch: pytest.MonkeyPatch, several: int) -> int:
    """How many forwards the proof of a row with culprits takes, where so many of them make more likely."""
    torch.manual_seed(0)
    pairs, taken = 16, 0
    made = proof_of(Row(pairs), X)
    plain = made._model.outputs

    def counted(model: nn.Module) -> list[Tensor]:
        nonlocal taken
        taken += 1
        return plain(model)

    monkeypatch.setattr(made._model, "outputs", counted)
    monkeypatch.setattr(proof, "_SEVERAL", several)
    groups = [hidden(f"up.{i}", f"down.{i}", 6) for i in range(pairs)]
    accepted, refusals = made.accept(groups)
    assert accepted == groups[1::2] and [r.name for r in refusals] == [g.name for g in groups[::2]]
    assert made.raised == {group.name for group in groups[::2]}
    return taken


def test_many_culprits_are_found_in_few_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    assert forwards(monkeypatch, 2) < 0.85 * forwards(monkeypatch, 99)


def test_what_raises_in_a_module_is_looked_for_beside_it() -> None:
    made = _parts(
        [hidden(f"a.up.{i}", f"a.down.{i}", 6) for i in range(2)] + [hidden("b.a", "b.b", 8)] * 2,
        Failure(Reason("", ""), path="b.b"),
    )
    assert [[group.name for group in part] for part in made] == [["a.up.0", "a.up.1"], ["b.a", "b.a"]]


def test_what_the_outputs_tell_of_is_tried_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight layers, four of which are returned: their lengths say so."""

    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(4 if not i else 9 + i, 10 + i) for i in range(9))

        def forward(self, x: Tensor) -> list[Tensor]:
            states = [x]
            for layer in self.layers:
                states.append(layer(states[-1]).tanh())
            return [states[2], states[4], states[5], states[7], states[-1]]

    groups = [hidden(f"layers.{i}", f"layers.{i + 1}", 10 + i) for i in range(8)]
    trials, tried = proof.why_not_exact, list[int]()
    monkeypatch.setattr(proof, "why_not_exact", lambda *args, **more: tried.append(1) or trials(*args, **more))
    held, refusals = proof_of(Deep(), X).accept(groups)
    assert [group.name for group in held] == [f"layers.{i}" for i in (0, 2, 5, 7)]
    assert all("gives outputs of shapes" in refusal.reason for refusal in refusals)
    assert len(tried) == 6  # all, the four one by one, and the others
