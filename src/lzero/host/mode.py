"""Train mode, eval mode and frozen parameters of a stranger's model, whatever its own methods return."""

from __future__ import annotations

from torch import nn

from lzero.errors import StructureError


def set_mode(model: nn.Module, *, training: bool) -> None:
    """``model`` in train or eval mode, by its own ``train()`` or ``eval()``, which need not return it.

    Raises:
        StructureError: that method fails.
    """
    name = "train" if training else "eval"
    try:
        getattr(model, name)()
    except Exception as error:
        raise StructureError(
            f"{type(model).__name__}.{name}() raised {type(error).__name__}: {error}; it must do, without arguments, "
            f"what nn.Module.{name}() does: give a method that trains or evaluates another name"
        ) from error


def freeze(model: nn.Module) -> None:
    """``model`` with no parameter that requires grad."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
