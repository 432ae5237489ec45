"""The file that a training continues from: its entries, and what is said where one of them is something else."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lzero_lab.errors import DamagedError, DataError, out_of_memory
from lzero_lab.files import read_tensors

ADVICE = "delete it and train anew"
_ENTRIES: Mapping[str, tuple[type, ...]] = {
    "recipe": (dict,),
    "epoch": (int,),
    "step": (int,),
    "seconds": (int, float),
    "model": (dict,),
    "optimizer": (dict,),
    "rows": (list,),
    "order": (Tensor,),
    "noise": (list,),
    "average": (list, type(None)),
}
_MET = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The entries of the checkpoint at ``path``, each of its type, read without running code from it.

    Raises:
        DataError: the file is missing or cannot be read.
        DamagedError: it is truncated, or not a checkpoint of this library.
    """
    state = read_tensors(path, _ENTRIES.keys(), ADVICE)
    for name, types in _ENTRIES.items():
        if not isinstance(state[name], types) or isinstance(state[name], bool):
            words = " or ".join("nothing" if type_ is type(None) else type_.__name__ for type_ in types)
            raise DamagedError(f"{path}: {name}: expected {words}, found {type(state[name]).__name__}; {ADVICE}")
    if not (0 <= state["epoch"] == len(state["rows"]) and state["epoch"] <= state["step"]):
        raise DamagedError(
            f"{path}: expected a row for each epoch and a step in each, found {state['epoch']} epochs, "
            f"{len(state['rows'])} rows, {state['step']} steps; {ADVICE}"
        )
    if not (math.isfinite(state["seconds"]) and state["seconds"] >= 0):
        raise DamagedError(f"{path}: seconds: expected a time, found {state['seconds']}; {ADVICE}")
    return state


@contextmanager
def loading(path: str | os.PathLike[str]) -> Iterator[None]:
    """What fails within the context fails because the entries of the checkpoint at ``path`` do not fit each other.

    Raises:
        DamagedError: in the place of whatever such entries meet; a DataError gains the path.
    """
    try:
        yield
    except DataError as problem:  # of another recipe or device
        raise type(problem)(f"{path}: {problem}") from problem
    except _MET as problem:
        if out_of_memory(problem):
            raise MemoryError(f"{path}: no memory to load it; free some and try again") from problem
        reason = " ".join(str(problem).split())
        raise DamagedError(
            f"{path}: does not fit its training ({type(problem).__name__}: {reason[:200]}); {ADVICE}"
        ) from problem


def check_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any], entries: frozenset[str]) -> None:
    """Raise where the ``state`` is not one of ``optimizer``, whose groups are as its recipe says.

    Args:
        optimizer: it is left as it is.
        state: a state dict.
        entries: names of the tensors that it keeps for a parameter once it has taken a step.

    Raises:
        ValueError: the message says what differs.
    """
    for mine, saved in zip(optimizer.param_groups, state["param_groups"], strict=True):
        for name, value in mine.items():
            if name not in ("params", "lr") and saved.get(name, value) != value:
                raise ValueError(f"optimizer, {name}: expected {value}, found {saved[name]!r}")
        if not isinstance(saved["lr"], int | float):
            raise ValueError(f"optimizer, lr: expected a number, found {saved['lr']!r}")
    parameters: list[nn.Parameter] = [p for group in optimizer.param_groups for p in group["params"]]
    for number, values in state["state"].items():
        if values.keys() != entries:
            raise ValueError(f"optimizer: expected {', '.join(sorted(entries))}, found {', '.join(map(str, values))}")
        for name, value in values.items():
            wanted = {(), (1,)} if name == "step" else {tuple(parameters[number].shape)}
            if not isinstance(value, Tensor) or not value.is_floating_point() or tuple(value.shape) not in wanted:
                raise ValueError(f"optimizer, {name} of parameter {number}: of another shape or type")
