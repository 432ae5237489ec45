"""Units that are left ungated, and why: data, printed with the plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lzero.plan.group import GateGroup, Member


@dataclass(frozen=True)
class Reason:
    """Why labels are frozen, and what the user can change; an empty text is a freeze that nobody needs to read."""

    text: str
    advice: str = ""


@dataclass(frozen=True)
class Refusal:
    """Units that are left ungated, and why.

    Attributes:
        name: the place, e.g. ``"encoder.norm1"``.
        size: the number of units refused.
        tensors: the tensors that they live on.
        reason: why gating them would not be exact.
        advice: what the user can change, or an empty string.
    """

    name: str
    size: int
    tensors: tuple[str, ...]
    reason: str
    advice: str = ""

    @classmethod
    def of(cls, name: str, size: int, members: Sequence[Member], reason: Reason) -> Refusal:
        """The refusal of ``size`` units that live on ``members``, called ``name``, for a ``reason``."""
        return cls(name, size, tuple(dict.fromkeys(m.tensor for m in members)), reason.text, reason.advice)

    @classmethod
    def of_group(cls, group: GateGroup, reason: Reason) -> Refusal:
        """The refusal of all gates of ``group``, for a ``reason``."""
        return cls(group.name, group.size, group.tensors, reason.text, reason.advice)
