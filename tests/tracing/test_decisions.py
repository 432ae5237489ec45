"""What Python learns of values is noted line by line, and a way answers otherwise."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from lzero.tracing.decisions import Answer, Site, Way, deciding

X = torch.tensor([1.0, -2.0, 3.0])


def sites(run: Callable[[], Any]) -> dict[Site, list[bool | None]]:
    with deciding(Way()) as decisions:
        run()
    return decisions.seen


def told(run: Callable[[], Any], value: bool, first: int = 0, end: int = 9) -> Any:
    """What ``run`` returns where every decision of it is answered so."""
    with deciding(Way({site: Answer(value, first, end) for site in sites(run)})):
        return run()


BOOLS: dict[str, tuple[Callable[[], bool], bool]] = {
    "bool": (lambda: bool(X.sum() > 0), True),
    "if": (lambda: True if X.sum() < 0 else False, False),  # noqa: SIM210
    "item": (lambda: bool((X > 5).any().item()), False),
    "equal": (lambda: torch.equal(X, X), True),
    "close": (lambda: torch.allclose(X, X + 1), False),
    "in": (lambda: 3 in X, True),
    "is_nonzero": (lambda: X[0].is_nonzero(), True),
}


@pytest.mark.parametrize("name", BOOLS)
def test_bools_are_noted_and_told(name: str) -> None:
    run, says = BOOLS[name]
    assert run() is says and [*sites(run).values()] == [[says]]
    assert not any(site.number for site in sites(run))
    assert told(run, not says) is (not says) and told(run, says) is says


MASKS: dict[str, Callable[[Tensor], Tensor]] = {
    "nonzero": lambda mask: mask.nonzero(),
    "torch.nonzero": lambda mask: torch.nonzero(mask, as_tuple=False),
    "argwhere": lambda mask: torch.argwhere(mask),
    "where": lambda mask: torch.where(mask)[0],
    "index": lambda mask: X[mask],
    "indices": lambda mask: X[None][:, mask][0],
    "masked_select": lambda mask: X.masked_select(mask),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_are_true_or_false_as_a_whole(name: str) -> None:
    def run() -> int:
        return len(MASKS[name](X > 0))

    assert run() == 2 and [*sites(run).values()] == [[None]]
    assert told(run, True) == 3 and told(run, False) == 0


def test_all_that_uses_a_mask_goes_on_with_the_same() -> None:
    def run() -> Tensor:
        mask, made = X > 0, torch.zeros(3)
        made[mask] = X[mask] + 1
        return made

    torch.testing.assert_close(told(run, True), X + 1)


NUMBERS: dict[str, tuple[Callable[[], Any], Any, Any]] = {
    "item": (lambda: X[1].item(), 1e4, -1e4),
    "float": (lambda: float(X[1]), 1e4, -1e4),
    "int": (lambda: int(X[2]), 1, 0),
    "index": (lambda: [5, 6, 7, 8][torch.tensor(3)], 6, 5),
    "list": (lambda: X.tolist(), X.tolist(), X.tolist()),
    "numpy": (lambda: X.numpy().sum(), 2.0, 2.0),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_noted(name: str) -> None:
    run, far, low = NUMBERS[name]
    assert [site.number for site in sites(run)] == [True]
    assert told(run, True) == far and told(run, False) == low


@pytest.mark.parametrize(
    "run",
    [
        lambda: X.shape[0] > 2,
        lambda: torch.where(X > 0, X, -X),
        lambda: X.masked_fill(X > 0, 0.0),
        lambda: list(X),
        lambda: torch.nn.functional.dropout(X),
        lambda: torch.distributions.Normal(X, X.abs()),  # its checks are a library's own
    ],
)
def test_what_python_does_not_learn_is_none(run: Callable[[], Any]) -> None:
    assert not sites(run)


def test_decisions_of_a_line_are_told_apart_and_times_are_counted() -> None:
    def run() -> list[tuple[bool, bool]]:
        return [(bool(X[number] > 0), bool(X[number] > 2)) for number in range(3)]

    first, second = sites(run)
    assert sites(run) == {first: [True, False, True], second: [False, False, True]}
    assert first != second and str(first).startswith("test_decisions.py:")
    with deciding(Way({first: Answer(False, 1, 3)}).but(second, Answer(True, 0, 1))) as decisions:
        assert run() == [(True, True), (False, False), (False, True)]
    assert decisions.seen == {first: [True], second: [False, True]}  # what is told says nothing


def test_places_stay_as_python_makes_a_loop_faster() -> None:
    def run() -> bool:
        return bool(X.sum() > 0)

    before = sites(run)
    for _ in range(100):
        run()
    assert sites(run) == before


def test_only_another_way_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    def run() -> None:
        if X.sum() < 0:
            warnings.warn("negative", stacklevel=2)
            logging.getLogger("theirs").warning("negative")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told(run, True)
    assert not caplog.records
    with deciding(Way()):
        logging.getLogger("theirs").warning("heard")
    assert [record.message for record in caplog.records] == ["heard"]
