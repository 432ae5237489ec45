"""The tensors that a forward has met: found by identity, and by the memory that they share."""

from __future__ import annotations

import gc

import pytest
import torch

from lzero.tracing.tensor_table import TensorTable, storage_pointer


def test_a_tensor_is_found_by_identity_and_not_by_value() -> None:
    table = TensorTable()
    x = torch.ones(2, 3)
    axes = table.book.enrol("x", (2, 3))
    table.add(x, axes, "x")
    found = table.find(x)
    assert found is not None and found.axes is axes and found.source == "x" and not found.zeroing
    assert table.find(x.clone()) is None and table.find(x.view(2, 3)) is None


def test_newer_labels_replace_older_ones() -> None:
    table, x = TensorTable(), torch.ones(3)
    table.add(x, table.book.enrol("a", (3,)), "a")
    table.add(x, table.book.enrol("b", (3,)))
    found = table.find(x)
    assert found is not None and found.axes[0].tolist() == [4, 5, 6] and found.source is None


def test_a_tensor_that_was_reshaped_in_place_is_lost() -> None:
    table, x = TensorTable(), torch.ones(2, 3)
    table.add(x, table.book.enrol("x", (2, 3)))
    x.unsqueeze_(0)
    assert table.find(x) is None and len(table.sharing(x)) == 1


def test_tensors_on_the_same_memory() -> None:
    table, x = TensorTable(), torch.ones(2, 3)
    table.add(x, table.book.enrol("x", (2, 3)))
    assert [traced.tensor is x for traced in table.sharing(x[1:])] == [True]
    assert table.sharing(x.clone()) == [] == table.sharing(torch.eye(3).to_sparse())
    assert storage_pointer(x) == storage_pointer(x.t()) != 0 == storage_pointer(torch.eye(3).to_sparse())


def test_a_tensor_is_held_so_that_its_id_stays_its_own() -> None:
    table = TensorTable()
    for _ in range(50):
        table.add(torch.ones(3), table.book.enrol("x", (3,)))
    gc.collect()
    assert all(table.find(torch.ones(3)) is None for _ in range(50))


def test_what_makes_a_tensor_zero_is_noted_beside_its_labels() -> None:
    table, x = TensorTable(), torch.ones(3)
    table.mark(x, frozenset({"w"}))  # a tensor without labels: nothing to note
    assert table.find(x) is None
    table.add(x, table.book.enrol("x", (3,)), "x")
    table.mark(x, frozenset({"w"}))
    found = table.find(x)
    assert found is not None and found.zeroing == {"w"} and found.source == "x"
    table.mark(x, frozenset())
    assert table.find(x).zeroing == frozenset()  # type: ignore[union-attr]


def test_the_first_fault_of_the_bookkeeping_is_kept() -> None:
    table = TensorTable()
    with table.bookkeeping():
        pass
    assert table.fault is None
    for error in (KeyError("first"), ValueError("second")):
        with pytest.raises(type(error)), table.bookkeeping():
            raise error
    assert isinstance(table.fault, KeyError)
