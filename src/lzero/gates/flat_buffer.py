"""One flat tensor of a module that gradients reach, and that no optimizer of a training loop finds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class FlatBuffer(nn.Module):
    """A module with a buffer ``log_alpha`` that requires grad and stays one tensor, whatever a user does to the module.

    Loading and moving fill the tensor that its optimizer knows; casting leaves it in at least single precision.

    Args:
        log_alpha: the values that it begins with.
    """

    log_alpha: Tensor

    def __init__(self, log_alpha: Tensor) -> None:
        super().__init__()
        self.register_buffer("log_alpha", log_alpha.requires_grad_())

    def _replaced(self) -> None:
        """Take note that ``log_alpha`` has other values."""

    def _moved(self, like: Tensor) -> None:
        """Follow ``log_alpha`` to the device and the dtype of ``like``."""

    def _load_from_state_dict(self, *args: Any, **named: Any) -> None:
        """Load as any module, but keep ``log_alpha`` the tensor that its optimizer knows, also with ``assign=True``."""
        log_alpha = self.log_alpha
        super()._load_from_state_dict(*args, **named)
        if self.log_alpha is not log_alpha:
            with torch.no_grad():
                log_alpha.data = self.log_alpha.detach().to(torch.promote_types(self.log_alpha.dtype, torch.float32))
            self._buffers["log_alpha"] = log_alpha
        self._replaced()

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> FlatBuffer:
        """Move or cast as any module, but keep ``log_alpha`` one tensor, in at least single precision."""
        log_alpha = self._buffers.pop("log_alpha")
        try:
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        finally:
            self._buffers["log_alpha"] = log_alpha
        if log_alpha is None:
            return self
        with torch.no_grad():
            exact, grad = log_alpha.detach(), log_alpha.grad
            moved = fn(exact)
            if moved.dtype in (torch.bfloat16, torch.float16):
                moved = exact.to(moved.device)
            log_alpha.grad = None
            log_alpha.data = moved
            log_alpha.grad = None if grad is None else grad.to(moved)
            self._moved(moved)
        return self
