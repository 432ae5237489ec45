"""The labels of a model: one eager forward of a copy, watched op by op."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from lzero.errors import StructureError
from lzero.host.cache import IN_CACHE, cached_tensors, results_in, states_in
from lzero.host.inputs import ExampleInputs
from lzero.host.module_path import ModulePath
from lzero.host.quiet import isolated_random_state, unfused
from lzero.host.stand_ins import exact_ops
from lzero.host.tensors import tensors_in
from lzero.plan.refusal import Reason
from lzero.tracing.calls import Calls
from lzero.tracing.decisions import Decisions, Way, deciding
from lzero.tracing.enrol import check_traceable, enrol
from lzero.tracing.guards import Guard, SizeUse
from lzero.tracing.label import Axes, Classes, IntArray
from lzero.tracing.norm_call import NormSite
from lzero.tracing.norm_watch import NormWatch
from lzero.tracing.op_mode import OpMode
from lzero.tracing.size_mode import SizeMode
from lzero.tracing.swapped import freeze_swapped
from lzero.tracing.tensor_table import TensorTable
from lzero.tracing.undo import Undo
from lzero.tracing.ways import Explored, explore


@dataclass(frozen=True, eq=False)
class Trace:
    """What one forward said about a model.

    Attributes:
        classes: which indices of which tensors stay or go together.
        macs: multiply-accumulates of the forward, by the parameter that products and convolutions read; 0 where only
            other ways of it do.
        users: paths of the modules whose forward used each parameter; unused ones are absent.
        guards: what the forward asked about sizes in Python.
        uses: what it asked dims to be long.
        calls: what each module that was called once was called with, by path.
        loosens: whether a dim was cut at numbers of modules, so that a ``loose`` trace would say more.
        swapped: paths at which the forward has put other modules than there were, so that the traced copy is no longer
            what a fresh one is.
        norms: the modules that normalise over units that may leave.
        explored: the other ways of the forward, where it decides by values.
        given: labels of what each module was given that was called, by path.
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
    explored: Explored = field(default_factory=lambda: Explored())
    given: Mapping[str, list[IntArray]] = field(default_factory=dict)
    states: Mapping[str, Axes] = field(default_factory=dict)


def trace(
    model: nn.Module,
    example_inputs: Any,
    wide: Callable[[str], bool] = lambda path: False,
    *,
    loose: bool = False,
    redraw: Callable[[int], ExampleInputs] | None = None,
) -> Trace:
    """The labels of ``model``, which must be a private copy in eval mode.

    ``wide`` says of the path of a norm whether the units that it normalises over may be gated. With ``loose``, parts of
    a dim that is cut at numbers of modules are free of each other. ``redraw`` gives the weights of the model, and the
    inputs that it returns, the values of a draw with a number.

    Raises:
        StructureError: the model does not run on ``example_inputs``, naming the submodule that failed; it has
            parameters without shape or values, or a part that ``torch.jit`` made.
    """
    table = TensorTable()
    check_traceable(model)
    enrol(model, table)
    where, calls, before = ModulePath(model), Calls(model, table.axes_of), dict(model.named_modules())
    norms = NormWatch(model, table, wide)
    watch, ops = SizeMode(table, where, loose=loose), OpMode(table, where)
    outputs = list[Any]()

    def run(way: Way) -> Decisions:
        inputs = ExampleInputs.of(redraw(way.draw) if way.draw and redraw is not None else example_inputs)
        where.reset()
        with (
            unfused(),
            exact_ops(model),
            torch.no_grad(),
            isolated_random_state(model),
            ops,
            watch,
            deciding(way) as decisions,
        ):
            outputs.append(inputs.call(model))
            ops.check_work()  # the forward may have caught it
        return decisions

    def run_other(way: Way) -> Decisions:
        ops.most = min(ops.work + each, total)
        return run(way)

    with watch.numbers_of(model):
        try:
            first = run(Way())
        except Exception as error:
            if table.fault is not None:  # ours: it must not read like a fault of the model's
                raise table.fault from None
            raise _does_not_run(model, example_inputs, where.current, error) from error
        called, macs = calls.remove(), dict(table.macs)
        notes = [*table.notes, *watch.notes, norms.sites, ops.steps, ops.picked, outputs]
        names = frozenset(name for name, _ in model.named_parameters())
        each = max(_EACH * ops.work, _SMALL)
        total = ops.work + _ALL * each
        explored = explore(run_other, first, lambda: names - table.users.keys(), lambda: Undo(notes).back)
    if table.fault is not None:  # one that the forward has caught, and went on
        raise table.fault
    norms.remove()
    where.remove()
    ops.thaw_unused(outputs, watch.read)
    swapped = freeze_swapped(model, before, table)
    for returned in outputs:
        _freeze_results(returned, model, table)
    states = {n: kept.axes for n, held in states_in(outputs[0], model).items() if (kept := table.find(held))}
    classes = table.book.classes()
    return Trace(
        classes,
        {name: macs.get(name, 0) for name in table.macs},
        table.users,
        watch.guards(classes),
        watch.uses,
        called,
        watch.loosens,
        swapped,
        tuple(norms.sites.values()),
        explored,
        calls.given,
        states,
    )


def _freeze_results(returned: Any, model: nn.Module, table: TensorTable) -> None:
    cached = cached_tensors(returned)
    for tensor in results_in(returned, model):
        reason = IN_CACHE if id(tensor) in cached else _OUTPUT
        for known in [found] if (found := table.find(tensor)) is not None else table.sharing(tensor):
            for labels in known.axes:
                table.book.freeze(labels, reason)


def _does_not_run(model: nn.Module, inputs: Any, path: str, error: Exception) -> StructureError:
    return StructureError(
        f"the model does not run on the example inputs: {path or type(model).__name__} raised "
        f"{type(error).__name__}: {error}. Tensors given: {_shapes(inputs)}. Pass what the training loop passes, with "
        "its batch dim: a tensor, a tuple of arguments, or a dict of keyword arguments (a forward that takes one dict: "
        "a tuple that holds it)"
    )


def _shapes(inputs: Any) -> str:
    try:
        return ", ".join("nested" if t.is_nested else str(tuple(t.shape)) for t in tensors_in(inputs)) or "none"
    except Exception as error:  # a container of somebody's own
        return f"unknown ({type(inputs).__name__} raised {type(error).__name__})"


_EACH, _SMALL = 16, 2**25  # what another way may make: a multiple of what the first forward makes; in any case
_ALL = 4  # all of them together, as a multiple of that
_OUTPUT = Reason("it is an output of the model")
