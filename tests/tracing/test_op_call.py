"""One op as its rule sees it: arguments by name, and what a rule can say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lzero.tracing.label import fixed
from lzero.tracing.op_call import OpCall, dims_of
from lzero.tracing.tensor_table import TensorTable

aten = torch.ops.aten


@pytest.fixture
def table() -> TensorTable:
    return TensorTable()


def called(table: TensorTable, op: Any, *args: Any, path: str = "", **kwargs: Any) -> OpCall:
    return OpCall(op, args, kwargs, op(*args, **kwargs), table, path)


def labelled(table: TensorTable, name: str, *shape: int, source: bool = False) -> Tensor:
    tensor = torch.randn(shape)
    table.add(tensor, table.book.enrol(name, shape), source=name if source else None)
    return tensor


def test_arguments_go_by_name_with_their_defaults(table: TensorTable) -> None:
    x = torch.randn(2, 3)
    call = called(table, aten.sum.dim_IntList, x, [1], dtype=torch.float64)
    assert call["self"] is x and call["dim"] == [1] and call["keepdim"] is False and call["dtype"] is torch.float64
    assert call.get("other") is None and call.op == "aten.sum"
    with pytest.raises(KeyError):
        call["other"]


def test_tensors_come_out_of_lists_and_several_outputs(table: TensorTable) -> None:
    a, b = torch.randn(2), torch.randn(2)
    assert [id(tensor) for tensor in called(table, aten.cat.default, [a, b]).inputs] == [id(a), id(b)]
    assert len(called(table, aten.unbind.int, torch.randn(3, 2)).outputs) == 3
    assert called(table, aten._local_scalar_dense.default, torch.ones(())).outputs == []


def test_axes_and_sources_are_those_of_the_table(table: TensorTable) -> None:
    w, x = labelled(table, "w", 2, 3, source=True), torch.randn(4, 2)
    call = called(table, aten.mm.default, x, w)
    assert [labels.tolist() for labels in call.axes("mat2")] == [[1, 2], [3, 4, 5]]
    assert [labels.tolist() for labels in call.axes("self")] == [[0] * 4, [0] * 2]
    assert call.source("mat2") == "w" and call.source("self") is None
    assert call.zeroing("mat2") == frozenset() and call.zeroing("mat2", parameter=True) == {"w"}


def test_a_view_keeps_the_source_and_anything_else_loses_it(table: TensorTable) -> None:
    w = labelled(table, "w", 2, 3, source=True)
    moved, scaled = called(table, aten.t.default, w), called(table, aten.neg.default, w)
    moved.set_output(moved.axes("self")[::-1], view_of="self")
    scaled.set_output(scaled.axes("self"))
    sources = [table.find(call.out).source for call in (moved, scaled)]  # type: ignore[union-attr]
    assert sources == ["w", None]


def test_labels_of_another_shape_are_refused(table: TensorTable) -> None:
    call = called(table, aten.neg.default, labelled(table, "w", 2, 3))
    with pytest.raises(ValueError, match=r"labels of sizes \(2,\) for a tensor of shape \(2, 3\)"):
        call.set_output(call.axes("self")[:1])


def test_unify_gives_the_free_label_of_the_two(table: TensorTable) -> None:
    (a,), (b,) = table.book.enrol("a", (4,)), table.book.enrol("b", (4,))
    call = called(table, aten.neg.default, torch.ones(1), path="block")
    a[1] = b[2] = a[3] = b[3] = 0
    assert call.unify(a, b).tolist() == [1, 6, 3, 0]
    classes = table.book.classes()
    assert classes.root.tolist() == [0, 1, 2, 3, 4, 1, 6, 7, 8]
    assert [classes.reasons[i].text if i >= 0 else "" for i in classes.reason[[1, 6, 3, 5]]] == [
        "", *["it must match a size that no gate controls (aten.neg in block)"] * 2, "",
    ]  # fmt: skip


def test_unify_rows_ties_each_row_and_gives_its_first_free_label(table: TensorTable) -> None:
    (a,) = table.book.enrol("a", (6,))
    call = called(table, aten.neg.default, torch.ones(1))
    assert call.unify_rows(a.reshape(2, 3)).tolist() == [1, 4]
    assert table.book.classes().root.tolist() == [0, 1, 1, 1, 4, 4, 4]


def test_freezing_dims_leaves_the_others(table: TensorTable) -> None:
    call = called(table, aten.neg.default, labelled(table, "w", 2, 3))
    axes = call.freeze_dims(call.axes("self"), [1], "it mixes", "do this")
    assert [labels.tolist() for labels in axes] == [[1, 2], [3, 4, 5]]
    classes = table.book.classes()
    assert classes.reason.tolist() == [-1, -1, -1, 0, 0, 0]
    assert (classes.reasons[0].text, classes.reasons[0].advice) == ("it mixes (aten.neg)", "do this")


def test_products_are_counted_and_read_at_parameters_alone(table: TensorTable) -> None:
    w, x = labelled(table, "w", 2, 3, source=True), labelled(table, "x", 4, 2)
    call = called(table, aten.mm.default, x, w)
    for name in ("self", "mat2"):
        call.count(name, 10)
        call.count(name, 5)
        call.consume(name, call.axes(name)[0])
    assert table.macs == {"w": 15}
    assert np.flatnonzero(table.book.classes().consumer).tolist() == [1, 2]


def test_a_sum_that_nothing_makes_zero_freezes(table: TensorTable) -> None:
    call = called(table, aten.neg.default, labelled(table, "x", 3))
    call.sum_over(call.axes("self")[0], "self", why="it is summed", advice="")
    assert (table.book.classes().reason[1:] >= 0).all()


def test_a_reason_without_words_stays_without(table: TensorTable) -> None:
    assert called(table, aten.neg.default, torch.ones(1), path="a.b").reason("").text == ""
    assert called(table, aten.neg.default, torch.ones(1), path="a.b").reason("why").text == "why (aten.neg in a.b)"


@pytest.mark.parametrize("count", range(5))
def test_dims_are_counted_from_the_front(count: int) -> None:
    everything = list(range(count))
    assert dims_of(None, count) == dims_of([], count) == everything
    for dim in range(-count, count):
        assert dims_of(dim, count) == [everything[dim]] == dims_of((dim,), count)
    assert dims_of(0, 0) == []  # a number has no dims
    assert dims_of([0, -1], 3) == [0, 2]


def test_a_tensor_that_nothing_led_to_is_fixed(table: TensorTable) -> None:
    call = called(table, aten.neg.default, torch.ones(2, 3))
    assert all((one == two).all() for one, two in zip(call.axes("self"), fixed((2, 3)), strict=True))
