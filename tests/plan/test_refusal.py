"""Refusals: where, how many, and why."""

from __future__ import annotations

import torch

from lzero.plan.group import Member
from lzero.plan.refusal import Reason, Refusal


def test_a_refusal_names_every_tensor_once_in_order() -> None:
    index = torch.zeros(1, 1, dtype=torch.long)
    members = [Member(name, 0, index, "coupled") for name in ("b.weight", "a.bias", "b.weight")]
    refused = Refusal.of("b", 4, members, Reason("it is an output", "do this"))
    assert refused == Refusal("b", 4, ("b.weight", "a.bias"), "it is an output", "do this")


def test_reasons_of_the_same_words_are_the_same() -> None:
    assert len({Reason("x"), Reason("x", ""), Reason("x", "y"), Reason("")}) == 3
