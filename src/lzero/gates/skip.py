"""Gates on a whole module: with z its result is (1 - z) input + z output, or z output for a branch.

While a forward samples, z is what is drawn. Elsewhere (eval mode, gates that a training holds, gates that are fixed) a
gate is 0 or 1: the scale E[z] of an open one cannot be folded into the weights of a block with norms and residuals
inside, and what is shipped is the block as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lzero.errors import StructureError
from lzero.gates.gates import Gates
from lzero.host.first_tensor import first_tensor, with_first_tensor
from lzero.plan.block import Block

Switch = Callable[[], Tensor | float]
"""The gate of a module in the current forward: a tensor without dims, or a plain 0 or 1."""


class GateNow:
    """A gate as the current draw has it.

    Args:
        gates: where it is drawn.
        group: number of its group.
        place: of the gate in the group.
    """

    def __init__(self, gates: Gates, group: int, place: int) -> None:
        self._gates, self._group, self._place = (gates,), group, place

    def __call__(self) -> Tensor:
        """z, without dims."""
        gates = self._gates[0]
        draw = gates.current()
        z = draw.pieces(gates.log_alpha, draw.reached(gates.history))[self._group][self._place]
        if not torch.compiler.is_compiling():
            gates.drawing.check_recomputation()
        if gates.drawing.samples(gates.training):
            return z
        return z + ((z != 0).to(z.dtype) - z).detach()  # open or closed; with the gradient that z has


class GateFixed:
    """A gate that is open or closed."""

    def __init__(self, *, opened: bool) -> None:
        self._z = float(opened)

    def __call__(self) -> float:
        """1 or 0."""
        return self._z


class Skip:
    """A hook on a module that its gate blends out.

    Args:
        block: what is known of the module.
        switch: its gate.
    """

    def __init__(self, block: Block, switch: Switch) -> None:
        self._block, self._switch = block, switch

    def attach(self, module: nn.Module) -> None:
        """Put the hook on ``module``."""
        module.register_forward_hook(self.blend, with_kwargs=True)

    def blend(self, module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:
        """``output`` with the tensor in it blended.

        Raises:
            StructureError: the module no longer gives what it gave when the gates were attached.
        """
        given, made = first_tensor((inputs, named)), first_tensor(output)
        if given is None or made is None or (self._block.closed != "zero" and given.shape != made.shape):
            found = "nothing" if made is None else f"shape {list(made.shape)}"
            raise StructureError(
                f"{self._block.path}: expected it to return a tensor like its input, found {found}; call it as in the "
                "forward of the example inputs, or pass it to ignore="
            )
        z = self._switch()
        if isinstance(z, float):
            z = made.new_tensor(z)
        z = z.to(device=made.device, dtype=made.dtype)
        blended = made * z if self._block.closed == "zero" else torch.lerp(given.to(made.dtype), made, z)
        return with_first_tensor(output, blended)
