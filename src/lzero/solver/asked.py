"""What a training of gates was asked for, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lzero.constraints import from_tensor, to_json
from lzero.errors import BudgetError


def described(asked: Tensor | None) -> str:
    """What was asked, in words."""
    if asked is None:
        return "something unknown"
    try:
        found = from_tensor(asked)
    except BudgetError:
        return "something unreadable"
    budgets = ", ".join(_words(entry) for entry in to_json(found.pop("constraints")))
    rest = ", ".join(f"{name}={value}" for name, value in found.items() if name != "seam" and value is not None)
    kind = found["seam"]
    article = "an" if kind[:1] in "AEIOU" else "a"
    return f"{article} {kind} ({', '.join(part for part in (budgets, rest) if part)})"


def _words(entry: Mapping[str, Any]) -> str:
    where = f" within {entry['within']}" if entry["within"] else ""
    return f"{entry['target']:g} of the {entry['measure']}{where}{' in each layer' if entry['each_layer'] else ''}"
