"""``lzero info``: versions and machine; what can be gated in a model; what a finished run has shipped."""

from __future__ import annotations

import argparse
import importlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lzero.discover import discover
from lzero.errors import LzeroError
from lzero.plan.remainder import Counted
from lzero_lab import datasets, models
from lzero_lab.cli import options as opt
from lzero_lab.cli import texts
from lzero_lab.cli.console import console, show_table
from lzero_lab.cli.machine import show_machine
from lzero_lab.cli.run_info import show_run
from lzero_lab.errors import UsageError

_MEASURES: tuple[Counted, ...] = ("params", "macs")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "info",
        help="versions and machine; what can be gated in a model; what a finished run has shipped",
        description="Alone: versions and machine, for a report of a bug. Of a model: which units can be gated exactly, "
        "why others cannot, and what the model costs. Of the folder of a finished run: units, parameters and MACs of "
        "every layer, file size and time of a forward on this machine, before -> after.",
    )
    parser.add_argument(
        "function",
        nargs="?",
        metavar="RUN or package.module:function",
        help="folder of a finished run; or a function without arguments that returns a model, or (model, "
        "example_inputs); else --model on --data",
    )
    parser.add_argument(
        "--input", type=_shape, metavar="1,3,32,32", help="shape of the example input, where the function returns none"
    )
    parser.add_argument(
        "--target", type=texts.density, nargs="+", default=[], metavar="0.1", help="densities: can they be met?"
    )
    opt.add_data(parser)
    parser.set_defaults(data=None, model=None)
    parser.set_defaults(run=run, check=check, nothing=vars(parser.parse_args([])))


def check(options: argparse.Namespace) -> str | None:
    """What is wrong with options that do not go together."""
    return "--input is for a package.module:function; leave it out" if options.input and not options.function else None


def run(options: argparse.Namespace) -> None:
    """Show what was asked for."""
    if all(getattr(options, name) == value for name, value in options.nothing.items()):
        show_machine()
        return
    if options.function and ":" not in options.function and Path(options.function).is_dir():
        show_run(Path(options.function), options.data_dir)
        return
    if options.function:
        model, inputs = _call(options.function, options.input)
        name = options.function
    else:
        data = datasets.load(options.data or opt.DATA, options.data_dir)
        named = options.model or opt.MODEL
        model, inputs, name = models.build(named, data), data.train_x[:1], f"{named} on {data.name}"
    plan = replace(discover(model, inputs, granularity=options.granularity), round_to=options.round_to)
    console().print(str(plan))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    sizes = {path: parameter.numel() for path, parameter in model.named_parameters()}
    macs = round(sum(count * sizes[path] for path, count in plan.positions.items()))
    show_table([{"model": name, "parameters": parameters, "macs": macs}])
    for target in options.target:
        for measure in _MEASURES:
            console().print(str(plan.check(target, measure)))


def _call(place: str, shape: tuple[int, ...] | None) -> tuple[nn.Module, Any]:
    """The model and example inputs that the function at ``place`` returns.

    Raises:
        UsageError: it cannot be imported, it fails or exits, or it returns something else.
    """
    path, _, name = place.partition(":")
    if not path or not name:
        raise UsageError(f"{place}: expected package.module:function")
    if "" not in sys.path:
        sys.path.insert(0, "")  # as with python -m: the folder that one stands in
    try:
        made = getattr(importlib.import_module(path), name)()
    except LzeroError:
        raise
    except (Exception, SystemExit, KeyboardInterrupt) as problem:
        raise UsageError(
            f"{place}: {type(problem).__name__}: {problem}; expected an importable function without arguments"
        ) from problem
    model, inputs = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"{place}: returned {type(made).__name__}; expected an nn.Module, or an nn.Module with its example inputs"
        )
    if shape is not None:
        try:
            inputs = torch.randn(shape)
        except RuntimeError as problem:  # more numbers than there is memory, or than can be counted
            raise UsageError(
                f"--input: no tensor of shape {shape} ({type(problem).__name__}); ask for less"
            ) from problem
    if inputs is None:
        raise UsageError(
            f"{place}: returned a model without example inputs; return (model, example_inputs), or pass --input, such "
            "as --input 1,3,32,32"
        )
    return model, inputs


def _shape(text: str) -> tuple[int, ...]:
    return tuple(texts.positive(int)(part) for part in text.split(","))
