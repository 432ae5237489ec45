"""Running a stranger's model without side effects that it did not ask for, and comparing what comes out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn


def call(model: nn.Module, inputs: Any) -> Any:
    """``model`` of a tensor, of a tuple or list of positional, or of a dict of keyword arguments."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, (tuple, list)):
        return model(*inputs)
    return model(inputs)


@torch.no_grad()
def run(model: nn.Module, inputs: Any) -> list[Tensor]:
    """The tensors that ``model`` returns in eval mode, flat; the global random state is as before afterwards."""
    devices = {p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=sorted(devices)):
        return list(tensors_in(call(model.eval(), inputs)))


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor inside nested tuples, lists, dicts and dataclasses, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from tensors_in(getattr(value, field.name))


def largest_difference(one: list[Tensor], two: list[Tensor]) -> tuple[float, float]:
    """Largest absolute difference and largest absolute value over two lists of outputs; infinite where shapes differ."""
    if [t.shape for t in one] != [t.shape for t in two]:
        return float("inf"), 1.0
    difference = scale = 0.0
    for a, b in zip(one, two, strict=True):
        if a.numel():
            a, b = a.double(), b.double()
            gap = (a - b).abs()
            difference = max(difference, float("inf") if bool(gap.isnan().any()) else float(gap.max()))
            scale = max(scale, float(a.abs().max()))
    return difference, scale
