"""Which configuration and which class a saved model has."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from torch import nn

from lzero.checks import shown
from lzero.errors import StructureError


def saved_config(path: Any, kind: Any) -> Any:
    """The configuration at ``path``, by the class that ``kind`` brings for it where it is a class of models."""
    if _is_model(kind) and getattr(kind, "config_class", None) is not None:
        return kind.config_class.from_pretrained(path)
    return transformers.AutoConfig.from_pretrained(path)


def class_of(config: Any, kind: Any) -> Any:
    """The class of the model to build: ``kind`` itself, or what an Auto class makes of ``config``.

    Raises:
        StructureError: none is known.
    """
    if kind is None:
        names = getattr(config, "architectures", None) or []
        found = getattr(transformers, names[0], None) if names else None
        if found is None:
            said = f"config.architectures is {shown(names)}"
            raise StructureError(
                f"{type(config).__name__}: {said}, which names no class of transformers; pass the class of the model: "
                "from_pretrained(path, MyModel)"
            )
        return found
    if _is_model(kind):
        return kind
    if not hasattr(kind, "from_config"):
        raise StructureError(f"kind: expected the class of a model, or an Auto class, found {shown(kind)}")
    with torch.device("meta"):
        return type(kind.from_config(config))


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, nn.Module)
