"""The errors lzero raises: each message names the place, the reason and the way out."""

from __future__ import annotations


class LzeroError(Exception):
    """Base of every error that lzero raises on purpose."""


class StructureError(LzeroError, ValueError):
    """A model, plan or example input that cannot be gated or purged as asked."""


class BudgetError(LzeroError, ValueError):
    """A budget that is malformed or that no choice of gates can meet."""


class SolverError(LzeroError, RuntimeError):
    """A solver that is set up wrong, or a step that came at the wrong moment of the training loop."""


class NonFiniteError(SolverError):
    """Loss gradients on the gates that are NaN or infinite, many times in a row."""


class RecordError(LzeroError, ValueError):
    """Rows that cannot be recorded, read or drawn: values that are no numbers, a damaged CSV, missing columns."""


class LzeroWarning(UserWarning):
    """What a user should know before trusting a result: a training too short for its budget, a purge without one."""
