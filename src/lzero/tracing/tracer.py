"""The labels of a model: one eager forward of a copy, watched op by op."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lzero._torch import EagerDispatchMode, can_decompose
from lzero.errors import StructureError
from lzero.host.cache import IN_CACHE, cached_tensors, results_in, states_in
from lzero.host.inputs import ExampleInputs
from lzero.host.module_path import ModulePath
from lzero.host.quiet import isolated_random_state, unfused
from lzero.host.stand_ins import exact_ops
from lzero.host.tensors import check_materialized, tensors_in
from lzero.plan.refusal import Reason
from lzero.tracing.calls import Calls
from lzero.tracing.enrolment import enrol
from lzero.tracing.guards import Guard, SizeUse
from lzero.tracing.label import Axes, Classes, fixed
from lzero.tracing.norm_call import NormSite
from lzero.tracing.norm_watch import NormWatch
from lzero.tracing.op_call import OpCall
from lzero.tracing.origins import note_origin
from lzero.tracing.rules import find_rule
from lzero.tracing.rules.creation import constant
from lzero.tracing.size_mode import SizeMode
from lzero.tracing.swapped import freeze_swapped
from lzero.tracing.tensor_table import TensorTable, storage_pointer


@dataclass(frozen=True, eq=False)
class Trace:
    """What one forward said about a model.

    Attributes:
        classes: which indices of which tensors stay or go together.
        macs: multiply-accumulates of the forward, by the parameter that products and convolutions read.
        users: paths of the modules whose forward used each parameter; unused ones are absent.
        guards: what the forward asked about sizes in Python.
        uses: what it asked dims to be long.
        calls: what each module that was called once was called with, by path.
        loosens: whether a dim was cut at numbers of modules, so that a ``loose`` trace would say more.
        swapped: paths at which the forward has put other modules than there were, so that the traced copy is no longer
            what a fresh one is.
        norms: the modules that normalise over units that may leave.
        states: labels of what an encoder returns for its decoder, by name.
    """

    classes: Classes
    macs: dict[str, int]
    users: dict[str, set[str]]
    guards: list[Guard]
    uses: list[SizeUse]
    calls: Mapping[str, ExampleInputs]
    loosens: bool = False
    swapped: tuple[str, ...] = ()
    norms: tuple[NormSite, ...] = ()
    states: Mapping[str, Axes] = field(default_factory=dict)


def trace(
    model: nn.Module,
    example_inputs: Any,
    wide: Callable[[str], bool] = lambda path: False,
    *,
    loose: bool = False,
) -> Trace:
    """The labels of ``model``, which must be a private copy in eval mode.

    ``wide`` says of the path of a norm whether the units that it normalises over may be gated. With ``loose``, parts of
    a dim that is cut at numbers of modules are free of each other.

    Raises:
        StructureError: the model does not run on ``example_inputs``, naming the submodule that failed; it has
            parameters without shape or values, or a part that ``torch.jit`` made.
    """
    table = TensorTable()
    _check(model)
    enrol(model, table)
    where, calls, before = ModulePath(model), Calls(model), dict(model.named_modules())
    norms = NormWatch(model, table, wide)
    watch = SizeMode(table, where, loose=loose)
    try:
        with (
            unfused(),
            exact_ops(model),
            torch.no_grad(),
            isolated_random_state(model),
            watch.numbers_of(model),
            Tracer(table, where) as tracer,
            watch,
        ):
            outputs = ExampleInputs.of(example_inputs).call(model)
    except Exception as error:
        if table.fault is not None:  # ours: it must not read like a fault of the model's
            raise table.fault from None
        given = _shapes(example_inputs)
        raise StructureError(
            f"the model does not run on the example inputs: {where.current or type(model).__name__} raised "
            f"{type(error).__name__}: {error}. Tensors given: {given}. Pass what the training loop passes, with its "
            "batch dim: a tensor, a tuple of arguments, or a dict of keyword arguments (a forward that takes one dict: "
            "a tuple that holds it)"
        ) from error
    if table.fault is not None:  # one that the forward has caught, and went on
        raise table.fault
    called, sites = calls.remove(), norms.remove()
    where.remove()
    tracer.thaw_unused(outputs, watch.read)
    swapped = freeze_swapped(model, before, table)
    cached = cached_tensors(outputs)
    for tensor in results_in(outputs, model):
        reason = IN_CACHE if id(tensor) in cached else _OUTPUT
        for known in [found] if (found := table.find(tensor)) is not None else table.sharing(tensor):
            for labels in known.axes:
                table.book.freeze(labels, reason)
    states = {name: kept.axes for name, held in states_in(outputs, model).items() if (kept := table.find(held))}
    classes = table.book.classes()
    guards = watch.guards(classes)
    return Trace(classes, table.macs, table.users, guards, watch.uses, called, watch.loosens, swapped, sites, states)


def _shapes(inputs: Any) -> str:
    try:
        return ", ".join("nested" if t.is_nested else str(tuple(t.shape)) for t in tensors_in(inputs)) or "none"
    except Exception as error:  # a container of somebody's own
        return f"unknown ({type(inputs).__name__} raised {type(error).__name__})"


_OUTPUT = Reason("it is an output of the model")


def _check(model: nn.Module) -> None:
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise StructureError(
                f"{path or 'the model'} was made by torch.jit, so that neither its forward can be followed nor its "
                "layers cut; pass the model as it was before torch.jit.script or trace, and script the purged one"
            )
    check_materialized(model.named_parameters())


_RESTRIDED = (torch.ops.aten.as_strided, torch.ops.aten.as_strided_)


class Tracer(EagerDispatchMode):
    """A dispatch mode that runs every op and hands it to its rule."""

    def __init__(self, table: TensorTable, where: ModulePath) -> None:
        super().__init__()
        self._table, self._where = table, where
        self._steps: list[tuple[set[int], set[int], bool]] = []  # memory written and read, and whether a number is
        self._picked: dict[int, int] = {}  # by id of a tensor that no op has read, the step that picked it by a number

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The op's own result; what the op says about labels is written down on the way."""
        kwargs = kwargs or {}
        if find_rule(func) is None and can_decompose(func):  # a composite op reaches a mode in inference only
            with self:
                return func.decompose(*args, **kwargs)
        moved = func.overloadpacket in _RESTRIDED
        before = (args[0].stride(), args[0].storage_offset()) if moved else None
        out = func(*args, **kwargs)
        with self._table.bookkeeping():
            call = OpCall(func, args, kwargs, out, self._table, self._where.current, before)
            self._table.book.step = len(self._steps)
            self._record(call)
            for tensor in call.inputs:
                self._picked.pop(id(tensor), None)
            if func.overloadpacket is torch.ops.aten.select:
                self._picked[id(out)] = len(self._steps)
            made, read = ({storage_pointer(tensor) for tensor in tensors} for tensors in (call.outputs, call.inputs))
            self._steps.append((made, read, not made or 0 in made))
            self._table.book.step = -1
        return out

    def thaw_unused(self, outputs: Any, read: set[int]) -> None:
        """Take back what ops froze whose results reach neither ``outputs`` nor a number or size that Python reads.

        ``read`` is the memory of the tensors whose sizes were. Of ``x[:, :, -1]`` it is the other dims that have sizes.
        """
        returned = list(tensors_in(outputs))
        alive = {storage_pointer(tensor) for tensor in returned} | read
        unused = set(self._picked.values()) - {self._picked.get(id(tensor), -1) for tensor in returned}
        for step, (made, used, number) in reversed(list(enumerate(self._steps))):
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
