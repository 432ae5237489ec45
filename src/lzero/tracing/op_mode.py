"""Every op of a forward, handed to its rule."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from lzero._torch import EagerDispatchMode, can_decompose
from lzero.host.module_path import ModulePath
from lzero.host.tensors import tensors_in
from lzero.tracing.label import fixed
from lzero.tracing.op_call import OpCall
from lzero.tracing.origins import note_origin
from lzero.tracing.rules import find_rule
from lzero.tracing.rules.creation import constant
from lzero.tracing.tensor_table import TensorTable, storage_pointer

_LEAST = 1024  # elements that an op counts for besides those that it makes: it takes time, too
_RESTRIDED = (torch.ops.aten.as_strided, torch.ops.aten.as_strided_)


class TooMuchWork(Exception):
    """A forward makes more than it may."""


class OpMode(EagerDispatchMode):
    """A dispatch mode that runs every op and hands it to its rule.

    Attributes:
        steps: of each op the memory that it wrote and read, and whether it gave a number.
        picked: by id of a tensor that no op has read, the step that picked it by a number.
        work: elements that ops have made, and a few for each op.
        most: how much of it there may be.
    """

    def __init__(self, table: TensorTable, where: ModulePath) -> None:
        super().__init__()
        self._table, self._where = table, where
        self.steps: list[tuple[set[int], set[int], bool]] = []
        self.picked: dict[int, int] = {}
        self.work, self.most = 0, math.inf

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The op's own result; what the op says about labels is written down on the way.

        Raises:
            TooMuchWork: it goes beyond :attr:`most`.
        """
        kwargs = kwargs or {}
        if find_rule(func) is None and can_decompose(func):  # a composite op reaches a mode in inference only
            with self:
                return func.decompose(*args, **kwargs)
        moved = func.overloadpacket in _RESTRIDED
        before = (args[0].stride(), args[0].storage_offset()) if moved else None
        out = func(*args, **kwargs)
        with self._table.bookkeeping():
            call = OpCall(func, args, kwargs, out, self._table, self._where.current, before)
            self._table.book.step = len(self.steps)
            self._record(call)
            for tensor in call.inputs:
                self.picked.pop(id(tensor), None)
            if func.overloadpacket is torch.ops.aten.select:
                self.picked[id(out)] = len(self.steps)
            made, read = ({storage_pointer(tensor) for tensor in tensors} for tensors in (call.outputs, call.inputs))
            self.steps.append((made, read, not made or 0 in made))
            self._table.book.step = -1
            self.work += _LEAST + sum(tensor.numel() for tensor in call.outputs)
        self.check_work()
        return out

    def check_work(self) -> None:
        """Raise TooMuchWork where there is more than there may be."""
        if self.work > self.most:
            raise TooMuchWork

    def thaw_unused(self, outputs: Any, read: set[int]) -> None:
        """Take back what ops froze whose results reach neither ``outputs`` nor a number or size that Python reads.

        ``read`` is the memory of the tensors whose sizes were. Of ``x[:, :, -1]`` it is the other dims that have sizes.
        """
        returned = list(tensors_in(outputs))
        alive = {storage_pointer(tensor) for tensor in returned} | read
        unused = set(self.picked.values()) - {self.picked.get(id(tensor), -1) for tensor in returned}
        for step, (made, used, number) in reversed(list(enumerate(self.steps))):
            if number or made & alive:
                alive |= used
            else:
                unused.add(step)
        self._table.book.thaw(unused)

    def _record(self, call: OpCall) -> None:
        known = False
        for tensor in call.inputs:
            found = self._table.find(tensor)
            if found is None:
                self._freeze_hidden_views(call, tensor)
            else:
                known = True
                if found.source is not None:
                    self._table.users.setdefault(found.source, set()).add(call.path)
        rule = find_rule(call.func)
        note_origin(call, self._table)
        if not known and (rule is None or rule.label is not constant):
            return
        if rule is None:
            self._freeze_all(call, "there is no rule for the op")
            return
        try:
            rule.label(call)
            call.note_parameters()
            made = rule.zeros(call)
            for out in call.outputs:
                self._table.mark(out, made)
                if call.squares:
                    self._table.squares.add(id(out))
        except Exception as error:  # a rule that does not fit must cost gates, never correctness or a crash
            self._freeze_all(call, f"the op's rule does not fit: {type(error).__name__}: {error}")

    def _freeze_hidden_views(self, call: OpCall, tensor: Tensor) -> None:
        """Freeze what shares memory with a tensor that no op led to, e.g. one that went through NumPy."""
        for relative in self._table.sharing(tensor):
            for labels in relative.axes:
                call.freeze(labels, "its memory is used through a tensor that cannot be followed")

    def _freeze_all(self, call: OpCall, why: str) -> None:
        for tensor in call.inputs:
            for labels in call.axes(tensor):
                call.freeze(labels, why, "gate other layers, or replace the op by one that has a rule")
        for out in call.outputs:
            self._table.add(out, fixed(tuple(out.shape)))
