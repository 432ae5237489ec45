"""Whatever is passed to discover: a plan, or an error that names the argument, what was expected and what was found."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nets import mlp, sizes
from torch import nn

from lzero.discover import discover
from lzero.errors import StructureError

X = torch.randn(5, 12)


class Refuses(Mapping[str, str]):
    """A mapping, an iterable and an object that answers nothing."""

    def __getitem__(self, key: str) -> str:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no")

    def __len__(self) -> int:
        return 3


class Silent(Refuses):
    """One that does not even print."""

    def __repr__(self) -> str:
        raise ValueError("no")


WRONG: list[tuple[str, Any, str]] = [
    ("model", "mlp", r"model: expected an nn\.Module, found 'mlp'"),
    ("model", None, r"model: expected an nn\.Module, found None"),
    ("model", nn.Linear, r"model: expected an nn\.Module, found <class"),
    ("model", torch.relu, r"model: expected an nn\.Module, found <built-in"),
    ("example_inputs", None, "example_inputs: expected what the training loop .*, found None"),
    ("example_inputs", (), r"example_inputs: expected .* found \(\)"),
    ("example_inputs", [], r"example_inputs: expected .* found \[\]"),
    ("example_inputs", {}, r"example_inputs: expected .* found {}"),
    ("example_inputs", "images", "example_inputs: expected .* found 'images'"),
    ("example_inputs", torch.Tensor, "example_inputs: expected .* found <class"),
    ("example_inputs", nn.Linear(2, 2), "example_inputs: expected .* found Linear"),
    ("example_inputs", 3, "the model does not run on the example inputs"),
    ("example_inputs", Silent(), "the model does not run on the example inputs"),
    (
        "granularity",
        None,
        "granularity: expected one of 'unit', .*, or a mapping .* found None",
    ),
    ("granularity", ["unit"], r"granularity: expected one of .* found \['unit'\]"),
    ("granularity", 1, "granularity: expected one of .* found 1"),
    ("granularity", {1: "unit"}, "granularity: expected one of .* found {1: 'unit'}"),
    (
        "granularity",
        {"0": None},
        r"granularity of '0': expected one of 'unit', .* joined by a plus\), found None",
    ),
    ("granularity", {"9": "unit"}, "granularity: the model has no '9'"),
    ("granularity", "units", "granularity: expected one of 'unit', 'input', 'weight', 'width', .*, found 'units'"),
    ("granularity", Silent(), "granularity: expected one of .* found <Silent, whose repr raises"),
    ("ignore", None, "ignore: expected module paths and parameter names, found None"),
    ("ignore", 3, "ignore: expected .* found 3"),
    ("ignore", [3], r"ignore: expected .* found \[3\]"),
    ("ignore", b"0", "ignore: expected .* found b'0'"),
    ("ignore", torch.ones(2), "ignore: expected .* found tensor"),
    ("ignore", count(), r"ignore: expected .* found count"),
    ("ignore", nn.Linear(2, 2), "ignore: expected .* found Linear"),
    ("ignore", nn.Sequential(nn.Linear(2, 2)), "ignore: expected .* found Sequential"),
    ("ignore", Silent(), "ignore: expected .* found <Silent"),
    ("ignore", ["7"], "ignore: the model has no '7'"),
]


def passed(**changed: Any) -> Any:
    return discover(**{"model": mlp(), "example_inputs": X} | changed)


@pytest.mark.parametrize(("argument", "value", "message"), WRONG, ids=range(len(WRONG)))
def test_an_argument_of_another_kind_is_an_error_that_names_it(argument: str, value: Any, message: str) -> None:
    with pytest.raises(StructureError, match=message):
        passed(**{argument: value})


def test_every_kind_of_iterable_of_paths_is_taken() -> None:
    for ignore in ("0", ["0"], ("0",), {"0"}, {"0": 1}, (path for path in ["0"])):
        assert sizes(passed(ignore=ignore)) == {"2": 6}
    assert sizes(passed(ignore=())) == sizes(passed(ignore=[])) == {"0": 8, "2": 6}


ODD = st.sampled_from(
    [None, True, 0, -1, 2.5, 1j, float("nan"), "", "0", "2.weight", "unit", "input", "weight", b"0", object(), print,
     int, nn.Linear, nn.ReLU(), Refuses(), Refuses, torch.float32, torch.device("cpu"), X, X.long(), X.bool(), X[:0],
     X[0], X.to_sparse(), X.to("meta"), torch.zeros(()), torch.nested.nested_tensor([X[0], X[1]]), range(3), slice(1),
     NotImplemented, ..., KeyError("x"), lambda: None, memoryview(b"0"), iter(["0"]), 10**400]
)  # fmt: skip
THINGS = st.recursive(
    ODD,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.sampled_from(["", "0", "2", "input", "x", 3, None]), inner, max_size=3)
    ),
    max_leaves=4,
)


@pytest.mark.slow
@pytest.mark.parametrize("argument", ["model", "example_inputs", "granularity", "ignore"])
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(value=THINGS)
def test_no_value_of_an_argument_leads_to_another_error(argument: str, value: Any) -> None:
    with warnings.catch_warnings(), contextlib.suppress(StructureError):
        warnings.simplefilter("ignore")
        assert str(passed(**{argument: value}))
