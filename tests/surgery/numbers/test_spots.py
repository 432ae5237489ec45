"""Where modules keep whole numbers, and how these are changed without touching what others hold."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from lzero.surgery.numbers.spots import (
    Spot,
    items_at,
    items_of,
    keep_items,
    lists_of,
    read_number,
    spots_of,
    watched_numbers,
    write_numbers,
)


class Config:
    """Answers no question about ``strange``."""

    def __init__(self, **entries: Any) -> None:
        vars(self).update(entries)

    def __getattribute__(self, name: str) -> Any:
        if name == "strange":
            raise RuntimeError("ask the layer")
        return super().__getattribute__(name)


def module(**held: Any) -> nn.Module:
    made = nn.Module()
    for name, value in held.items():
        setattr(made, name, value)
    return made


def test_numbers_in_attributes_lists_and_configurations() -> None:
    inner = Config(width=7, layers=1)
    made = module(
        heads=4, one=1, flag=True, rate=0.5, sizes=(8, 1, 3), names=["a"], config=Config(strange=5, vision_config=inner)
    )
    assert [*spots_of(made)] == [
        Spot("heads", -1, 4), Spot("sizes", 0, 8), Spot("sizes", 2, 3), Spot("config.strange", -1, 5),
        Spot("config.vision_config.width", -1, 7),
    ]  # fmt: skip
    assert [*spots_of(made, deep=False)] == [Spot("heads", -1, 4)]
    assert read_number(made, "sizes", 2) == 3 and read_number(made, "config.strange", -1) == 5
    assert items_of(made, "sizes") == {0: 8, 1: 1, 2: 3} and items_of(made, "heads") == {-1: 4}


def test_what_is_no_number_of_the_module_is_left_out() -> None:
    made = module(_hidden=4, child=nn.Linear(3, 3), size=SimpleNamespace(width=4), pairs=[(2, 3)])
    assert [*spots_of(made)] == []


def test_writing_replaces_what_others_may_hold() -> None:
    config, sizes = Config(width=8, vision_config=Config(width=4)), [6, 6]
    one, other = module(config=config, sizes=sizes), module(config=config, sizes=sizes)
    write_numbers(one, "config.width", {-1: 5})
    write_numbers(one, "config.vision_config.width", {-1: 3})
    write_numbers(one, "sizes", {1: 2})
    write_numbers(one, "sizes", {0: 4})
    assert (one.config.width, one.config.vision_config.width, one.sizes) == (5, 3, [4, 2])
    assert other.config is config and (config.width, config.vision_config.width, sizes) == (8, 4, [6, 6])


def test_watched_numbers_stand_in_copies() -> None:
    seen: list[tuple[str, int, int]] = []

    def watch(name: str, place: int, value: int) -> int:
        seen.append((name, place, value))
        return value + 100

    config = Config(width=8)
    held = watched_numbers(config, "config", watch, deep=True)
    assert held.width == 108 and config.width == 8 and type(held) is Config
    assert watched_numbers((3, 1, "x"), "sizes", watch, deep=True) == (103, 1, "x")
    assert watched_numbers((3, 1), "sizes", watch, deep=False) == (3, 1)
    assert watched_numbers(3, "_size", watch, deep=True) == 3
    assert seen == [("config.width", -1, 8), ("sizes", 0, 3)]


def test_a_number_that_is_not_there_is_an_error() -> None:
    with pytest.raises(AttributeError, match="holds no 'width'"):
        read_number(module(config=3), "config.width", -1)


def test_lists_of_a_length_are_found_and_keep_some_items_in_copies() -> None:
    inner = Config(kinds=("x", "y", "z"))
    config = Config(strange=1, layers=["a", "b", "c"], sizes=[1, 2], vision_config=inner, _hidden=[1, 2, 3])
    own = [4, 5, 6]
    made = module(own=own, config=config)
    assert sorted(lists_of(made, 3)) == ["config.layers", "config.vision_config.kinds", "own"]
    assert lists_of(made, 7) == []
    for name in lists_of(made, 3):
        keep_items(made, name, [2, 0])
    assert list(items_at(made, "own")) == [6, 4] and own == [4, 5, 6]
    assert items_at(made, "config.layers") == ["c", "a"] and config.layers == ["a", "b", "c"]
    assert items_at(made, "config.vision_config.kinds") == ("z", "x") and inner.kinds == ("x", "y", "z")
    assert made.config is not config and made.config.sizes is config.sizes
