"""Ops that move elements: labels move with them, and what is picked by number freezes."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from tracing.rules.follow import SAME, UNITS, A, B, C, Case, D, check_every_op, follow

aten = torch.ops.aten
ROW, ROWS = torch.ones(2, 1, 6, 6), torch.ones(2, 4)  # from outside of the forward
HALVES = [{A, C}, {B, D}]

CASES = {
    "add a dim": Case(lambda x: x[:, None].unsqueeze(-1), [{2: UNITS}]),
    "add a dim at the end": Case(lambda x: x.unsqueeze(-1), SAME),
    "squeeze": Case(lambda x: x.squeeze((2, 3)), SAME, shape=(2, 4, 1, 1)),
    "squeeze of one dim": Case(lambda x: x.squeeze(-1), SAME, shape=(2, 4, 1)),
    "squeeze of a dim that has one unit left": Case(lambda x: x.squeeze(), SAME, UNITS, shape=(2, 4, 1, 1)),
    "squeeze of the dim of units": Case(lambda x: x.squeeze(1), SAME, UNITS),
    "permute": Case(lambda x: x.permute(0, 2, 3, 1), [{3: UNITS}]),
    "permute from behind": Case(lambda x: x.permute(-3, 0, -1, -2), [{0: UNITS}]),
    "transpose": Case(lambda x: x.transpose(1, -1), [{3: UNITS}]),
    "t": Case(lambda x: x.t(), [{0: UNITS}], shape=(2, 4)),
    "t of a vector": Case(lambda x: x.t(), [{0: UNITS}], shape=(4,), dim=0),
    "swapaxes": Case(lambda x: x.swapaxes(0, 1), [{0: UNITS}]),
    "swapdims": Case(lambda x: x.swapdims(1, 2), [{2: UNITS}]),
    "expand": Case(lambda x: x.expand(3, -1, -1, 5), SAME, shape=(1, 4, 6, 1)),
    "expand by a new dim": Case(lambda x: x.expand(7, 2, 4, 6, 6), [{2: UNITS}]),
    "repeat": Case(lambda x: x.repeat(1, 2, 1, 1), [{1: UNITS * 2}]),
    "repeat by a new dim": Case(lambda x: x.repeat(3, 1, 1, 1, 1), [{2: UNITS}]),
    "repeat interleaved": Case(lambda x: x.repeat_interleave(2, 1), [{1: [A, A, B, B, C, C, D, D]}]),
    "flip": Case(lambda x: x.flip(1), [{1: [D, C, B, A]}]),
    "flip twice": Case(lambda x: x.flip(1, 2).flip(-3), SAME),
    "flip nothing": Case(lambda x: x.flip(()), SAME),
    "slice space": Case(lambda x: x[..., 1:3], SAME),
    "slice all": Case(lambda x: x[:, 0:4], SAME, ties=[]),
    "slice half": Case(lambda x: x[:, 2:], [{1: [C, D]}], ties=HALVES),
    "slice half from behind": Case(lambda x: x[:, :-2], [{1: [A, B]}], ties=HALVES),
    "slice a part": Case(lambda x: x[:, :3], [{1: [A, B, C]}], UNITS),
    "slice half from the middle": Case(lambda x: x[:, 1:3], [{1: [B, C]}], UNITS),
    "slice one": Case(lambda x: x[:, 1:2], [{1: [B]}], UNITS),
    "slice every second": Case(lambda x: x[:, ::2], [{1: [A, C]}], ties=[{A, B}, {C, D}]),
    "slice every other": Case(lambda x: x[:, 1::2], [{1: [B, D]}], ties=[{A, B}, {C, D}]),
    "slice every third": Case(lambda x: x[:, ::3], [{1: [A, D]}], UNITS),
    "slice every fourth": Case(lambda x: x[:, ::4], [{1: [A]}], UNITS),
    "slice every second of some": Case(lambda x: x[:, 2::2], [{1: [C]}], UNITS),
    "slice nothing": Case(lambda x: x[:, 4:], [{}], UNITS),
    "narrow": Case(lambda x: x.narrow(1, 2, 2), [{1: [C, D]}], ties=HALVES),
    "narrow of space": Case(lambda x: x.narrow(-1, 1, 3), SAME),
    "select": Case(lambda x: x[:, 0], [{}], UNITS),
    "select space": Case(lambda x: x[..., 0], SAME),
    "unbind": Case(lambda x: x.unbind(1), [{}] * 4, UNITS),
    "unbind elsewhere": Case(lambda x: x.unbind(0), [{0: UNITS}] * 2),
    "chunk": Case(lambda x: x.chunk(2, 1), [{1: [A, B]}, {1: [C, D]}], ties=HALVES),
    "chunk to single units": Case(lambda x: x.chunk(4, 1), [{1: [i]} for i in UNITS], ties=[{A, B, C, D}]),
    "split": Case(lambda x: x.split(2, 1), [{1: [A, B]}, {1: [C, D]}], ties=HALVES),
    "split with sizes": Case(lambda x: x.split([4, 2], 1), [{1: [1, 2, 3, 4]}, {1: [5, 6]}], shape=(2, 6),
                             ties=[{1, 3, 5}, {2, 4, 6}]),
    "split elsewhere": Case(lambda x: x.split([1, 5], 2), [{1: UNITS}] * 2, ties=[]),
    "unequal split": Case(lambda x: x.split([1, 3], 1), [{1: [A]}, {1: [B, C, D]}], UNITS),
    "unsafe split": Case(lambda x: torch.unsafe_split(x, 2, 1), [{1: [A, B]}, {1: [C, D]}], ties=HALVES),
    "unsafe split with sizes": Case(lambda x: torch.unsafe_split_with_sizes(x, [2, 2], 1), [{1: [A, B]}, {1: [C, D]}],
                                    ties=HALVES),
    "cat": Case(lambda x: torch.cat([x, ROW, x], 1), [{1: [*UNITS, 0, *UNITS]}]),
    "cat space": Case(lambda x: torch.cat([x, x], 2), SAME),
    "cat of other units": Case(lambda x, w: torch.cat([x, w.expand(2, 4)], 0), SAME, [], (3, 4), 1, {"w": (4,)},
                               ties=[{1, 5}, {2, 6}, {3, 7}, {4, 8}]),
    "cat with a constant that stays": Case(lambda x: torch.cat([x, ROWS]), SAME, UNITS, (3, 4)),
    "cat with nothing": Case(lambda x: torch.cat([torch.ones(0), x], 1), SAME),
    "concat": Case(lambda x: torch.concat([x, x], -3), [{1: UNITS * 2}]),
    "stack": Case(lambda x: torch.stack([x, x]), [{2: UNITS}]),
    "stack last": Case(lambda x: torch.stack([x, x.flip(1)], -1), [{1: [A, B, B, A]}], ties=[{A, D}, {B, C}]),
    "rotate pairs": Case(
        lambda x: torch.view_as_real(torch.view_as_complex(x.contiguous()) * torch.polar(torch.ones(3), torch.ones(3))),
        SAME, shape=(2, 4, 3, 2),
    ),
    "pairs of units": Case(lambda x: torch.view_as_complex(x).abs(), [{}], UNITS[:2], (2, 3, 2), 2),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_movement(name: str) -> None:
    CASES[name].check()


def test_equal_parts_lose_alike() -> None:
    assert follow(lambda x: x.chunk(2, 1)).ties == follow(lambda x: x[:, :2]).ties == HALVES


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_slice_takes_the_labels_that_it_takes_of_a_list(step: int) -> None:
    for start, stop in itertools.product(range(-5, 6), [None, *range(-5, 6)]):
        followed = follow(lambda x, part=slice(start, stop, step): x[:, part], (2, 4))
        kept = UNITS[start:stop:step]
        assert followed.out == [{1: kept} if kept else {}]
        parts = step == 1 and len(kept) in (2, 4) and (kept[0] - 1) % len(kept) == 0
        parts |= kept in ([A, C], [B, D])
        assert followed.frozen == ([] if parts else UNITS), (start, stop)


@pytest.mark.parametrize("dims", [(0, 1), (1, 2), (3, 1)])
def test_moving_there_and_back_changes_nothing(dims: tuple[int, int]) -> None:
    def both(x: Tensor) -> Tensor:
        return x.transpose(*dims).contiguous().transpose(*dims)

    followed = follow(both)
    assert followed.out == SAME and not followed.frozen and not followed.ties


def test_every_op_is_run() -> None:
    check_every_op("movement", CASES.values())
