"""What the numbers of modules stand for: by the family of the class, and last by the words in their names."""

from __future__ import annotations

import doctest

import pytest
from surgery.numbers.classes import of_class
from torch import Tensor

import lzero.surgery.numbers.registry as registry
from lzero.errors import StructureError
from lzero.surgery.numbers import Role, number_family


@pytest.fixture(autouse=True)
def _table_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "FAMILIES", list(registry.FAMILIES))


def test_a_later_family_and_that_of_a_nearer_class_are_asked_first() -> None:
    base = of_class("mine.Base")
    near = of_class("mine.Near", type(base))

    @number_family(type(base))
    def first(name: str) -> Role | None:
        return {"fans": Role.HEADS, "wings": Role.HEADS}.get(name)

    @number_family("mine.Ba*")
    def second(name: str) -> Role | None:
        return {"fans": Role.SIZE}.get(name)

    @number_family("mine.Near")
    def nearer(name: str) -> Role | None:
        return {"wings": Role.STAYS}.get(name)

    assert registry.roles_of(base, ["fans", "wings"]) == [Role.SIZE, Role.HEADS]
    assert registry.roles_of(near, ["fans", "wings"]) == [Role.SIZE, Role.STAYS]


@pytest.mark.parametrize("kind", [3, "Attention", Tensor], ids=str)
def test_what_is_no_class_of_modules_is_refused(kind: object) -> None:
    with pytest.raises(StructureError, match=r"kinds: expected classes of modules, or dotted names"):
        number_family(kind)(lambda _: None)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:.*no budget was given")
def test_the_example_runs() -> None:
    found = doctest.testmod(registry)
    assert found.attempted > 5 and not found.failed
