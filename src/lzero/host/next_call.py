"""The next call of a model that keeps keys and values: what it makes of them is a result like any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from lzero.host.cache import SWITCH, kept_in, results_in
from lzero.host.inputs import Arguments, ExampleInputs
from lzero.host.run import ForwardError, forward

Run = Callable[[nn.Module, ExampleInputs], Any]


@dataclass(frozen=True)
class NextCall:
    """How a model is called again with what it kept: once more on the same inputs, or on their last ``step`` alone."""

    step: bool

    def results(
        self, model: nn.Module, inputs: ExampleInputs, kept: Mapping[str, object], run: Run = forward
    ) -> list[Tensor]:
        """The results of the next call of ``model``, by ``run``, which writes into ``kept``, by argument.

        Raises:
            ForwardError: it fails.
        """
        again = last_step(inputs) if self.step else inputs
        returned = run(model, with_arguments(again, kept))
        return [tensor.clone() for tensor in results_in(returned, model)]

    @classmethod
    def find(cls, model: nn.Module, inputs: ExampleInputs, run: Run = forward) -> NextCall | None:
        """How ``model``, which is run, takes back what it keeps of ``inputs``; None where it keeps or reads nothing."""
        for call in (cls(step=True), cls(step=False)):
            try:
                kept = taken_back(run(model, inputs), model)
                if not kept:
                    return None
                found = call.results(model, inputs, kept, run)
                plain = call.results(model, inputs, {}, run)
            except ForwardError:
                continue
            if _finite(found) and not _equal(found, plain):
                return call
        return None


def taken_back(returned: object, model: nn.Module) -> dict[str, Any]:
    """What ``returned`` keeps for the next call of ``model``, by the argument that takes it back."""
    return {argument: held for argument, held in kept_in(returned, model) if argument is not None and held is not None}


def with_arguments(inputs: ExampleInputs, arguments: Mapping[str, object]) -> ExampleInputs:
    """``inputs`` with more keyword ``arguments``."""
    value = inputs.value
    if not arguments:
        return inputs
    if isinstance(value, Arguments):
        return ExampleInputs(Arguments(value.args, {**value.kwargs, **arguments}))
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return ExampleInputs(Arguments((), {**value, **arguments}))
    args = tuple(value) if isinstance(value, tuple | list) and not isinstance(value, PackedSequence) else (value,)
    return ExampleInputs(Arguments(args, dict(arguments)))


def with_cache(inputs: ExampleInputs) -> ExampleInputs:
    """``inputs`` that ask for keys and values, unless they say of themselves whether they do."""
    value = inputs.value
    named = value.kwargs if isinstance(value, Arguments) else value
    said = isinstance(named, Mapping) and SWITCH in named
    return inputs if said else with_arguments(inputs, {SWITCH: True})


def last_step(inputs: ExampleInputs) -> ExampleInputs:
    """``inputs`` with the last step alone of what is read step by step.

    That is a matrix of whole numbers [examples, steps] or features [examples, steps, features]; of an encoder and a
    decoder, what the decoder reads. Masks keep all steps.
    """
    value = inputs.value
    named = value.kwargs if isinstance(value, Arguments) else value
    names = list(named) if isinstance(named, Mapping) else []
    decoder = any(name.startswith("decoder_") for name in names)

    def cut(tensor: Tensor) -> Tensor:
        counts = not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype is torch.bool)
        return tensor[:, -1:] if tensor.dim() == (2 if counts else 3) else tensor

    def part(name: str, held: Any) -> Any:
        whole = "mask" in name or (decoder and not name.startswith("decoder_"))
        return held if whole else ExampleInputs(held).map(cut).value

    if isinstance(value, Arguments):
        args = tuple(ExampleInputs(held).map(cut).value for held in value.args)
        return ExampleInputs(Arguments(args, {name: part(name, held) for name, held in value.kwargs.items()}))
    if isinstance(value, Mapping) and len(names) == len(value):
        return ExampleInputs({name: part(name, held) for name, held in value.items()})
    return inputs.map(cut)


def _finite(tensors: list[Tensor]) -> bool:
    return bool(tensors) and all(bool(tensor.isfinite().all()) for tensor in tensors if tensor.is_floating_point())


def _equal(one: list[Tensor], two: list[Tensor]) -> bool:
    return len(one) == len(two) and all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(one, two, strict=True))
