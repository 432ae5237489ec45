"""The table of rules, by the name of the op."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from lzero._torch import arguments_of
from lzero.tracing.op_call import Call

Rule = Callable[[Call], None]

RULES: dict[str, Rule] = {}


def rule(*ops: str) -> Callable[[Rule], Rule]:
    """A decorator that registers a function as the rule of ``ops``, e.g. ``"aten.addmm"``."""

    def register(function: Rule) -> Rule:
        for op in ops:
            RULES[op] = function
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
