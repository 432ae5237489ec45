"""What a training of gates was asked for: in words, and whether it is what an earlier part of it was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lzero.constraint_record import KIND, from_tensor, to_json
from lzero.errors import BudgetError, SolverError
from lzero.latency.packed import TABLES


def described(asked: Tensor | None, tables: Tensor | None = None) -> str:
    """What was asked, in words; ``tables`` of latencies as they are packed."""
    if asked is None:
        return "something unknown"
    try:
        found = from_tensor(asked, tables)
    except BudgetError:
        return "something unreadable"
    budgets = ", ".join(_words(entry) for entry in to_json(found.pop("constraints")))
    rest = ", ".join(f"{name}={value}" for name, value in found.items() if name != KIND and value is not None)
    kind = found[KIND]
    article = "an" if kind[:1] in "AEIOU" else "a"
    return f"{article} {kind} ({', '.join(part for part in (budgets, rest) if part)})"


def check_same_training(who: str, left: Mapping[str, Tensor], asked: Tensor, expected: Mapping[str, Tensor]) -> None:
    """Raise where a trainer cannot go on from what an earlier one has ``left``.

    Args:
        who: the class of the trainer.
        left: tensors by name.
        asked: what this one is asked for.
        expected: what it needs, by name, of the right shape.

    Raises:
        SolverError: the gates were trained for something else, or something that is needed is missing.
    """
    if "asked" not in left or not torch.equal(left["asked"].cpu(), asked):
        before, now = described(left.get("asked"), left.get(TABLES)), described(asked, expected.get(TABLES))
        raise SolverError(
            f"{who}: these gates have been trained for {int(left['steps'][0])} steps by {before}; this one is {now}. "
            "Build it as it was and attach the gates as they were to go on with that training, or pass fresh=True to "
            "begin another one from where the gates are"
        )
    wrong = [name for name, tensor in expected.items() if name not in left or left[name].shape != tensor.shape]
    if wrong:
        raise SolverError(
            f"{who}: {', '.join(wrong)} of the training's saved state are missing or of another shape; load a state "
            "dict as it was saved, or pass fresh=True"
        )


def _words(entry: Mapping[str, Any]) -> str:
    where = f" within {entry['within']}" if entry["within"] else ""
    how = f"{' in each layer' if entry['each_layer'] else ''}{', uniform' if entry['uniform'] else ''}"
    table = f", table {entry['table'][:8]}" if "table" in entry else ""
    return f"{entry['target']:g} of the {entry['measure']}{where}{how}{table}"
