"""Names of tensors and paths of modules."""

from __future__ import annotations

import pytest
from torch import nn
from torch.nn.utils import parametrize

from lzero.plan.paths import covers, join, owner


@pytest.mark.parametrize(
    ("tensor", "path"),
    [
        ("weight", ""), ("a.weight", "a"), ("a.b.weight", "a.b"), ("parametrizations.weight.original", ""),
        ("a.parametrizations.weight.original", "a"), ("a.parametrizations.weight.0.gates.log_alpha", "a"),
        ("a.my_parametrizations.weight", "a.my_parametrizations"),
    ],
)  # fmt: skip
def test_the_owner_is_the_module_whose_forward_uses_it(tensor: str, path: str) -> None:
    assert owner(tensor) == path


def test_every_name_in_a_parametrized_model_has_a_module_of_it() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)))
    parametrize.register_parametrization(model[1][0], "weight", nn.Identity())  # type: ignore[index]
    assert {owner(name) for name, _ in model.named_parameters()} == {"0", "1.0"}


@pytest.mark.parametrize(
    ("path", "name", "expected"),
    [
        ("", "anything", True), ("", "", True), ("a", "a", True), ("a", "a.b", True), ("a", "ab", False),
        ("a.b", "a", False), ("a", "b.a", False), ("a", "", False), ("layers.1", "layers.10.weight", False),
    ],
)  # fmt: skip
def test_a_path_covers_itself_and_what_lies_below(path: str, name: str, expected: bool) -> None:
    assert covers(path, name) is expected


def test_joining_is_the_way_down() -> None:
    assert join("", "weight") == "weight" and join("a.b", "weight") == "a.b.weight"
    assert all(covers(path, join(path, "x")) for path in ("", "a", "a.b"))
