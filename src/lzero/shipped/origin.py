"""What a model was before units left it: what a purged one is loaded into later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from lzero.errors import StructureError
from lzero.host.tensors import saved_size, saved_tensors


@dataclass(frozen=True)
class Origin:
    """An architecture, by the name of its class and the shapes of its tensors.

    Attributes:
        kind: name of the class, without its module: a class may move to another file.
        shapes: of every parameter and buffer, by its name in ``model.state_dict()``.
        granularity: what was asked for when gates were attached; empty where none were.
        size: bytes of all tensors of the state dict, tied ones once.
    """

    kind: str
    shapes: Mapping[str, tuple[int, ...]]
    granularity: Mapping[str, str]
    size: int

    @classmethod
    def of(cls, model: nn.Module, granularity: Mapping[str, str] | None = None) -> Origin:
        """That of ``model``, which has no gates."""
        state = saved_tensors(model)
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        return cls(type(model).__name__, shapes, dict(granularity or {}), saved_size(model))

    def check(self, model: nn.Module, place: str) -> None:
        """Raise where ``model`` is of another architecture.

        Raises:
            StructureError: another class, or a tensor that is missing, unknown or of another shape; the message begins
                with ``place``.
        """
        way_out = "build the model that the gates were attached to"
        if type(model).__name__ != self.kind:
            raise StructureError(f"{place}: holds a purged {self.kind}, found a {type(model).__name__}; {way_out}")
        found = {name: tuple(tensor.shape) for name, tensor in saved_tensors(model).items()}
        for name in dict.fromkeys((*self.shapes, *found)):
            expected, shape = self.shapes.get(name), found.get(name)
            if expected != shape:
                had = "no such tensor" if expected is None else f"shape {list(expected)}"
                has = "none" if shape is None else f"{list(shape)}"
                raise StructureError(f"{name}: {place} was purged from a model with {had}, found {has}; {way_out}")
