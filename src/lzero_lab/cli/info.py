"""``lzero info``: what can be gated in a model, before anything is trained."""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import Any

import torch
from torch import nn

from lzero.discover import discover
from lzero.errors import LzeroError, StructureError
from lzero.plan.remainder import Counted
from lzero_lab import datasets, models
from lzero_lab.cli import options as opt
from lzero_lab.cli.console import console, show_table

_MEASURES: tuple[Counted, ...] = ("params", "macs")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "info",
        help="what can be gated in a model, its parameters and MACs",
        description="Print which units of a model can be gated exactly, why others cannot, and what the model costs.",
    )
    parser.add_argument(
        "function",
        nargs="?",
        metavar="package.module:function",
        help="function without arguments that returns a model, or (model, example_inputs); default: --model on --data",
    )
    parser.add_argument(
        "--input", type=_shape, metavar="1,3,32,32", help="shape of the example input, where the function returns none"
    )
    parser.add_argument(
        "--target", type=opt.density, nargs="+", default=[], metavar="0.1", help="densities: can they be met?"
    )
    opt.add_data(parser)
    parser.set_defaults(run=run, check=check)


def check(options: argparse.Namespace) -> str | None:
    """What is wrong with options that do not go together."""
    return "--input is for a package.module:function" if options.input and not options.function else None


def run(options: argparse.Namespace) -> None:
    """Discover and show."""
    if options.function:
        model, inputs = _call(options.function, options.input)
        name = options.function
    else:
        data = datasets.load(options.data, options.data_dir)
        model, inputs, name = models.build(options.model, data), data.train_x[:1], f"{options.model} on {data.name}"
    plan = discover(model, inputs, granularity=options.granularity)
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
        StructureError: it cannot be imported, it fails, or it returns something else.
    """
    path, _, name = place.partition(":")
    if not path or not name:
        raise StructureError(f"{place}: expected package.module:function")
    if "" not in sys.path:
        sys.path.insert(0, "")  # as with python -m: the folder that one stands in
    try:
        made = getattr(importlib.import_module(path), name)()
    except LzeroError:
        raise
    except Exception as problem:
        raise StructureError(
            f"{place}: {type(problem).__name__}: {problem}; expected an importable function without arguments"
        ) from problem
    model, inputs = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(model, nn.Module):
        raise StructureError(
            f"{place}: returned {type(made).__name__}; expected an nn.Module, or an nn.Module with its example inputs"
        )
    if shape is not None:
        inputs = torch.randn(shape)
    if inputs is None:
        raise StructureError(
            f"{place}: returned a model without example inputs; return (model, example_inputs), or pass --input, such "
            "as --input 1,3,32,32"
        )
    return model, inputs


def _shape(text: str) -> tuple[int, ...]:
    return tuple(opt.positive(int)(part) for part in text.split(","))
