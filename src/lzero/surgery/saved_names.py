"""The names of saved tensors: those of a purged model, brought to the names that the fresh one has for them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lzero.errors import StructureError
from lzero.plan.paths import join, owner
from lzero.surgery.config_numbers import MARK
from lzero.surgery.gathered_linear import COLUMNS, INNER


def gathered_linears(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, nn.Linear]:
    """Path -> the plain Linears of ``model`` that ``state`` has with a selection of features in front."""
    return {
        path: module
        for path, module in model.named_modules()
        if type(module) is nn.Linear and not module._modules
        if join(path, COLUMNS) in state and join(path, INNER) + ".weight" in state
    }


def fresh_names(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` under the names of ``model``, before anything in it is gathered, and under all names of tied tensors.

    A file without shared memory has a tied tensor once; whichever of its names that is, the others are filled in.
    """
    renamed = _once(model, state)
    for path in gathered_linears(model, state):
        for leaf in ("weight", "bias"):
            inner, name = join(join(path, INNER), leaf), join(path, leaf)
            if inner in renamed and name not in state:
                renamed[name] = renamed.pop(inner)
    for names in aliases(model):
        saved = [name for name in names if name in renamed]
        if saved:
            renamed.update({name: renamed[saved[0]] for name in names if name not in renamed})
    return renamed


def _once(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` with what purging noted on a module that has several paths under the first of them alone.

    Raises:
        StructureError: it was noted differently.
    """
    renamed, first = dict(state), dict[nn.Module, str]()
    notes: dict[str, list[str]] = {}
    for name in state:
        if name.rpartition(".")[2].startswith(MARK):
            notes.setdefault(owner(name), []).append(name)
    for path, module in model.named_modules(remove_duplicate=False):
        home = first.setdefault(module, path)
        for name in notes.get(path, ()) if home != path else ():
            same = join(home, name.rpartition(".")[2])
            if not torch.equal(renamed.setdefault(same, renamed.pop(name)), state[name]):
                raise StructureError(
                    f"{same} and {name}: one module in the model, but saved with different values; pass the state dict "
                    "of a purged model as it was saved"
                )
    return renamed


def aliases(model: nn.Module) -> list[list[str]]:
    """The names in ``model.state_dict()`` of each tensor; a tied one has several."""
    names: dict[int, list[str]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), []).append(name)
    return list(names.values())
