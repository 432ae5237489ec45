"""Gates on experts: of the draws while a model trains, of one set for a comparison, and off again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from lzero._torch import remove_hooks
from lzero.errors import StructureError
from lzero.gates.gates import Gates
from lzero.gates.routing import ExpertsFixed, ExpertsNow, Routing
from lzero.host.tensors import find_tensor
from lzero.plan.group import GateGroup
from lzero.plan.router import Router

Routed = list[tuple[nn.Module, Router, tuple[int, ...], GateGroup]]
"""Modules that choose experts, each with what is known of its product, the shape of the weight, and its experts."""


def routing_modules(model: nn.Module, groups: Iterable[GateGroup]) -> Routed:
    """The modules of ``model`` that choose among experts of ``groups``.

    Raises:
        StructureError: there is no module, or no weight, where one is expected.
    """
    found: Routed = []
    for group in groups:
        if group.router is not None:
            router = group.router
            try:
                shape = tuple(find_tensor(model, router.tensor).shape)
                found.append((model.get_submodule(router.path), router, shape, group))
            except AttributeError:
                raise StructureError(
                    f"{router.path}: the plan says that experts are chosen here, the model has no such module; call "
                    "lzero.discover on this model"
                ) from None
    return found


def attach_routings(routed: Routed, gates: Gates) -> None:
    """Let what :func:`routing_modules` found leave out the experts that the draws of ``gates`` close."""
    for module, router, shape, group in routed:
        Routing(router, shape, group.size, ExpertsNow(gates, group.name)).attach(module)


def route_around(model: nn.Module, groups: Iterable[GateGroup], values: Mapping[str, Tensor]) -> None:
    """Let ``model`` leave out the experts that ``values`` closes; ``values[group.name]`` is z, [k]."""
    for module, router, shape, group in routing_modules(model, groups):
        Routing(router, shape, group.size, ExpertsFixed(values[group.name])).attach(module)


def remove_routings(model: nn.Module) -> None:
    """Let all modules of ``model`` choose among all that they have."""
    for module in model.modules():
        remove_hooks(module, _is_routing)


def _is_routing(hook: object) -> bool:
    return isinstance(getattr(hook, "__self__", None), Routing)
