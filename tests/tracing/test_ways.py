"""Every decision is taken the other way; more is tried while parameters are unreached."""

from __future__ import annotations

from collections.abc import Callable

import torch

from lzero.tracing.decisions import Decisions, Way, deciding
from lzero.tracing.ways import Explored, explore

X = torch.tensor([1.0, -2.0, 3.0])


class Runs:
    """Forwards that reach names."""

    def __init__(self, forward: Callable[[Callable[[str], None]], None], names: str) -> None:
        self.forward, self.names, self.reached, self.ways = forward, frozenset(names), set[str](), list[Way]()

    def run(self, way: Way) -> Decisions:
        self.ways.append(way)
        with deciding(way) as decisions:
            self.forward(self.reached.add)
        return decisions

    def mark(self) -> Callable[[], None]:
        before = set(self.reached)

        def back() -> None:
            self.reached = before

        return back

    def explore(self) -> Explored:
        first = self.run(Way())
        return explore(self.run, first, lambda: self.names - self.reached, self.mark)


def explored(forward: Callable[[Callable[[str], None]], None], names: str) -> tuple[set[str], Explored, int]:
    runs = Runs(forward, names)
    found = runs.explore()
    return runs.reached, found, len(runs.ways)


def test_without_a_decision_one_forward_is_all() -> None:
    assert explored(lambda use: use("a"), "ab") == ({"a"}, Explored({}, ()), 1)


def test_a_branch_is_taken_the_other_way_and_so_is_what_it_holds() -> None:
    def forward(use: Callable[[str], None]) -> None:
        use("a")
        if X.sum() < 0:
            use("b")
            if X.sum() < -5:
                use("c")

    reached, found, runs = explored(forward, "abc")
    assert reached == set("abc") and not found.open and runs == 3
    assert [*found.ways.values()] == [{"b"}, {"c"}]


def test_later_times_two_at_once_and_numbers_are_tried_until_nothing_is_unreached() -> None:
    def exits(use: Callable[[str], None]) -> None:
        for name in "abc":
            if X.sum() < 0:
                use(name)
                return

    def both(use: Callable[[str], None]) -> None:
        one, two = bool(X.sum() < 0), bool(X.sum() < 1)
        if one and two:
            use("a")

    def number(use: Callable[[str], None]) -> None:
        if X.sum().item() > 50:
            use("a")

    assert explored(exits, "abc")[0] == set("abc")
    assert explored(both, "a")[0] == {"a"}
    assert explored(number, "a")[0] == {"a"}


def test_a_check_is_no_way_and_what_fails_is_open() -> None:
    def checks(use: Callable[[str], None]) -> None:
        if X.sum() < 0:
            raise ValueError
        assert (X < 9).all()

    def fails(use: Callable[[str], None]) -> None:
        if X.sum() < 0:
            X[[]][0].sum()

    def late(use: Callable[[str], None]) -> None:
        if X.sum() < 0:
            use("a")
            raise ValueError

    assert explored(checks, "a") == (set(), Explored({}, ()), explored(checks, "a")[2])
    assert len(explored(fails, "a")[1].open) == 1
    reached, found, _ = explored(late, "a")
    assert not reached and len(found.open) == 1


def test_numbers_stay_open_while_something_is_unreached() -> None:
    _, found, runs = explored(lambda use: X.tolist(), "a")  # type: ignore[arg-type, return-value]
    assert not found.ways and len(found.open) == 1 and runs > 3


def test_more_decisions_than_are_combined_stay_open() -> None:
    def forward(use: Callable[[str], None]) -> None:
        if all([bool(X.sum() < 0), bool(X.sum() < 1), bool(X.sum() < -1)]):
            use("a")

    reached, found, _ = explored(forward, "a")
    assert not reached and found.open


def test_ends_where_every_answer_asks_again() -> None:
    def forward(use: Callable[[str], None]) -> None:
        for _ in range(200):
            bool(X.sum() < 0)

    assert explored(forward, "a")[2] < 40
