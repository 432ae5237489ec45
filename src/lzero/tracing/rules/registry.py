"""The table of rules, by the name of the op."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from lzero._torch import arguments_of
from lzero.tracing.label import Zeroing
from lzero.tracing.op_call import OpCall


def never_zero(call: OpCall) -> Zeroing:
    """Nothing makes the output zero: what holds of an op whose rule does not say more."""
    return frozenset()


@dataclass(frozen=True)
class Rule:
    """What an op does.

    Attributes:
        label: says what the op ties and forbids, and gives its outputs their labels.
        zeros: which parameters make its output zero, from what its arguments are; see :mod:`lzero.tracing.gated_sums`.
    """

    label: Callable[[OpCall], None]
    zeros: Callable[[OpCall], Zeroing] = never_zero


RULES: dict[str, Rule] = {}


def rule(
    *ops: str, zeros: Callable[[OpCall], Zeroing] = never_zero
) -> Callable[[Callable[[OpCall], None]], Callable[[OpCall], None]]:
    """A decorator that registers a function as the rule of ``ops``, e.g. ``"aten.addmm"``."""

    def register(function: Callable[[OpCall], None]) -> Callable[[OpCall], None]:
        for op in ops:
            RULES[op] = Rule(function, zeros)
        return function

    return register


def find_rule(func: Any) -> Rule | None:
    """The rule of an op: its own, that of its functional form, or that of all elementwise ops; None if there is none.

    Ops that write into an ``out=`` argument have none: what was in that tensor before would have to match.
    """
    if any(argument.is_out for argument in arguments_of(func)):
        return None
    op = str(func.overloadpacket)
    found = RULES.get(op) or RULES.get(op.removesuffix("_"))
    if found is None and torch.Tag.pointwise in func.tags:
        found = RULES["pointwise"]
    return found
