"""Putting gates on a model, all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lzero._torch import NOT_SYNCHRONIZED
from lzero.gates.gate import Gate
from lzero.gates.gates import Gates
from lzero.host.snapshot import Snapshot
from lzero.host.tensors import find_tensor
from lzero.plan.ownership import Maps
from lzero.surgery.adapters import seal, sealed
from lzero.surgery.attached import factors, gated_leaves, gates_on
from lzero.surgery.checkpoint import load_training, save_training, show_place
from lzero.surgery.fills import attach_fills, filled_layers
from lzero.surgery.grown import Watch
from lzero.surgery.recurrent import follow_gates
from lzero.surgery.routings import attach_routings, routing_modules
from lzero.surgery.skips import attach_skips, switched_modules

Place = tuple[nn.Module, str, int, Sequence[Tensor]]  # module, parameter name, dim, gates of each position


def register(
    model: nn.Module,
    maps: Maps,
    gates: Gates,
    *,
    rescale: bool,
    then: Callable[[nn.Module, Gates], None] = lambda model, gates: None,
) -> None:
    """Parametrize every gated tensor of ``model`` and let its forward draw; ``rescale`` divides weights by E[z].

    Whatever stops it, Ctrl-C included, also in what it does ``then``, ``model`` is as it was before, to the bit.
    """
    places, norms = _every_alias(model, maps or _home(model, gates)), filled_layers(model, gates.plan.groups)
    switched, routed = switched_modules(model, gates.plan.groups), routing_modules(model, gates.plan.groups)
    inside = [*(item[0] for item in places), *(item[0] for item in norms)]
    inside += [*(item[0] for item in switched), *(item[0] for item in routed)]
    changed = [model, *inside, *sealed(model)]
    before = Snapshot(dict.fromkeys(changed))
    try:
        _parametrize(places, gates)
        attach_fills(norms, gates)
        attach_skips(switched, gates)
        attach_routings(routed, gates)
        model.register_forward_pre_hook(Watch(gates))
        model.register_forward_pre_hook(gates.draw)
        model.register_load_state_dict_pre_hook(load_training)  # type: ignore[no-untyped-call]
        model.register_state_dict_post_hook(save_training)  # type: ignore[no-untyped-call]
        show_place(model)
        seal(model)
        _hide_from_data_parallel(model)
        then(model, gates)
        if rescale:
            with torch.no_grad():
                for tensor, factor in factors(model, gates.means()):
                    before.keep(tensor)
                    tensor.div_(factor)
    except BaseException:
        before.restore()
        raise


def _parametrize(places: Sequence[Place], gates: Gates) -> None:
    orders: dict[nn.Module, tuple[str, ...]] = {}
    first = True
    with gates.fixed(torch.ones(len(gates))):  # registration reads the weights, and must draw nothing
        for module, leaf, dim, stack in places:
            siblings = orders.setdefault(module, tuple(module._parameters))
            gate = Gate(gates, stack, dim, owner=first, siblings=siblings)
            parametrize.register_parametrization(module, leaf, gate)
            first = False
    for module in orders:
        if isinstance(module, nn.RNNBase):
            follow_gates(module)
        if gates.per_example:
            for leaf in gated_leaves(module):
                for gate in gates_on(module, leaf):
                    module.register_forward_pre_hook(gate.read, with_kwargs=True)


def _home(model: nn.Module, gates: Gates) -> Maps:
    """Where ``gates`` that multiply no tensor are kept: on a small one that leaves with a block, as a factor of one."""
    tensors = {name: find_tensor(model, name) for group in gates.plan.groups for name in group.tensors}
    floats = [name for name, tensor in tensors.items() if tensor.is_floating_point() and tensor.numel()]
    plain = [name for name in floats if "parametrizations" not in name.split(".")]
    name = min(plain or floats or tensors, key=lambda name: tensors[name].numel())
    return {(name, -1): [torch.full((tensors[name].numel(),), len(gates))]}


def _every_alias(model: nn.Module, maps: Maps) -> list[Place]:
    """The (module, parameter name, dim, maps) of every registration, over all names of a tied parameter."""
    places: list[Place] = []
    for (name, dim), stack in maps.items():
        tensor = find_tensor(model, name)
        for module in model.modules():
            for leaf in [leaf for leaf, parameter in module._parameters.items() if parameter is tensor]:
                places.append((module, leaf, dim, stack))
    return places


def _hide_from_data_parallel(model: nn.Module) -> None:
    """Let DistributedDataParallel leave ``log_alpha`` alone: the solver averages its gradient over the processes."""
    hidden: list[str] = list(getattr(model, NOT_SYNCHRONIZED, ()))
    hidden += [name for name, _ in model.named_buffers() if name.endswith(".gates.log_alpha")]
    setattr(model, NOT_SYNCHRONIZED, hidden)
