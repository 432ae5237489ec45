"""What a training of gates was asked for as plain data: as JSON, and as the bytes of it that a state dict holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lzero.constraints import Constraint
from lzero.errors import BudgetError
from lzero.latency.packed import unpack

KIND = "seam"
"""The entry of a saved description that names the class which trains the gates: a word of every file that was saved."""


def to_json(constraints: Sequence[Constraint]) -> list[dict[str, Any]]:
    """Constraints as plain values; of a table its digest."""
    plain = [vars(constraint).copy() for constraint in constraints]
    for entry in plain:
        table = entry.pop("table")
        entry |= {} if table is None else {"table": table.digest}
    return plain


def from_tensor(asked: Tensor, tables: Tensor | None = None) -> dict[str, Any]:
    """What :func:`to_tensor` made of a description; ``constraints`` are :class:`Constraint` again.

    Args:
        asked: the description.
        tables: of latencies, packed by :func:`lzero.latency.packed.pack`.

    Raises:
        BudgetError: bytes that are none of that.
    """
    try:
        found: dict[str, Any] = json.loads(bytes(asked.cpu().to(torch.uint8).tolist()).decode())
        known = unpack(tables)
        for entry in found["constraints"]:
            entry |= {"table": known[entry["table"]]} if "table" in entry else {}
        return {**found, "constraints": tuple(Constraint(**entry) for entry in found["constraints"])}
    except (BudgetError, KeyError, RuntimeError, TypeError, ValueError, RecursionError) as problem:
        raise BudgetError(
            f"the saved description of the budgets cannot be read: {problem}; load a state dict as it was saved"
        ) from problem


def to_tensor(asked: dict[str, Any]) -> Tensor:
    """A description of what was asked, as the bytes of its JSON, uint8: state dicts hold tensors and nothing else."""
    plain = {**asked, "constraints": to_json(asked["constraints"])}
    return torch.tensor(list(json.dumps(plain, sort_keys=True).encode()), dtype=torch.uint8)
