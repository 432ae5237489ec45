"""Lightning: ``Trainer(callbacks=[lzero.integrations.lightning.Budget(0.10)])``."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lzero.integrations.lightning.budget import Budget as Budget

__all__ = ["Budget"]


if not TYPE_CHECKING:  # a checker must see every name that is not there

    def __getattr__(name: str) -> object:
        """``Budget``, imported on first use: the parts that it is made of need no Lightning."""
        if name == "Budget":
            return importlib.import_module(f"{__name__}.budget").Budget
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
