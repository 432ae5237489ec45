"""A Linear that reads some of the features that reach it: an index module around a plain ``nn.Linear``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

INNER = "linear"
COLUMNS = "columns"


class GatheredLinear(nn.Module):
    """A Linear that reads only the features in its buffer ``columns``: what purging input gates leaves behind.

    ``y = x[..., columns] @ weight.T + bias`` with weight [out_features, len(columns)].

    The Linear itself is the child ``linear``, of that very class and of the size that it has: so whatever converts
    Linears (quantization, LoRA, layers of another library) finds one, and gives it what it reads. Its weight, bias and
    sizes are those of this module too, to read; in a state dict they are ``linear.weight`` and ``linear.bias``.

    Args:
        linear: reads the features that are left.
        columns: long, [linear.in_features], which of the features that arrive these are.
    """

    __jit_unused_properties__ = ("weight", "bias", "in_features", "out_features")
    if TYPE_CHECKING:  # torch.jit.script reads annotations of the class, and fails on postponed ones
        columns: Tensor  # long, [in_features]
        linear: nn.Linear

    def __init__(self, linear: nn.Linear, columns: Tensor) -> None:
        super().__init__()
        self.register_buffer(COLUMNS, columns)
        self.linear = linear

    def forward(self, input: Tensor) -> Tensor:
        """``input`` [..., features before selection] -> [..., out_features]."""
        return self.linear(input.index_select(-1, self.columns))  # type: ignore[no-any-return]

    @property
    def weight(self) -> Tensor:
        """The weight of the Linear, [out_features, in_features]."""
        return self.linear.weight

    @property
    def bias(self) -> Tensor | None:
        """The bias of the Linear, [out_features], if it has one."""
        return self.linear.bias

    @property
    def in_features(self) -> int:
        """How many features are read."""
        return self.linear.in_features

    @property
    def out_features(self) -> int:
        """How many features are made."""
        return self.linear.out_features


def gather(linear: nn.Linear, columns: Tensor) -> None:
    """Turn ``linear`` into a :class:`GatheredLinear` that reads ``columns``, in place: whoever holds it goes on.

    Hooks stay on it and see all features; its parameters are those of the Linear in it now. Its weight is cut by
    others.
    """
    inner = nn.Linear.__new__(nn.Linear)
    nn.Module.__init__(inner)
    inner.in_features, inner.out_features = linear.in_features, linear.out_features
    inner.training = linear.training
    for leaf in ("weight", "bias"):
        inner.register_parameter(leaf, linear._parameters.pop(leaf))
    del linear.in_features, linear.out_features
    linear.__class__ = GatheredLinear  # type: ignore[assignment]
    linear.add_module(INNER, inner)
    linear.register_buffer(COLUMNS, columns)


def gathering(model: nn.Module, path: str) -> GatheredLinear | None:
    """The module that gathers what the Linear at ``path`` reads, if one does."""
    above, _, leaf = path.rpartition(".")
    parent = model.get_submodule(above) if path else None
    return parent if isinstance(parent, GatheredLinear) and leaf == INNER else None
