"""Tensors in a stranger's objects and models: found, mapped, drawn and replaced."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from lzero.errors import StructureError
from lzero.host.tensors import draw_normal, find_tensor, map_tensors, replace_tensors, tensors_in, tensors_of


def test_tensors_in_everything() -> None:
    @dataclass
    class Output:
        logits: Tensor
        cache: Any

    a, b, c, d = (torch.tensor(float(i)) for i in range(4))
    loop: list[Any] = [d]
    loop.append(loop)
    value = {"x": Output(a, (b, None)), "y": SimpleNamespace(z=[c, "text"]), "loop": loop}
    assert [t.item() for t in tensors_in(value)] == [0, 1, 2, 3]


def test_modules_classes_and_plain_values_hold_none() -> None:
    assert list(tensors_in([nn.Linear(2, 2), Tensor, 3, 1.5, 2j, "x", b"y", None, object()])) == []


def test_map_tensors_keeps_the_form() -> None:
    value = {"a": [torch.ones(1), 2], "b": (torch.ones(1), "x")}
    assert map_tensors(value, lambda t: t + 1) == {"a": [torch.tensor([2.0]), 2], "b": (torch.tensor([2.0]), "x")}


class Pair(NamedTuple):
    one: Any
    two: Any


nested = st.recursive(
    st.integers() | st.text(max_size=2) | st.none() | st.integers(0, 9).map(lambda n: torch.tensor(float(n))),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
        | st.tuples(inner, inner).map(lambda pair: Pair(*pair))
        | inner.map(lambda value: SimpleNamespace(value=value))
    ),
    max_leaves=8,
)


def by_hand(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from by_hand(item)
    elif isinstance(value, dict | SimpleNamespace):
        for item in (value if isinstance(value, dict) else vars(value)).values():
            yield from by_hand(item)


def shape_of(value: Any) -> Any:
    """``value`` with a word in place of every tensor."""
    if isinstance(value, Tensor):
        return "tensor"
    if isinstance(value, list | tuple):
        return type(value).__name__, [shape_of(item) for item in value]
    if isinstance(value, dict | SimpleNamespace):
        held = value if isinstance(value, dict) else vars(value)
        return type(value).__name__, {key: shape_of(item) for key, item in held.items()}
    return value


@given(nested)
def test_mapping_changes_every_tensor_and_nothing_else(value: Any) -> None:
    before = [tensor.item() for tensor in by_hand(value)]
    form = shape_of(value)
    assert [tensor.item() for tensor in tensors_in(value)] == before
    made = map_tensors(value, lambda tensor: tensor + 1)
    assert [tensor.item() for tensor in by_hand(made)] == [number + 1 for number in before]
    assert [tensor.item() for tensor in by_hand(value)] == before
    assert shape_of(made) == form == shape_of(value)


def tied() -> Any:
    model: Any = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.BatchNorm1d(3))
    model[1].weight = model[0].weight
    return model


def test_tensors_go_by_all_their_names() -> None:
    model = tied()
    found = tensors_of(model)
    assert found["0.weight"] is found["1.weight"] is model[0].weight
    assert set(found) == set(model.state_dict())
    assert all(find_tensor(model, name) is tensor for name, tensor in found.items())


@pytest.mark.parametrize(("name", "kind"), [("0", "Linear"), ("0.in_features", "int"), ("training", "bool")])
def test_a_name_of_something_else_is_refused(name: str, kind: str) -> None:
    with pytest.raises(StructureError, match=f"{name}: expected a parameter or buffer, found {kind}"):
        find_tensor(tied(), name)


def test_a_tied_tensor_is_replaced_under_all_its_names() -> None:
    model = tied()
    new, mean = nn.Parameter(torch.ones(3, 3)), torch.ones(3)
    bias = model[0].bias
    replace_tensors(model, {model[0].weight: new, model[2].running_mean: mean})
    assert model[0].weight is model[1].weight is new and model[2].running_mean is mean and model[0].bias is bias


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_drawn_numbers_follow_from_the_generator_and_are_of_the_same_kind(dtype: torch.dtype) -> None:
    like = torch.empty(2, 3, dtype=dtype)
    one, two = (draw_normal(like, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, two) and one.dtype == dtype and one.shape == like.shape
    assert torch.equal(one, torch.randn(2, 3, generator=torch.Generator().manual_seed(3)).to(dtype))
