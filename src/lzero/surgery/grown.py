"""Parameters that a model has got since gates were attached to it: no gate knows of them."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from lzero.errors import StructureError
from lzero.gates.gates import Gates
from lzero.surgery.adapters import adapter_paths, adapter_that_owns

_FIRST, _EVERY = 3, 50


class Watch:
    """A forward pre-hook: whether the model still is the one that ``gates`` were attached to.

    It looks at the first train-mode forwards of every solver, for models are put together before, and now and then
    afterwards.
    """

    def __init__(self, gates: Gates) -> None:
        self.gates = gates
        self._holders, self._forwards = 0, 0

    def __call__(self, model: nn.Module, *_: Any) -> None:
        """Look, where it is time.

        Raises:
            StructureError: the model has more parameters than it had.
        """
        if torch.compiler.is_compiling() or not model.training:
            return
        if self._holders != self.gates.ledger.holders:
            self._holders, self._forwards = self.gates.ledger.holders, 0
        self._forwards += 1
        if self._forwards <= _FIRST or self._forwards % _EVERY == 0:
            check_not_grown(model, self.gates)


def check_not_grown(model: nn.Module, gates: Gates) -> None:
    """Raise where ``model`` has parameters that it had not when ``gates`` were attached.

    Raises:
        StructureError: naming one of them, and the way out.
    """
    known = gates.plan.shapes
    if sum(1 for _ in model.parameters()) <= len(known):
        return
    names = [re.sub(r"(^|\.)parametrizations\.(\w+)\.original$", r"\1\2", name) for name, _ in model.named_parameters()]
    new, adapters = [name for name in names if name not in known], adapter_paths(model)
    for name in new:
        if adapter_that_owns(adapters, name) is not None:
            raise StructureError(
                f"{name}: belongs to an adapter that came into the model after its gates, and would stay ungated where "
                "the layer around which it stands is gated. Take lzero.integrations.peft.get_peft_model(model, config) "
                "in place of peft's own; or lzero.detach_gates(model) first, and attach gates to the model with it"
            )
    raise StructureError(
        f"{new[0]}: came into the model after its gates, which know nothing of it; call lzero.detach_gates(model), and "
        "attach gates to the model as it is now"
    )
