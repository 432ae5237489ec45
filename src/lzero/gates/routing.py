"""Gates on experts: log z is added to their logits, so that z = 0 is never chosen, and weighs nothing.

Behind a softmax, weights become z_j e^l_j / sum_i z_i e^l_i: of open experts what they are without the closed ones, and
smooth between. While a forward samples, z is what is drawn; elsewhere a gate is 0 or 1, as of :mod:`lzero.gates.skip`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from lzero.errors import StructureError
from lzero.gates.gates import Gates
from lzero.plan.router import Router

Gated = Callable[[], Tensor]
"""z of the experts in the current forward, [E]."""

_PRODUCTS = {functional.linear, torch.matmul, torch.mm, torch.addmm, torch.einsum, Tensor.matmul, Tensor.mm}
_PRODUCTS |= {Tensor.__matmul__, Tensor.__rmatmul__}


class ExpertsNow:
    """The gates of experts as the current draw has them; where that has none open, the likeliest alone is.

    Args:
        gates: where they are drawn.
        name: of their group.
    """

    def __init__(self, gates: Gates, name: str) -> None:
        self._gates, self._name, self._group = (gates,), name, list(gates.slices).index(name)

    def __call__(self) -> Tensor:
        """z, [E]."""
        gates = self._gates[0]
        draw = gates.current()
        z = draw.pieces(gates.log_alpha, draw.reached(gates.history))[self._group]
        if not torch.compiler.is_compiling():
            gates.drawing.check_recomputation()
        if not gates.drawing.samples(gates.training):
            z = z + ((z != 0).to(z.dtype) - z).detach()  # open or closed; with the gradient that z has
        return torch.where((z != 0).any(), z, self._likeliest().to(z.dtype))

    @torch.no_grad()
    def _likeliest(self) -> Tensor:
        rank = self._gates[0].estimator.rank(self._gates[0][self._name])
        return functional.one_hot(rank.argmax(), len(rank))


class ExpertsFixed:
    """Experts that are open or closed.

    Args:
        z: [E], 0 where one is closed.
    """

    def __init__(self, z: Tensor) -> None:
        self._z = (z != 0).double()

    def __call__(self) -> Tensor:
        """1 or 0 each, [E]."""
        return self._z


class Routing:
    """Hooks on the module in whose forward experts get their logits.

    Args:
        router: what is known of the product.
        shape: of its weight.
        experts: how many there are, E.
        gated: their gates.
    """

    def __init__(self, router: Router, shape: tuple[int, ...], experts: int, gated: Gated) -> None:
        self._router, self._shapes, self._experts, self._gated = router, {shape, shape[::-1]}, experts, gated
        self._running: list[_Product] = []

    def attach(self, module: nn.Module) -> None:
        """Put the hooks on ``module``."""
        if isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward:
            module.register_forward_hook(self.add)
        else:
            module.register_forward_pre_hook(self.begin)
            module.register_forward_hook(self.end, always_call=True)

    def add(self, module: nn.Module, inputs: tuple[Any, ...], logits: Tensor) -> Tensor:
        """``logits`` [..., E] with log z."""
        return logits + log_gates(self._gated()).to(device=logits.device, dtype=logits.dtype)

    def begin(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Watch for the product."""
        mode = _Product(self)
        mode.__enter__()  # type: ignore[no-untyped-call]
        self._running.append(mode)

    def end(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        """Watch no longer.

        Raises:
            StructureError: the forward has gone by without the product.
        """
        mode = self._running.pop()
        mode.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        if output is not None and not mode.found:
            raise StructureError(
                f"{self._router.path}: ran without a product with {self._router.tensor}, at which closed experts are "
                "left out; call it as in the forward of the example inputs, or pass it to ignore="
            )

    def is_product(self, func: Any, operands: list[Any], made: Any) -> bool:
        """Whether an op gave the logits."""
        return (
            func in _PRODUCTS
            and isinstance(made, Tensor)
            and made.dim() > 0
            and made.shape[-1] == self._experts
            and any(isinstance(operand, Tensor) and tuple(operand.shape) in self._shapes for operand in operands)
        )

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_running": []}


class _Product(TorchFunctionMode):
    """Within the context the first product with the weight of a router gets log z added."""

    def __init__(self, routing: Routing) -> None:
        super().__init__()
        self._routing, self.found = routing, False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """The op's result, with log z where it is the product."""
        made = func(*args, **(kwargs or {}))
        if not self.found and self._routing.is_product(func, [*args, *(kwargs or {}).values()], made):
            self.found = True
            return self._routing.add(nn.Identity(), (), made)
        return made


def log_gates(z: Tensor) -> Tensor:
    """log z, and -inf where a gate is closed, without a gradient there.

    Example:
        >>> log_gates(torch.tensor([1.0, 0.5, 0.0]))
        tensor([ 0.0000, -0.6931,    -inf])
    """
    open_ = z != 0
    return torch.where(open_, z.abs(), 1.0).log().masked_fill(~open_, -torch.inf)
