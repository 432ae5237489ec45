"""Forwards that compute in float32 whatever the model's dtype, without the rounding that this brings."""

from __future__ import annotations

from typing import Any

import torch

from lzero._torch import EagerDispatchMode

_LESS = (torch.float32, torch.bfloat16, torch.float16)


class Promoted(EagerDispatchMode):
    """A mode in which an op that asks for floats of less than float64 gets float64.

    So ``q.float() @ k.float()`` in a float64 model is what it is without the casts: a comparison of two such models
    need not allow for them.

    Attributes:
        asked: the float dtypes of less than float64 that ops have asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked = set[torch.dtype]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The op's result, in float64 where it asks for less."""
        kwargs = kwargs or {}
        if kwargs.get("dtype") in _LESS:
            self.asked.add(kwargs["dtype"])
            kwargs = {**kwargs, "dtype": torch.float64}
        return func(*args, **kwargs)
