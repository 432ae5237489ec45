"""Numbers that no op tells of, guessed by name and value: those that look as if they followed, and no others."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from lzero.plan.follower import Follower
from lzero.plan.group import GateGroup, Member
from lzero.reload import load_purged
from lzero.surgery.guessed_numbers import guessed_numbers
from lzero.surgery.shrink import shrink


class Holder(nn.Module):
    """An attention with four heads of two features, a hidden layer of 12 units, and numbers beside them."""

    def __init__(self, **numbers: int) -> None:
        super().__init__()
        self.q, self.out = nn.Linear(5, 8), nn.Linear(8, 5)
        self.up, self.down = nn.Linear(5, 12), nn.Linear(12, 5)
        for name, value in numbers.items():
            setattr(self, name, value)


HEADS = GateGroup("q", 4, "unit", (
    Member("q.weight", 0, torch.arange(8).view(4, 2), "producer"),
    Member("q.bias", 0, torch.arange(8).view(4, 2), "coupled"),
    Member("out.weight", 1, torch.arange(8).view(4, 2), "consumer"),
))  # fmt: skip
HIDDEN = GateGroup("up", 12, "unit", (
    Member("up.weight", 0, torch.arange(12)[:, None], "producer"),
    Member("up.bias", 0, torch.arange(12)[:, None], "coupled"),
    Member("down.weight", 1, torch.arange(12)[:, None], "consumer"),
))  # fmt: skip


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({"all_head_size": 8}, {"all_head_size": 6}),
        ({"hidden": 12, "out_size": 5}, {"hidden": 6, "out_size": 5}),
        ({"num_heads": 4, "head_dim": 2}, {"num_heads": 3, "head_dim": 2}),
        ({"n_head": 4, "n_kv_heads": 8}, {"n_head": 3, "n_kv_heads": 6}),
        ({"n_heads": 2}, {"n_heads": 2}),  # half of the hidden layer is closed, but no two heads make a unit
        ({"patch_size": 8, "num_classes": 12, "depth": 12}, {"patch_size": 8, "num_classes": 12, "depth": 12}),
        ({"_size": 8, "dim": 5}, {"_size": 8, "dim": 5}),
    ],
)
def test_numbers_that_follow_a_cut(numbers: dict[str, int], expected: dict[str, int]) -> None:
    model = Holder(**numbers)
    keep = {"q": torch.tensor([True, False, True, True]), "up": torch.arange(12) % 2 == 0}
    guessed = guessed_numbers(model, [HEADS, HIDDEN], lambda path, name: False)
    shrink(model, [replace(group, numbers=guessed.get(group.name, ())) for group in (HEADS, HIDDEN)], keep)
    assert {name: getattr(model, name) for name in numbers} == expected
    assert (model.q.out_features, model.out.in_features, model.up.out_features) == (6, 6, 6)
    again = load_purged(Holder(**numbers), model.state_dict())
    assert {name: getattr(again, name) for name in numbers} == expected


def test_what_the_forward_has_told_of_is_not_guessed() -> None:
    model = Holder(all_head_size=8, num_heads=4)
    guessed = guessed_numbers(model, [HEADS, HIDDEN], lambda path, name: name == "all_head_size")
    assert guessed == {"q": (Follower("", "num_heads", -1, 1),)}
