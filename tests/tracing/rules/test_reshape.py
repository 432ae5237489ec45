"""Reshaping: dims that are merged, split and regrouped."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from tracing.rules.follow import SAME, UNITS, A, B, C, Case, D, check_every_op, follow

from lzero.tracing.rules.reshape import blocks

aten = torch.ops.aten
BLOCK = [A] * 4 + [B] * 4 + [C] * 4 + [D] * 4

CASES = {
    "flatten": Case(lambda x: x.flatten(1), [{1: BLOCK}], shape=(2, 4, 2, 2)),
    "flatten units inside": Case(lambda x: x.flatten(1), [{1: UNITS * 3}], shape=(2, 3, 4), dim=2),
    "flatten the batch": Case(lambda x: x.flatten(0, 1), [{1: UNITS}], shape=(2, 3, 4), dim=2),
    "flatten and back": Case(lambda x: x.flatten(1).view(2, 4, 6, 6), SAME, ties=[]),
    "unflatten": Case(lambda x: x.unflatten(1, (2, 2)), [{}], ties=[{A, B}, {C, D}]),  # the outermost carries
    "unflatten and back": Case(lambda x: x.unflatten(1, (2, 2)).flatten(1, 2).cumsum(1), [{}], UNITS),
    "unflatten, then pick": Case(lambda x: x.unflatten(1, (2, 2)).amax(1), [{}], ties=[{A, C}, {B, D}]),
    "unflatten, then mix": Case(lambda x: x.unflatten(1, (2, 2)).amax((1, 2)), [{}], UNITS),
    "a view of nothing": Case(
        lambda x: x[:, :0].reshape(2, 0, 2, 2), [{}], shape=(2, 3, 4), dim=2, ties=[{A, B}, {C, D}]
    ),
    "nothing, joined by its units": Case(
        lambda x: torch.cat([x, x[:, :0].reshape(2, 0, 4)], 1), [{2: UNITS}], shape=(2, 3, 4), dim=2
    ),
    "view of size one": Case(lambda x: x.view(1, 8, 1, 6, 6), [{1: UNITS * 2}]),
    "ones dropped": Case(lambda x: x.reshape(2, 4, 6, 6), SAME, shape=(2, 1, 4, 6, 6), dim=2),
    "reshape of what is not contiguous": Case(lambda x: x.transpose(1, 2).reshape(2, 24, 6), [{1: UNITS * 6}]),
    "unsafe view": Case(lambda x: aten._unsafe_view(x, [2, 4, 36]), SAME),
    "reshape alias": Case(lambda x: aten._reshape_alias(x, [2, 4, 36], [144, 36, 1]), SAME),
    "sizes that do not divide each other": Case(lambda x: x.reshape(6, 4), [{}], UNITS, (4, 6), 0),
    "another dtype": Case(lambda x: x.view(torch.int32), [{}], UNITS),
    "pooled to one pixel": Case(
        lambda x: F.adaptive_avg_pool2d(x.to(memory_format=torch.channels_last), 1), SAME, ties=[]
    ),
    "one pixel in other strides": Case(lambda x: aten.as_strided_(x.clone(), [2, 4, 1, 1], [4, 1, 9, 9]), SAME,
                                       shape=(2, 4, 1, 1)),
    "its own strides": Case(lambda x: x.as_strided(x.shape, x.stride()), SAME, ties=[]),
    "strides that transpose": Case(lambda x: aten.as_strided_(x.clone(), [4, 4], [1, 4]), [{}], UNITS, (4, 4)),
    "windows by strides": Case(lambda x: x.as_strided((2, 3, 2), (4, 1, 1)), [{}], UNITS, (2, 4)),
    "another offset": Case(lambda x: x[:1].as_strided((1, 4), (4, 1), 4), [{}], UNITS, (2, 4)),
    "no elements": Case(lambda x: x[:0].reshape(0, 4, 36), [{1: UNITS}]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_reshape(name: str) -> None:
    CASES[name].check()


def test_a_reshaped_parameter_reads_along_the_dim_that_carries() -> None:
    """The rows of ``w`` [2, 2, 6], labels 5-6 and 7-8, become the four that read: the first dim carries two units."""
    followed = follow(lambda x, w: x @ w.view(4, 6), (2, 4), w=torch.randn(2, 2, 6))
    assert followed.read == [5, 6] and followed.frozen == [7, 8]
    assert followed.ties == [{A, B, 5}, {C, D, 6}]


def test_of_dims_with_too_many_labels_the_one_with_most_units_is_left() -> None:
    followed = follow(lambda x, w: w.flatten(), (2, 4), w=torch.randn(2000, 200))
    assert followed.frozen == list(range(2005, 2205))
    (out,) = followed.out
    assert out == {0: [label for label in range(5, 2005) for _ in range(200)]}


sizes = st.lists(st.integers(1, 6), max_size=4)


@given(sizes, st.randoms())
def test_blocks_cover_all_dims_in_order_and_cannot_be_cut(old: list[int], random: object) -> None:
    new = _regrouped(old, random)
    found = blocks(old, new)
    assert [dim for olds, _ in found for dim in olds] == list(range(len(old)))
    assert [dim for _, news in found for dim in news] == list(range(len(new)))
    for olds, news in found:
        here, there = [old[dim] for dim in olds], [new[dim] for dim in news]
        assert math.prod(here) == math.prod(there)
        for i in range(1, len(here)):
            for j in range(1, len(there)):
                assert math.prod(here[:i]) != math.prod(there[:j])


def _regrouped(old: list[int], random: object) -> list[int]:
    """Other sizes with the same product: primes of all dims, joined at random."""
    made: list[int] = []
    for size in old:
        for prime in (p for p in (2, 2, 3, 5) if size % p == 0):
            if size % prime == 0:
                size //= prime
                made.append(prime)
    joined: list[int] = []
    for prime in made:
        if joined and random.random() < 0.5:  # type: ignore[attr-defined]
            joined[-1] *= prime
        else:
            joined.append(prime)
    return joined


def test_every_op_is_run() -> None:
    check_every_op("reshape", CASES.values())
