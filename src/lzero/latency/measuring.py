"""Measuring a table of latencies: every layer alone over a grid of widths, and whole forwards in place."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import nn

from lzero.checks import shown, whole
from lzero.discover import discover
from lzero.errors import BudgetError, StructureError
from lzero.host.cache import without_cache
from lzero.host.copies import private_copy
from lzero.host.inputs import ExampleInputs
from lzero.host.mode import set_mode
from lzero.host.progress import Progress
from lzero.host.quiet import isolated_random_state
from lzero.host.wrappers import unwrap
from lzero.latency.alone import Sample, feature_dim, is_transposed, key_of, narrowed, sides
from lzero.latency.assembly import Forward, Grid, assemble
from lzero.latency.layer import Side
from lzero.latency.place import Spans, Stations, layers_in
from lzero.latency.shares import Narrow, narrow_models
from lzero.latency.table import Table
from lzero.latency.timer import Clock, Timer, computing_with, device_name
from lzero.latency.widths import widths_to_time
from lzero.plan.plan import Plan
from lzero.surgery.attached import gates_of, root_gates
from lzero.surgery.remove import without_gates

_ROUNDS, _SECONDS = 21, 5.0  # of whole forwards, at most
_ROW = 0.5  # seconds for the readings of one row of a grid; each has one in any case


@torch.no_grad()
def measure(
    model: nn.Module,
    inputs: Any = None,
    device: torch.device | str | None = None,
    *,
    threads: int | None = None,
    grid: int = 12,
    repeats: int = 9,
    warmup: int = 2,
    progress: bool | None = None,
    clock: Clock = perf_counter,
) -> Table:
    """What the layers of ``model`` take on a device, by their widths: what a budget of latency is counted with.

    Every Linear and convolution is timed alone, on tensors of the shapes that it sees in a forward of ``inputs``, over
    a grid of widths; equal layers once. Whole forwards of the model and of narrow ones then say what a layer takes in
    place and what follows it (norms, activations, attention). Layers of other
    kinds are timed in place alone. The table lists those whole forwards beside what it says of them: ``print`` it.

    ``model`` itself is neither moved nor changed; times are of eval mode, without gradients and eager.

    Args:
        model: with gates attached; or without, where they are discovered, with the default granularity.
        inputs: of one forward, with the batch that the latency is wanted for; by default those that the gates were
            attached with.
        device: to measure on; by default that of the model.
        threads: of PyTorch, on a CPU; by default as many as it uses.
        grid: about how many widths of each side of a layer are timed.
        repeats: readings of each of them, which take turns; the shortest counts. Of long calls there are fewer.
        warmup: calls before the first reading.
        progress: as for :func:`lzero.discover`.
        clock: gives seconds.

    Raises:
        BudgetError: a number of the settings that is none, or a model without layers that compute with weights.
        StructureError: no module, no inputs, a model that does not run on them, or a device that is not here.
    """
    for name, value, least in (("grid", grid, 2), ("repeats", repeats, 1), ("warmup", warmup, 0)):
        whole(name, value, least=least, expected=f"a whole number >= {least}", error=BudgetError)
    if threads is not None:
        whole("threads", threads, least=1, expected="a whole number >= 1, or None", error=BudgetError)
    plan, plain, given = _prepared(model, inputs, device)
    where = next((tensor.device for tensor in (*plain.parameters(), *plain.buffers())), torch.device("cpu"))
    timer = Timer(where, clock)
    bar = Progress("timing layers", progress, unit="layers")
    with bar, computing_with(threads) as used, isolated_random_state(plain):
        layers = layers_in(plain, plan, lambda: given.call(plain))
        if not layers:
            raise BudgetError(
                f"{type(plain).__name__}: no layer computes with weights that a plan counts; measure a model with "
                "some, such as a Linear or a convolution"
            )
        samples = _samples(plain, layers, given)
        by_path = {path: _sides(plain.get_submodule(path), path in samples, plan, layers[path]) for path in layers}
        narrow = narrow_models(plain, plan, given, by_path)
        bar.more(len(layers) + len(narrow))
        forwards = _forwards(narrow, tuple(layers), given, timer, warmup)
        bar.done(len(narrow))
        grids: dict[str, Grid] = {}
        known: dict[tuple[Any, ...], Grid] = {}
        for path in layers:
            if path in samples:
                module = plain.get_submodule(path)
                key = key_of(module, samples[path])
                if key not in known:
                    known[key] = _grid(module, samples[path], timer, grid, repeats, warmup)
                grids[path] = known[key]
            bar.done(1)
    before, found, checks = assemble(by_path, grids, forwards)
    shapes = tuple(tuple(tensor.shape) for tensor in given)
    return Table(found, before, device_name(where), used, str(torch.__version__), shapes, checks)


def _prepared(model: object, inputs: Any, device: torch.device | str | None) -> tuple[Plan, nn.Module, ExampleInputs]:
    """The plan, a plain copy of the model to cut and run, and the inputs, where they are wanted."""
    if not isinstance(model, nn.Module):
        raise StructureError(f"latency.measure: expected an nn.Module, found {shown(model)}")
    model = unwrap(model)
    if gates_of(model) is not None:
        plan, plain = root_gates(model).plan, without_gates(model)
        set_mode(plain, training=False)
        without_cache(plain)
    elif inputs is None:
        raise StructureError("latency.measure: inputs are needed for a model without gates; pass a batch")
    else:
        plan, plain = discover(model, inputs), private_copy(model)
    given = ExampleInputs.of(plan.example_inputs if inputs is None else inputs)
    if device is None:
        device = next((parameter.device for parameter in plain.parameters()), torch.device("cpu"))
    try:
        where = torch.device(device)
        return plan, plain.to(where), given.copy().to(where)
    except Exception as error:  # of PyTorch, whatever a build without that device raises
        said = next(iter(str(error).splitlines()), "")
        raise StructureError(
            f"latency.measure: device: {shown(device)} cannot be used ({type(error).__name__}: {said}); pass one that "
            'is here, such as "cpu", or None for that of the model'
        ) from error


def _samples(model: nn.Module, paths: Mapping[str, Any], given: ExampleInputs) -> dict[str, tuple[Sample, ...]]:
    """Path of a layer that can be timed alone -> what it is called with in one forward."""
    found: dict[str, list[Sample]] = {}
    hooks = []
    for path in paths:
        module = model.get_submodule(path)
        if sides(module) is not None:

            def note(module: nn.Module, args: Any, path: str = path) -> None:
                found.setdefault(path, []).append(Sample.of(args[0]))

            hooks.append(module.register_forward_pre_hook(note))
    try:
        given.call(model)
    finally:
        for hook in hooks:
            hook.remove()
    return {path: tuple(held) for path, held in found.items()}


def _sides(module: nn.Module, alone: bool, plan: Plan, names: tuple[str, ...]) -> tuple[Side, Side]:
    """The dims of a layer's rows and columns: of one that is timed in place all dims are rows."""
    order = (1, 0) if is_transposed(module) else (0, 1)
    dims: list[Side] = [tuple((name, dim, plan.shapes[name][dim]) for name in names) for dim in order]
    if not alone:
        return (*dims[0], *dims[1]), ()
    found = sides(module)
    return dims[0], dims[1] if found is not None and found[1] else ()


def _forwards(
    narrow: list[Narrow], paths: tuple[str, ...], given: ExampleInputs, timer: Timer, warmup: int
) -> list[Forward]:
    """Whole forwards of every model with and without stations, in turns."""
    calls = [(lambda model=one.model: given.bare(model)) for one in narrow]
    for call in calls:
        timer.warm(call, warmup)
    spans: list[list[Spans]] = [[] for _ in narrow]
    seconds: list[list[float]] = [[] for _ in narrow]
    begun = timer.now()
    while len(seconds[0]) < _ROUNDS and (len(seconds[0]) < 2 or timer.now() - begun < _SECONDS):
        for number, (one, call) in enumerate(zip(narrow, calls, strict=True)):
            seconds[number].append(timer.after_one(call))
            stations = Stations(one.model, paths, timer)
            try:
                spans[number].append(stations.spans(call))
            finally:
                stations.remove()
    return [
        Forward(one.share, one.widths, _shortest(found), min(times))
        for one, found, times in zip(narrow, spans, seconds, strict=True)
    ]


def _shortest(spans: list[Spans]) -> Spans:
    """The shortest of every span."""

    def each(tables: list[dict[str, float]]) -> dict[str, float]:
        return {path: min(table.get(path, 0.0) for table in tables) for path in tables[0]}

    return Spans(
        min(span.before for span in spans),
        each([span.inside for span in spans]),
        each([span.behind for span in spans]),
        spans[0].calls,
    )


def _grid(module: nn.Module, samples: tuple[Sample, ...], timer: Timer, grid: int, repeats: int, warmup: int) -> Grid:
    """Seconds of all calls of a layer in one forward, alone, over its widths; rows by rows, so that few are held."""
    rows, columns = sides(module) or (0, 0)
    row_widths = widths_to_time(rows, grid)
    column_widths = widths_to_time(columns, grid) if columns else (0,)
    seconds = np.zeros((len(row_widths), len(column_widths)))
    for sample in samples:
        dim = feature_dim(module, sample)
        for number, width in enumerate(row_widths):
            calls = []
            for column in column_widths:
                layer, reads = narrowed(module, width, column)
                x = sample.narrowed(reads, dim, timer.device)
                calls.append(lambda layer=layer, x=x: layer(x))
            seconds[number] += timer.each(calls, repeats, warmup, _ROW)
    return Grid(row_widths, column_widths, seconds)
