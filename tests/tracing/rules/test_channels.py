"""Gated linear units and the shuffles: which channels become one unit."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from tracing.rules.follow import SAME, UNITS, A, B, C, Case, D, check_every_op

BLOCK = [A] * 4 + [B] * 4 + [C] * 4 + [D] * 4

CASES = {
    "glu": Case(lambda x: F.glu(x, 1), [{1: [A, B]}], ties=[{A, C}, {B, D}]),
    "glu elsewhere": Case(lambda x: F.glu(x, 2), SAME, ties=[]),
    "glu of the last dim": Case(lambda x: F.glu(x, -1), [{2: [A, B]}], shape=(2, 3, 4), dim=2, ties=[{A, C}, {B, D}]),
    "pixel shuffle": Case(lambda x: F.pixel_shuffle(x, 2), [{1: [A]}], shape=(2, 4, 3, 3), ties=[{A, B, C, D}]),
    "pixel shuffle of two": Case(
        lambda x: F.pixel_shuffle(x, 2), [{1: [1, 5]}], shape=(2, 8, 3, 3), ties=[{1, 2, 3, 4}, {5, 6, 7, 8}]
    ),
    "pixel shuffle of space": Case(lambda x: F.pixel_shuffle(x, 2), [{}], UNITS, (2, 4, 4, 3), 2),
    "pixel unshuffle": Case(lambda x: F.pixel_unshuffle(x, 2), [{1: BLOCK}], ties=[]),
    "pixel unshuffle of space": Case(lambda x: F.pixel_unshuffle(x, 2), [{}], UNITS, (2, 3, 2, 4), 3),
    "channel shuffle": Case(lambda x: F.channel_shuffle(x, 2), [{1: [A, C, B, D]}], ties=[{A, C}, {B, D}]),
    "channel shuffle of no groups": Case(lambda x: F.channel_shuffle(x, 1), SAME, ties=[]),
    "channel shuffle of all": Case(lambda x: F.channel_shuffle(x, 4), SAME, ties=[{A, B, C, D}]),
    "native channel shuffle": Case(
        lambda x: torch.native_channel_shuffle(x, 2), [{1: [A, C, B, D]}], ties=[{A, C}, {B, D}]
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_channels(name: str) -> None:
    CASES[name].check()


def test_every_op_is_run() -> None:
    check_every_op("channels", CASES.values())
