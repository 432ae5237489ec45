"""The way back from a folder of Hugging Face's to a purged model, or to one with its gates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lzero.checks import shown
from lzero.errors import StructureError
from lzero.integrations.transformers.classes import class_of, saved_config
from lzero.integrations.transformers.gated import is_gated, load_gated
from lzero.plan.paths import covers
from lzero.reload import load_purged
from lzero.surgery.left_out import MARK as CLOSED
from lzero.surgery.libraries.hugging_face import ENTRY, FORMAT

_V = TypeVar("_V")


def from_pretrained(path: Any, kind: Any = None, **options: Any) -> Any:
    """The model that ``save_pretrained(path)`` has saved: purged, plain, or with the gates of a training.

    A purged model is built from its configuration, cut to the sizes that ``config.lzero`` has of it, and filled by
    the ``from_pretrained`` of its class: sharded files, tied weights, other dtypes and generation settings come back
    as they do there. The configuration of a model whose layers all kept the same sizes may say so by itself; then
    this is stock ``from_pretrained``, and that does too.

    Args:
        path: a folder, or a name on the hub.
        kind: the class of the model, or an Auto class such as ``AutoModelForCausalLM``; by default the class that was
            saved, ``config.architectures``.
        options: further arguments of ``from_pretrained``; for a gated model those of :func:`lzero.attach_gates`, or
            ``plan=``. By default its plan is that of ``plan.lzero``, which the Trainer's checkpoints have beside the
            weights; else units are discovered again, with inputs made from the configuration.

    Raises:
        StructureError: a class that is not known, an entry ``lzero`` of another format, tensors that the files lack,
            or gates that nobody says how to attach.
    """
    if is_gated(path):
        return load_gated(path, kind, **options)
    config = options.pop("config", None)
    config = saved_config(path, kind) if config is None else config
    kind = class_of(config, kind)
    entry = getattr(config, ENTRY, None)
    if entry is None:
        return kind.from_pretrained(path, config=config, **options)
    return _purged(path, kind, config, entry, options)


def _purged(path: Any, kind: Any, config: Any, entry: object, options: dict[str, Any]) -> nn.Module:
    shapes, numbers = _checked(entry)

    def build(self: Any, *args: Any, **kwargs: Any) -> None:
        kind.__init__(self, *args, **kwargs)
        with torch.device("cpu"):
            if any(parameter.is_meta for parameter in self.parameters()):
                self.to_empty(device="cpu")  # what is cut needs memory; all of it is filled or made anew afterwards
            load_purged(self, _placeholders(self, shapes, numbers))

    attributes = {"__init__": build, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    wanted = options.pop("output_loading_info", False)
    cut: Any = type(kind.__name__, (kind,), attributes)
    model, info = cut.from_pretrained(path, config=config, output_loading_info=True, **options)
    missing = sorted(info["missing_keys"])
    if missing:
        raise StructureError(f"{path}: the files lack {missing[0]}; save the purged model again")
    model.__class__ = kind
    return (model, info) if wanted else model  # type: ignore[return-value]


_Number = int | list[int]
"""A number beside tensors, or several: how many units a norm had, and how many are left."""


def _placeholders(
    model: nn.Module, shapes: Mapping[str, list[int]], numbers: Mapping[str, _Number]
) -> dict[str, Tensor]:
    """A state dict of the purged ``model``, without values but for numbers."""
    shapes, numbers = _own_names(model, shapes), _own_names(model, numbers)
    left_out = [name.rpartition(".")[0] for name in numbers if name.rpartition(".")[2] == CLOSED]
    state = {n: t for n, t in model.state_dict().items() if not any(covers(path, n) for path in left_out)}
    buffers = dict(model.named_buffers())
    for name, shape in shapes.items():
        old = state.get(name, buffers.get(name))
        if old is None:  # the columns that a purged Linear selects
            state[name] = torch.arange(shape[0])
        else:
            state[name] = old.new_empty(shape)
    return state | {name: torch.tensor(number) for name, number in numbers.items()}


def _own_names(model: nn.Module, saved: Mapping[str, _V]) -> dict[str, _V]:
    """``saved`` by the names of ``model``; where that is the base of the model that was saved, what belongs to it."""
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    if hasattr(model, prefix[:-1]) or not any(name.startswith(prefix) for name in saved):
        return dict(saved)
    return {name.removeprefix(prefix): value for name, value in saved.items() if name.startswith(prefix)}


def _checked(entry: object) -> tuple[dict[str, list[int]], dict[str, _Number]]:
    """The shapes and numbers of ``config.lzero``.

    Raises:
        StructureError: anything else.
    """
    found = entry if isinstance(entry, Mapping) else {}
    if found.get("format") != FORMAT:
        raise StructureError(
            f"config.{ENTRY}: expected an entry of format {FORMAT}, found {shown(found.get('format', entry))}; load it "
            "with the version of lzero that saved it, or a later one"
        )
    shapes, numbers = found.get("shapes"), found.get("numbers")
    right = isinstance(shapes, Mapping) and isinstance(numbers, Mapping)
    right = right and all(_is_shape(shape) for shape in shapes.values())  # type: ignore[union-attr]
    if not right or not all(type(number) is int or _is_shape(number) for number in numbers.values()):  # type: ignore[union-attr]
        raise StructureError(f"config.{ENTRY}: expected shapes and numbers by name, found {shown(entry)}")
    return dict(shapes), dict(numbers)  # type: ignore[arg-type]


def _is_shape(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(size) is int and size > 0 for size in value)
