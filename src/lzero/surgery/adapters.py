"""Layers that others put around a layer of the model (LoRA and its kin), by class: what is theirs, what they write."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MethodType
from typing import Any

from torch import nn

from lzero.errors import LzeroWarning, StructureError
from lzero.plan.paths import covers, join
from lzero.surgery.class_names import class_name, class_names


@dataclass(frozen=True)
class Adapter:
    """What is known of a class of adapters.

    Attributes:
        base: its child that is the layer of the model; all else in it is its own.
        writes: its methods that write into the weights of that layer.
    """

    base: str
    writes: tuple[str, ...]


ADAPTERS: dict[str, Adapter] = {}
SAVERS: dict[str, tuple[str, ...]] = {}


def adapter(*kinds: type[nn.Module] | str, base: str, writes: tuple[str, ...] = ()) -> None:
    """Register classes of layers that are put around another one, and train in its place.

    Their inner sizes (the rank of LoRA) are no units unless asked for by path, and while gates are attached what they
    write into the weights of the layer inside, which would be lost, is refused.

    Args:
        kinds: classes, or dotted names of classes that need not be imported; bases count.
        base: name of the child that is the layer inside.
        writes: names of the methods that write into its weights.

    Raises:
        StructureError: neither a class of modules nor a dotted name.
    """
    ADAPTERS.update(dict.fromkeys(map(class_name, kinds), Adapter(base, writes)))


def partial_saver(*kinds: type[nn.Module] | str, saves: tuple[str, ...]) -> None:
    """Register classes of models whose methods ``saves`` write files of the adapters alone: they warn while gated.

    Raises:
        StructureError: neither a class of modules nor a dotted name.
    """
    SAVERS.update(dict.fromkeys(map(class_name, kinds), saves))


adapter("peft.tuners.tuners_utils.BaseTunerLayer", base="base_layer", writes=("merge", "unmerge"))
partial_saver("peft.peft_model.PeftModel", saves=("save_pretrained",))


def adapter_of(module: nn.Module) -> Adapter | None:
    """What is known of the class of ``module`` as an adapter, None where it is none."""
    return next((ADAPTERS[name] for name in class_names(module) if name in ADAPTERS), None)


def adapter_paths(model: nn.Module) -> dict[str, str]:
    """Path of every adapter in ``model`` -> path of the layer inside."""
    found = {path: adapter_of(module) for path, module in model.named_modules()}
    return {path: join(path, known.base) for path, known in found.items() if known is not None}


def adapter_that_owns(paths: Mapping[str, str], tensor: str) -> str | None:
    """The adapter, of ``paths``, whose own a tensor is; None for one of the layer inside, and of any other layer."""
    return next((path for path, base in paths.items() if covers(path, tensor) and not covers(base, tensor)), None)


def sealed(model: nn.Module) -> list[nn.Module]:
    """The modules of ``model`` that :func:`seal` changes."""
    return [module for module in model.modules() if _methods(module)]


def seal(model: nn.Module) -> None:
    """Let every adapter in ``model`` refuse to write into the layer inside, and partial savers say what they leave out.

    All of them, gated or not: one that refuses after others have written would leave half a merge behind.
    """
    for module in sealed(model):
        for name, function in _methods(module).items():
            if callable(getattr(module, name, None)):
                setattr(module, name, function)


def unseal(model: nn.Module) -> None:
    """The way back."""
    for module in model.modules():
        held = vars(module)
        for name in [name for name, value in held.items() if getattr(value, "__func__", value) in _SEALS]:
            del held[name]


def refused_write(*_args: Any, **_named: Any) -> None:
    """What stands in for ``merge`` while gates are attached.

    Raises:
        StructureError: always.
    """
    raise StructureError(
        "merge: gates are attached, and the weights of a gated layer are computed anew in every forward, so that what "
        "an adapter writes into them is lost. Purge first, and merge the small model: "
        "lzero.purge(model).model.merge_and_unload()"
    )


def warned_save(model: Any, *arguments: Any, **named: Any) -> Any:
    """What stands in for ``save_pretrained`` while gates are attached.

    Warns:
        LzeroWarning: the files do not hold the training.
    """
    warnings.warn(
        f"{type(model).__name__}.save_pretrained: these files hold the tensors of the adapters under their gated "
        "names, and neither the gates nor the state of their training, so that from_pretrained cannot go on from them. "
        "To resume, save model.state_dict(); to ship, lzero.purge(model).model",
        LzeroWarning,
        stacklevel=2,
    )
    return type(model).save_pretrained(model, *arguments, **named)


_SEALS: tuple[Callable[..., Any], ...] = (refused_write, warned_save)


def _methods(module: nn.Module) -> dict[str, Callable[..., Any]]:
    """What takes the place of which methods of ``module``."""
    known = adapter_of(module)
    found: dict[str, Callable[..., Any]] = {} if known is None else dict.fromkeys(known.writes, refused_write)
    for name in class_names(module):
        found |= {leaf: MethodType(warned_save, module) for leaf in SAVERS.get(name, ())}
    return found
