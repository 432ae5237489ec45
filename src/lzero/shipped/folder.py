"""The folder of a purged model, read and held against what it says of itself."""

from __future__ import annotations

import os

from torch import Tensor

from lzero.checks import folder_path
from lzero.errors import StructureError
from lzero.shipped.description import Description
from lzero.shipped.weights import digest, read_weights

WEIGHTS, DESCRIPTION = "model.safetensors", "lzero.json"
_AGAIN = "save the purged model again with lzero.save_purged"


def read_saved(folder: str | os.PathLike[str]) -> tuple[Description, dict[str, Tensor]]:
    """What :func:`lzero.save_purged` wrote into ``folder``: the description, and the state dict with all its names.

    Raises:
        StructureError: no such folder, a file that is missing, damaged or of another format, or two files that do not
            belong to each other.
    """
    target = folder_path("folder", folder, error=StructureError)
    words, weights = target / DESCRIPTION, target / WEIGHTS
    try:
        if not target.is_dir():
            raise FileNotFoundError("no such folder")
        text = words.read_bytes().decode("utf-8")
        size, sum_ = weights.stat().st_size, digest(weights)
    except (OSError, ValueError) as error:
        raise StructureError(
            f"{target}: not readable as a purged model ({error}); name a folder that lzero.save_purged wrote"
        ) from error
    description = Description.from_json(text, str(words))
    if description.weights != (size, sum_):
        raise StructureError(
            f"{weights}: expected the {description.weights[0]:,} bytes that {DESCRIPTION} is written for, found "
            f"{size:,} others: damaged, or of another save; {_AGAIN}"
        )
    return description, _complete(read_weights(weights), description, str(weights))


def _complete(state: dict[str, Tensor], description: Description, place: str) -> dict[str, Tensor]:
    """``state``, as it is described, with the other names of tied tensors."""
    found = {name: (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)) for name, tensor in state.items()}
    for name in dict.fromkeys((*description.tensors, *found)):
        if description.tensors.get(name) != found.get(name):
            raise StructureError(
                f"{name}: {place} has {_shown(found.get(name))}, {DESCRIPTION} says "
                f"{_shown(description.tensors.get(name))}; {_AGAIN}"
            )
    for first, *others in filter(None, description.tied):
        if first not in state or any(name in state for name in others):
            raise StructureError(f"{first}: tied to {', '.join(others)}, but not saved once under its name; {_AGAIN}")
        state |= dict.fromkeys(others, state[first])
    return state


def _shown(entry: tuple[str, tuple[int, ...]] | None) -> str:
    return "none" if entry is None else f"{entry[0]} {list(entry[1])}"
