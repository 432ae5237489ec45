"""Convolutions: who reads, who makes, what is tied, and how often a weight is used."""

from __future__ import annotations

from math import prod

import pytest
import torch
from torch.nn import functional as F
from tracing.rules.follow import SAME, UNITS, Case, check_every_op

PAIRED = [{1, 5}, {2, 6}, {3, 7}, {4, 8}]

CASES = {
    # a weight [3, 4, 2] has labels 5-7, 8-11 and 12-13 of its kernel, which no gate removes
    "conv1d": Case(lambda x, w: F.conv1d(x, w), [{1: [5, 6, 7]}], [12, 13], (2, 4, 7), weights={"w": (3, 4, 2)},
                   read=[8, 9, 10, 11], macs={"w": prod([2, 6, 3, 4, 2])}, ties=[{1, 8}, {2, 9}, {3, 10}, {4, 11}]),
    "conv2d": Case(lambda x, w: F.conv2d(x, w, stride=2, padding=1), [{1: [5, 6, 7]}], weights={"w": (3, 4, 1, 1)},
                   read=[8, 9, 10, 11], macs={"w": prod([2, 4, 4, 3, 4])}),
    "conv3d": Case(lambda x, w: F.conv3d(x, w), [{1: [5, 6, 7]}], shape=(2, 4, 2, 3, 2), weights={"w": (3, 4, 1, 1, 1)},
                   read=[8, 9, 10, 11], macs={"w": prod([2, 12, 3, 4])}),
    "with a bias": Case(lambda x, w, b: F.conv2d(x, w, b), [{1: [5, 6, 7]}], weights={"w": (3, 4, 1, 1), "b": (3,)},
                        read=[8, 9, 10, 11], macs={"w": prod([2, 36, 3, 4])},
                        ties=[{1, 8}, {2, 9}, {3, 10}, {4, 11}, {5, 12}, {6, 13}, {7, 14}]),
    "over a spatial dim": Case(lambda x, w: F.conv2d(x, w), [{1: [5, 6, 7]}], [*UNITS, 8, 9], (2, 2, 4, 5), 2,
                               weights={"w": (3, 2, 1, 1)}, read=[8, 9], macs={"w": prod([2, 20, 3, 2])}),
    "of the batch": Case(lambda x, w: F.conv2d(x, w), [{0: UNITS, 1: [5, 6, 7]}], [8, 9], (4, 2, 3, 3), 0,
                         weights={"w": (3, 2, 1, 1)}, read=[8, 9], macs={"w": prod([4, 9, 3, 2])}),
    "without a parameter": Case(lambda x: F.conv2d(x, torch.ones(3, 4, 1, 1)), [{}], UNITS),
    "as the kernel of another": Case(
        lambda x: F.conv2d(torch.ones(2, 3, 5, 5), x), SAME, shape=(4, 3, 1, 1), dim=0
    ),
    "grouped": Case(lambda x, w: F.conv2d(x, w, groups=2), [{1: [5, 6, 7, 8, 9, 10]}], weights={"w": (6, 2, 1, 1)},
                    read=[11, 12], macs={"w": prod([2, 36, 6, 2])},
                    ties=[{1, 3, 11}, {2, 4, 12}, {5, 8}, {6, 9}, {7, 10}]),
    "depthwise": Case(lambda x, w: F.conv2d(x, w, groups=4), [{1: [5, 6, 7, 8]}], weights={"w": (4, 1, 1, 1)},
                      macs={"w": prod([2, 36, 4])}, ties=PAIRED),
    "depthwise, times two": Case(lambda x, w: F.conv2d(x, w, groups=4), [{1: list(range(5, 13))}],
                                 weights={"w": (8, 1, 1, 1)}, macs={"w": prod([2, 36, 8])},
                                 ties=[{1, 5, 6}, {2, 7, 8}, {3, 9, 10}, {4, 11, 12}]),
    # what a transposed weight [4, 3, ...] reads comes first, and is used once for each position of the input
    "transposed": Case(lambda x, w: F.conv_transpose2d(x, w), [{1: [9, 10, 11]}], weights={"w": (4, 3, 1, 1)},
                       read=[5, 6, 7, 8], macs={"w": prod([2, 36, 4, 3])}, ties=PAIRED),
    "transposed, upsampling": Case(lambda x, w: F.conv_transpose2d(x, w, stride=3), [{1: [9, 10, 11]}],
                                   [12, 13, 14, 15], (2, 4, 3, 3), weights={"w": (4, 3, 2, 2)},
                                   read=[5, 6, 7, 8], macs={"w": prod([2, 9, 4, 3, 4])}),
    "transposed, grouped": Case(lambda x, w: F.conv_transpose2d(x, w, groups=2), [{1: [9, 10, 11, 9, 10, 11]}],
                                weights={"w": (4, 3, 1, 1)}, read=[5, 6, 7, 8], macs={"w": prod([2, 36, 4, 3])},
                                ties=[{1, 3, 5, 7}, {2, 4, 6, 8}]),
    "transposed, depthwise": Case(lambda x, w: F.conv_transpose2d(x, w, groups=4), SAME, weights={"w": (4, 1, 1, 1)},
                                  macs={"w": prod([2, 36, 4])}, ties=PAIRED),
    "transposed, depthwise, times two": Case(
        lambda x, w: F.conv_transpose2d(x, w, groups=4), [{1: [1, 1, 2, 2, 3, 3, 4, 4]}], [9, 10],
        weights={"w": (4, 2, 1, 1)}, macs={"w": prod([2, 36, 4, 2])}, ties=PAIRED),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_convolution(name: str) -> None:
    CASES[name].check()


def test_every_op_is_run() -> None:
    check_every_op("convolution", CASES.values())
