"""One battery for every op rule: four labelled units on dim 1 (or where ``dim`` says), and what they meet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from lzero.host.module_path import ModulePath
from lzero.host.tensors import tensors_in
from lzero.tracing.label import Classes, fixed
from lzero.tracing.op_call import OpCall
from lzero.tracing.op_mode import OpMode
from lzero.tracing.rules.registry import RULES, Rule
from lzero.tracing.tensor_table import TensorTable

A, B, C, D = UNITS = [1, 2, 3, 4]
SAME = [{1: UNITS}]
OUTSIDE = torch.ones(4, 1, 1)  # made before the forward, so that nothing of it can be removed


@dataclass
class Followed:
    """What became of the labels: by output the labelled dims, the classes, and the table."""

    out: list[dict[int, list[int]]]
    classes: Classes
    table: TensorTable

    @property
    def frozen(self) -> list[int]:
        return [label for label in range(1, self.classes.root.size) if self.classes.reason[label] >= 0]

    @property
    def reasons(self) -> str:
        return "; ".join(reason.text for reason in self.classes.reasons)

    @property
    def read(self) -> list[int]:
        """The labels that a product contracts over at a parameter."""
        return np.flatnonzero(self.classes.consumer).tolist()

    @property
    def ties(self) -> list[set[int]]:
        """Classes with more than one label."""
        roots = self.classes.root[1:]
        members = [set((np.flatnonzero(roots == root) + 1).tolist()) for root in np.unique(roots)]
        return [labels for labels in members if len(labels) > 1]


def follow(
    op: Callable[..., Any], shape: tuple[int, ...] = (2, 4, 6, 6), dim: int = 1, **parameters: Tensor
) -> Followed:
    """Run ``op`` on a tensor whose units 1, 2, ... lie on ``dim``, and on ``parameters`` with labels of their own."""
    table = TensorTable()
    x = torch.randn(shape)
    axes = list(fixed(shape))
    axes[dim] = table.book.enrol("x", (shape[dim],))[0]
    table.add(x, tuple(axes))
    for name, tensor in parameters.items():
        table.add(tensor, table.book.enrol(name, tuple(tensor.shape)), source=name)
    enrolled = table.book.size
    with torch.no_grad(), OpMode(table, ModulePath(nn.Identity())):
        result = op(x, **parameters)
    out = []
    for tensor in tensors_in(result):
        found = table.find(tensor)
        known = found.axes if found is not None else fixed(tuple(tensor.shape))
        assert [labels.size for labels in known] == list(tensor.shape)
        own = [np.where(labels <= enrolled, labels, 0) for labels in known]
        out.append({d: labels.tolist() for d, labels in enumerate(own) if labels.any()})
    return Followed(out, table.book.classes(), table)


@dataclass
class Case:
    """An op and what it must do to the labels; parameters ``weights`` have theirs from 5 on, in order.

    Attributes:
        out: by output the labelled dims.
        frozen: all labels that no gate may remove.
        weights: shapes of the parameters that the op takes by name.
        read: labels of parameters that a product contracts over.
        macs: multiply-accumulates by parameter.
        ties: the classes of several labels; None where that is not asked.
    """

    op: Callable[..., Any]
    out: list[dict[int, list[int]]]
    frozen: list[int] = field(default_factory=list)
    shape: tuple[int, ...] = (2, 4, 6, 6)
    dim: int = 1
    weights: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    read: list[int] = field(default_factory=list)
    macs: Mapping[str, int] = field(default_factory=dict)
    ties: list[set[int]] | None = None

    def follow(self, *, inference: bool = False) -> Followed:
        """The case run, in inference mode if wanted: only there do composite ops come as they are."""
        with torch.inference_mode() if inference else nullcontext():
            weights = {name: torch.randn(shape) for name, shape in self.weights.items()}
            return follow(self.op, self.shape, self.dim, **weights)

    def check(self) -> None:
        """Raise where the labels are not as they must be, in either mode."""
        for inference in (False, True):
            found = self.follow(inference=inference)
            assert found.out == self.out, inference
            assert found.frozen == self.frozen, found.reasons
            assert found.read == self.read
            assert found.table.macs == self.macs
            assert self.ties is None or found.ties == self.ties


def exists(op: str) -> bool:
    """Whether this PyTorch has an op of that name."""
    return hasattr(torch.ops.aten, op.removeprefix("aten."))


def check_every_op(
    module: str,
    cases: Iterable[Case],
    aliases: Mapping[str, str] | None = None,
    absent: Iterable[str] = (),
    elsewhere: Iterable[str] = (),
) -> None:
    """Raise where the rule of an op in ``lzero.tracing.rules.<module>`` is not run by one of ``cases``.

    Args:
        module: name of the file of rules.
        cases: what is run, each in both modes.
        aliases: ops that cannot run here (other devices), by an op that can and has the same rule and arguments.
        absent: names of ops that this PyTorch, or the oldest, need not have.
        elsewhere: ops that a test of their own calls.
    """
    registered = {op for op, rule in RULES.items() if rule.label.__module__ == f"lzero.tracing.rules.{module}"}
    asked: dict[str, set[str]] = {}
    with noting(asked):
        for case in cases:
            for inference in (False, True):
                case.follow(inference=inference)
    for alias, op in (aliases or {}).items():
        assert RULES[alias] == RULES[op], f"{alias} has another rule than {op}"
        assert op in asked, f"{op} is run by no case, and cannot stand for {alias}"
        packet = getattr(torch.ops.aten, alias.removeprefix("aten."), None)
        for overload in packet.overloads() if packet is not None else ():
            names = {argument.name for argument in getattr(packet, overload)._schema.arguments}
            assert asked[op] <= names, f"{alias}.{overload} has no arguments {sorted(asked[op] - names)}"
    known = {op for op in registered if op == "pointwise" or exists(op)}
    assert registered - known <= {*absent}, "ops that PyTorch does not have: misspelt?"
    assert sorted(known - asked.keys() - (aliases or {}).keys() - {*elsewhere}) == [], "no case runs these"


class _Asked(dict[str, Any]):
    """Arguments of a call that remember which were read."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        super().__init__(arguments)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.read.add(name)
        return super().__getitem__(name)


@contextmanager
def noting(asked: dict[str, set[str]]) -> Iterator[None]:
    """A context that fills ``asked``: by op whose rule ran and fitted, the arguments that it always read."""
    begin = OpCall.__init__

    def init(self: OpCall, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        self.arguments = _Asked(self.arguments)

    def watched(op: str, rule: Rule) -> Rule:
        def zeros(call: OpCall) -> Any:  # asked last, after a rule that has not failed
            read: set[str] = call.arguments.read  # type: ignore[attr-defined]
            asked[op] = asked.get(op, read) & read
            return rule.zeros(call)

        return Rule(rule.label, zeros)

    rules = {op: watched(op, rule) for op, rule in RULES.items()}
    with patch.dict(RULES, rules), patch.object(OpCall, "__init__", init):
        yield
