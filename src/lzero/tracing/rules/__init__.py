"""What each ATen op does to labels: one small function per op, found by the op's name.

To teach the tracer an op, write a function of a :class:`~lzero.tracing.op_call.OpCall` and decorate it with the op's
name: ``@rule("aten.roll")``. It says what the op ties (``call.unify``) and forbids (``call.freeze``), and gives the
output its labels (``call.give``). The in-place form of an op needs no rule of its own.
"""

from __future__ import annotations

from lzero.tracing.rules import (
    attention,
    channels,
    convolution,
    creation,
    grouped,
    indexing,
    linear,
    movement,
    normalization,
    pointwise,
    reduction,
    reshape,
    sequences,
    solving,
    spatial,
)
from lzero.tracing.rules.registry import RULES, find_rule, rule

__all__ = [
    "RULES",
    "attention",
    "channels",
    "convolution",
    "creation",
    "find_rule",
    "grouped",
    "indexing",
    "linear",
    "movement",
    "normalization",
    "pointwise",
    "reduction",
    "reshape",
    "rule",
    "sequences",
    "solving",
    "spatial",
]
