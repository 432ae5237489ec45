"""One trial: gated against purged, and what was counted against what is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from plans import CASES
from proving.chains import A, B, Model, X, hidden
from torch import Tensor, nn

from lzero.host.copies import private_copy
from lzero.host.inputs import ExampleInputs
from lzero.plan.group import GateGroup
from lzero.plan.ownership import parameters_left
from lzero.proving import trial
from lzero.proving.patterns import closures
from lzero.proving.random_model import RandomModel
from lzero.proving.trial import why_not_exact
from lzero.surgery.shrink import shrink


def shapes_of(model: nn.Module) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in model.named_parameters()}


class TestCounting:
    def test_prediction_equals_the_purged_model(self) -> None:
        model = Model()
        keep = {"a": torch.arange(8) % 3 > 0, "b": torch.arange(10) < 7}
        expected = parameters_left([A, B], keep, shapes_of(model))
        assert expected == (4 * 5 + 5) + (5 * 7 + 7) + (7 * 3 + 3)
        shrink(model, [A, B], keep)
        assert sum(p.numel() for p in model.parameters()) == expected

    @pytest.mark.parametrize("seed", range(3))
    @pytest.mark.parametrize("name", CASES)
    def test_of_every_kind_of_plan(self, name: str, seed: int) -> None:
        model, plan = CASES[name]()
        generator = torch.Generator().manual_seed(seed)
        keep = {}
        for group in plan.groups:
            keep[group.name] = torch.rand(group.size, generator=generator) < 0.6
            keep[group.name][int(torch.randint(group.size, (), generator=generator))] = True
        expected = parameters_left(plan.groups, keep, shapes_of(model))
        shrink(model, plan.groups, keep)
        assert sum(parameter.numel() for parameter in model.parameters()) == expected

    def test_without_a_closure_it_is_the_whole_model(self) -> None:
        keep = {"a": torch.ones(8, dtype=torch.bool)}
        assert parameters_left([A], keep, shapes_of(Model())) == sum(p.numel() for p in Model().parameters())


def random_model(model: nn.Module, **options: bool) -> RandomModel:
    return RandomModel(private_copy(model), ExampleInputs(X), **options)


FAULTS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "a number of its size": (lambda h: h / h.shape[-1], "purged and gated outputs differ by"),
    "a mixture": (lambda h: h - h.mean(-1, keepdim=True), "purged and gated outputs differ by"),
    "a literal size": (lambda h: h.view(-1, 10), "the purged model fails in"),
    "a literal size that broadcasts": (lambda h: h + torch.ones(10), "the purged model fails in"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_and_their_words(fault: str) -> None:
    between, words = FAULTS[fault]
    model = random_model(Model(second=between))
    assert why_not_exact(model, [A]) is None
    failure = why_not_exact(model, [A, B])
    assert failure is not None and words in failure.reason.text


def test_a_sound_model_passes_every_pattern() -> None:
    assert why_not_exact(random_model(Model()), [A, B]) is None


def test_a_gated_model_that_fails_is_told_from_a_purged_one() -> None:
    def careful(h: Tensor) -> Tensor:
        if bool((h == 0).all(0).any()):
            raise ValueError("dead unit")
        return h

    model = Model(second=lambda h: careful(h * (h.abs() > 1e-12)))
    nothing = GateGroup("a", 8, "unit", (*A.members[:2], *hidden("a", "b", 8).consumers))
    assert why_not_exact(random_model(model), [nothing]) is None  # units of b depend on several of a
    rows = GateGroup("b", 10, "unit", tuple(  # multiplies what makes the unit, which then is dead
        type(m)(m.tensor, m.dim, m.index, "consumer" if m.role != "consumer" else "coupled") for m in B.members
    ))  # fmt: skip
    failure = why_not_exact(random_model(model), [rows])
    assert failure is not None and failure.reason.text.startswith(
        "the gated model fails in its forward: ValueError: dead unit"
    )


def test_members_that_are_counted_and_not_there_to_cut() -> None:
    group = GateGroup("b", 10, "unit", B.members[:1] + B.members[2:])  # the bias is forgotten
    failure = why_not_exact(random_model(Model()), [group])
    assert failure is not None and "the purged model fails in b" in failure.reason.text
    assert failure.raised and failure.path == "b"


def island(h: Tensor, between: Callable[[Tensor], Tensor] = lambda h: h) -> Tensor:
    """What attention does that computes its scores in float32 whatever the model's dtype."""
    return h * (between(h.float() * 10).exp() / 1e4).tanh().to(h.dtype)


def test_casts_are_no_failure_and_hide_none() -> None:
    model = random_model(Model(second=island))
    assert model.coarse == 1e-4 and why_not_exact(model, [A, B]) is None
    for wrong in (lambda h: h - 1e-6 * h.mean(-1, keepdim=True), lambda h: h + 1e-7 * h.shape[-1]):  # below float32
        failure = why_not_exact(random_model(Model(second=lambda h, wrong=wrong: island(h, wrong))), [B])
        assert failure is not None and "purged and gated outputs differ by" in failure.reason.text


def test_a_way_that_only_casts_open_is_tried_too() -> None:
    def by_dtype(h: Tensor) -> Tensor:
        low = h.float()
        return (low / low.shape[-1] if low.dtype is torch.float32 else low).to(h.dtype)

    failure = why_not_exact(random_model(Model(second=by_dtype)), [B])
    assert failure is not None and "purged and gated outputs differ by" in failure.reason.text


def test_what_is_not_finite_is_told_from_what_differs() -> None:
    makers = [type(m)(m.tensor, m.dim, m.index, "coupled" if m.role == "consumer" else "consumer") for m in B.members]
    model = random_model(Model(second=lambda h: h + 0 * torch.where(h == 0, torch.nan, 0.0)))
    failure = why_not_exact(model, [GateGroup("b", 10, "unit", tuple(makers))])  # what it closes is 0 where it is made
    assert failure is not None and "the outputs are NaN" in failure.reason.text


def test_a_rounding_is_called_one() -> None:
    failure = why_not_exact(random_model(Model(second=lambda h: h + 1e-7 * h.shape[-1])), [B])
    assert failure is not None and "more than rounding in its dtype" in failure.reason.text
    assert "follow the tensors" not in failure.reason.advice


class Auxiliary(Model):
    """A head that only train mode runs, with a size of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(10, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.second(self.b(self.first(self.a(x))))
        return self.c(h) + (self.head(h).sum() if self.training else 0)


def test_train_mode_is_run_where_it_enters_more() -> None:
    model = random_model(Auxiliary())
    assert model.trains_more and not random_model(Auxiliary(), train=False).trains_more
    failure = why_not_exact(model, [B])
    assert failure is not None and failure.reason.text.startswith("in train mode the purged model fails in")
    assert why_not_exact(random_model(Auxiliary(), train=False), [B]) is None


def test_a_joint_trial_takes_few_closures_of_which_little_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[float, int]] = []

    def counted(groups: Any, generator: Any, most: float = 1.0) -> Any:
        for closure in closures(groups, generator, most):
            taken.append((most, max(int((z > 0).sum()) for z in closure.values())))
            yield closure

    monkeypatch.setattr(trial, "closures", counted)
    assert why_not_exact(random_model(Model()), [A, B], joint=True) is None
    assert len(taken) == 2 and all(most < 1 and kept <= 5 for most, kept in taken)  # of 8 and 10
    taken.clear()
    assert why_not_exact(random_model(Model()), [A, B]) is None
    assert len(taken) == 3 and {most for most, _ in taken} == {1.0}
