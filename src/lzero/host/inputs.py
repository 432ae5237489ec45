"""What one forward takes, whatever the user calls it with: to run, move, cast, repeat and draw anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from lzero.host.tensors import draw_normal, map_tensors, tensors_in

_ELEMENTS = 1 << 12  # in the largest input of a batch that is repeated


@dataclass(frozen=True, eq=False)
class Arguments:
    """Positional and keyword arguments of one call, where there are both."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class ExampleInputs:
    """The inputs of one forward; every change gives new ones, with new tensors.

    Attributes:
        value: a tuple or list of positional arguments, a dict of keyword arguments, :class:`Arguments`, or any other
            single argument.
    """

    value: object

    @classmethod
    def of(cls, value: object) -> ExampleInputs:
        """``value`` as inputs; itself where it is."""
        return value if isinstance(value, ExampleInputs) else cls(value)

    def __iter__(self) -> Iterator[Tensor]:
        """Every tensor in them, in order."""
        return tensors_in(self.value)

    @property
    def examples(self) -> int:
        """The length of their first tensor; 1 where there is none, or it has no dims."""
        first = next(iter(self), None)
        return len(first) if first is not None and first.dim() else 1

    def call(self, model: nn.Module) -> Any:
        """What ``model`` returns of copies: a forward may write into its inputs, or take entries out of them."""
        return self.map(_fresh).bare(model)

    def bare(self, model: nn.Module) -> Any:
        """What ``model`` returns of these themselves."""
        value = self.value
        if isinstance(value, Arguments):
            return model(*value.args, **value.kwargs)
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            return model(**value)
        if isinstance(value, tuple | list) and not isinstance(value, PackedSequence):
            return model(*value)
        return model(value)

    def map(self, change: Callable[[Tensor], Tensor]) -> ExampleInputs:
        """These with ``change`` applied to every tensor."""
        return ExampleInputs(map_tensors(self.value, change))

    def copy(self) -> ExampleInputs:
        """These, holding on to no batch of the user's, which may be reused."""
        return self.map(lambda tensor: tensor.detach().clone())

    def to(self, device: torch.device | None = None, dtype: torch.dtype | None = None) -> ExampleInputs:
        """These on ``device``, with all floats in ``dtype``; None leaves either as it is."""
        return self.map(lambda tensor: tensor.to(device, dtype if tensor.is_floating_point() else None))

    def redraw(self, dtype: torch.dtype, generator: torch.Generator | None) -> ExampleInputs:
        """These with floats in ``dtype``, standard normal where there is a ``generator``; what counts stays."""

        def convert(tensor: Tensor) -> Tensor:
            if not tensor.is_floating_point():
                return tensor.clone()
            if generator is not None:
                return draw_normal(tensor.detach().to(dtype), generator)
            return tensor.detach().to(dtype, copy=True)

        return self.map(convert)

    def several(self, times: int) -> ExampleInputs:
        """A batch of up to ``times`` as many examples, where it is small and all first dims are of one size."""
        tensors = list(self)
        times = min(times, _ELEMENTS // max([1, *(tensor.numel() for tensor in tensors)])) if tensors else 1
        if times < 2 or len({tensor.shape[:1] for tensor in tensors}) != 1:
            return self
        return self.map(lambda tensor: torch.cat([tensor] * times) if tensor.dim() else tensor)

    def fewer(self, examples: int, steps: int | None = None) -> ExampleInputs:
        """At most so many ``examples``, and ``steps`` of a sequence [examples, steps, features], where all agree.

        What a model makes of a few is what it makes of many; where it does not run on them, it says so.
        """
        made = self
        if len({tensor.shape[:1] for tensor in self}) == 1:
            made = made.map(lambda t: t[:examples].clone() if t.dim() else t)
        sequences = [tensor for tensor in made if tensor.dim() == 3]
        if steps is not None and len({tensor.shape[1] for tensor in sequences}) == 1:
            made = made.map(lambda t: t[:, :steps].clone() if t.dim() == 3 else t)
        return made

    def resized(self, examples: int) -> ExampleInputs:
        """So many ``examples``, the first ones or all of them over and over, where all first dims are of one size."""
        sizes = {len(tensor) for tensor in self if tensor.dim()}
        if len(sizes) != 1 or sizes == {examples}:
            return self
        which = torch.arange(examples) % sizes.pop()
        return self.map(lambda t: t[which.to(t.device)] if t.dim() else t)

    def one_more(self) -> ExampleInputs:
        """A batch with its first example once more."""
        examples = self.examples
        return self.map(lambda t: torch.cat([t, t[:1]]) if t.dim() and len(t) == examples else t)


def _fresh(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_(tensor.requires_grad)
