"""Classes of labels: those of a union-find written by hand, whatever is tied, frozen and taken back."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lzero.plan.refusal import Reason
from lzero.tracing.label_book import LabelBook

ONE, TWO, SILENT = Reason("one"), Reason("two", "do this"), Reason("")


class UnionFind:
    """The truth: label by label, one pair at a time."""

    def __init__(self, size: int) -> None:
        self.parent = list(range(size + 1))
        self.frozen: list[tuple[int, Reason, int]] = []  # label, why, step

    def find(self, label: int) -> int:
        while self.parent[label] != label:
            label = self.parent[label]
        return label

    def unify(self, a: int, b: int, reason: Reason, step: int) -> None:
        if a and b:
            one, two = sorted((self.find(a), self.find(b)))
            self.parent[two] = one
        elif a or b:
            self.frozen.append((a or b, reason, step))

    def reason(self, label: int, thawed: set[int], order: list[Reason]) -> Reason | None:
        whys = {
            why for frozen, why, step in self.frozen if step not in thawed and self.find(frozen) == self.find(label)
        }
        return min(whys, key=lambda why: (not why.text, order.index(why)), default=None)


@st.composite
def histories(draw: Any) -> tuple[list[int], list[Any], set[int]]:
    """Sizes of dims; ties and freezes of labels, by step; and the steps that are taken back."""
    sizes = draw(st.lists(st.integers(2, 4), min_size=1, max_size=5))
    label = st.integers(0, sum(sizes))
    reason = st.sampled_from([ONE, TWO, SILENT])
    pairs = st.lists(st.tuples(label, label), max_size=4)
    acts = st.lists(st.tuples(pairs, st.lists(label, max_size=2), reason), max_size=8)
    return sizes, draw(acts), draw(st.sets(st.integers(0, 7), max_size=3))


@given(histories())
def test_classes_are_those_of_a_union_find(history: tuple[list[int], list[Any], set[int]]) -> None:
    sizes, acts, thawed = history
    book, truth = LabelBook(), UnionFind(sum(sizes))
    for number, size in enumerate(sizes):
        book.enrol(f"t{number}", (size,))
    order: list[Reason] = []
    for step, (pairs, frozen, reason) in enumerate(acts):
        book.step = step
        book.unify(np.array([a for a, _ in pairs], np.int64), np.array([b for _, b in pairs], np.int64), reason)
        book.freeze(np.array(frozen, np.int64), reason)
        for a, b in pairs:
            truth.unify(a, b, reason, step)
        truth.frozen += [(label, reason, step) for label in frozen if label]
        if step not in thawed and any(at == step for _, _, at in truth.frozen) and reason not in order:
            order.append(reason)
    book.thaw(thawed)
    classes = book.classes()
    labels = range(1, sum(sizes) + 1)
    assert classes.root.tolist() == [0, *(truth.find(label) for label in labels)]
    whys = [classes.reasons[position] if position >= 0 else None for position in classes.reason[1:]]
    assert whys == [truth.reason(label, thawed, order) for label in labels]
    roots = classes.everywhere.tolist()
    assert roots == [0, *(0 if why else truth.find(label) for label, why in zip(labels, whys, strict=True))]
    assert classes.slot.tolist() == [-1, *(number for number, size in enumerate(sizes) for _ in range(size))]


def test_every_dim_longer_than_one_gets_labels_in_order() -> None:
    book = LabelBook()
    first = book.enrol("a", (2, 1, 3))
    second = book.enrol("b", (2, 3, 3), dims=1)
    assert [labels.tolist() for labels in first] == [[1, 2], [0], [3, 4, 5]]
    assert [labels.tolist() for labels in second] == [[6, 7], [0, 0, 0], [0, 0, 0]]
    assert [(slot.tensor, slot.dim, slot.start, slot.size) for slot in book.slots] == [
        ("a", 0, 1, 2), ("a", 2, 3, 3), ("b", 0, 6, 2),
    ]  # fmt: skip


def test_labels_of_the_forwards_own_stand_for_what_they_are_tied_to() -> None:
    book = LabelBook()
    (a,), (b,) = book.enrol("a", (3,)), book.enrol("b", (3,))
    own = book.fresh(3)
    assert own.tolist() == [7, 8, 9] and book.fresh(1).tolist() == [0]
    book.unify(a, own, ONE)
    book.unify(own, b, ONE)
    classes = book.classes()
    assert classes.root.tolist() == [0, 1, 2, 3, 1, 2, 3]  # without the forward's own
    assert classes.everywhere.tolist() == [0, 1, 2, 3, 1, 2, 3, 1, 2, 3]


class TestReading:
    def test_labels_that_a_product_contracts_over(self) -> None:
        book = LabelBook()
        (a,), (b,) = book.enrol("a", (2,)), book.enrol("b", (2,))
        book.unify(a, b, ONE)
        book.consume("b", b)
        assert book.classes().consumer.tolist() == [False, False, False, True, True]  # b alone, not what is tied to it

    def test_a_reshaped_parameter_is_read_at_the_dim_that_carries(self) -> None:
        book = LabelBook()
        rows, _ = book.enrol("w", (2, 3))
        own = book.fresh(2)
        book.unify(rows, own, ONE)
        book.consume("w", own)
        classes = book.classes()
        assert classes.consumer.tolist() == [False, True, True, False, False, False] and not (classes.reason >= 0).any()

    def test_a_reshaped_parameter_that_is_read_along_two_dims_freezes(self) -> None:
        book = LabelBook()
        rows, columns = book.enrol("w", (2, 3))
        own = book.fresh(5)
        book.unify(np.concatenate([rows, columns]), own, ONE)
        book.consume("w", own)
        classes = book.classes()
        assert not classes.consumer.any()
        assert {classes.reasons[i].text for i in classes.reason[1:]} == {
            "it is read along several dims of one tensor at once"
        }


class TestSums:
    def gated(self, *, tied: bool) -> Any:
        book = LabelBook()
        (units,), (experts, _) = book.enrol("x", (3,)), book.enrol("w", (3, 2))
        if tied:
            book.unify(units, experts, ONE)
        book.sum_over(units, (frozenset({"w"}),), TWO)
        return book.classes()

    def test_a_sum_is_gated_by_a_parameter_with_a_slice_for_every_unit(self) -> None:
        classes = self.gated(tied=True)
        assert classes.consumer[4:7].all() and not classes.consumer[[1, 2, 3, 7, 8]].any()
        assert (classes.reason < 0).all()

    def test_a_sum_that_nothing_gates_is_forbidden(self) -> None:
        classes = self.gated(tied=False)
        assert not classes.consumer.any()
        assert [classes.reasons[i] for i in classes.reason[1:4]] == [TWO] * 3 and (classes.reason[4:] < 0).all()


class TestClasses:
    def test_classes_are_transitive(self) -> None:
        book = LabelBook()
        (a,), (b,), (c,) = (book.enrol(name, (3,)) for name in "abc")
        book.unify(a, b, Reason("x"))
        book.unify(b, c[::-1].copy(), Reason("x"))
        assert book.classes().root.tolist() == [0, 1, 2, 3, 1, 2, 3, 3, 2, 1]

    def test_meeting_a_fixed_index_freezes_the_class(self) -> None:
        book = LabelBook()
        (a,), (b,) = (book.enrol(name, (2,)) for name in "ab")
        book.unify(a, b, Reason("x"))
        book.unify(b, np.array([0, 4]), Reason("fixed"))
        classes = book.classes()
        assert classes.reason.tolist() == [-1, 0, -1, 0, -1]
        assert classes.reasons == (Reason("fixed"),)

    def test_the_first_reason_that_says_something_stays(self) -> None:
        book = LabelBook()
        (a,) = book.enrol("a", (2,))
        for text in ("", "second", "third"):
            book.freeze(a, Reason(text))
        classes = book.classes()
        assert {classes.reasons[i].text for i in classes.reason[1:]} == {"second"}

    def test_empty(self) -> None:
        assert LabelBook().classes().root.tolist() == [0]
