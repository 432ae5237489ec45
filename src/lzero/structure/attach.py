"""Gates on a stranger's model: everything is checked before anything changes."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from lzero.errors import StructureError
from lzero.gates.estimator import Estimator
from lzero.gates.gate import Gate
from lzero.gates.gates import Gates
from lzero.gates.hard_concrete import HardConcrete
from lzero.structure.copies import private_copy
from lzero.structure.discover import discover
from lzero.structure.forward import map_tensors
from lzero.structure.gated import accept_plain_checkpoint, gated_leaves, gates_of, gates_on
from lzero.structure.group import GateGroup
from lzero.structure.per_example import check_products, check_readers
from lzero.structure.plan import Plan
from lzero.structure.recurrent import follow_gates, read_plain_weights
from lzero.structure.shrink import find_tensor
from lzero.structure.unnoticed import check_unnoticed


def attach_gates(
    model: nn.Module,
    example_inputs: Any,
    *,
    granularity: str | Mapping[str, str] = "unit",
    estimator: Estimator | None = None,
    per_example: bool = False,
    open_probability: float | Mapping[str, float] = 0.97,
    rescale: bool = True,
    ignore: Iterable[str] = (),
) -> Gates:
    """The gates of ``model``, attached in place; build the optimizer afterwards.

    Each gate multiplies the weights that *read* its unit. Gated tensors become parametrized; the gates are registered
    inside the first of those parametrizations, so that a model that iterates over its children sees none. And
    ``model.load_state_dict`` still takes checkpoints of the ungated model.

    Args:
        model: any module that :func:`discover` finds units in.
        example_inputs: a tensor, a tuple of positional or a dict of keyword arguments of one forward; or the
            :class:`Plan` that ``discover`` returned for this model.
        granularity: ``"unit"``, ``"input"`` (units, and the features that Linears read) or ``"weight"``; or a mapping
            from module path to one of them.
        estimator: the distribution of one gate; hard concrete by default.
        per_example: draw every gate anew for each example of a batch, instead of once for all of them. It needs units
            that Linears and ungrouped convolutions read, and one batch size throughout the forward.
        open_probability: P(z != 0) at the start, in (0, 1); one for all or a mapping from group name, with ``""`` for
            the groups that it does not name.
        rescale: divide gated weights by E[z], so that the network starts at its ungated scale in expectation.
        ignore: module paths or parameter names to leave ungated.

    Raises:
        StructureError: the model has gates already, nothing in it can be gated, the plan belongs to another model, or
            an argument is malformed. The model is then as it was, to the bit.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
        >>> gates = attach_gates(model, torch.zeros(1, 8))
        >>> len(gates)
        16
    """
    _check_ungated(model)
    if isinstance(example_inputs, Plan):
        plan = example_inputs
        if granularity != "unit" or tuple(ignore):
            raise StructureError("granularity and ignore are settled in a Plan; pass them to lzero.discover instead")
    else:
        plan = discover(model, example_inputs, granularity=granularity, ignore=ignore)
    if not plan.groups:
        raise StructureError(f"{type(model).__name__}: nothing can be gated exactly.\n{plan}")
    _check_plan(model, plan)
    estimator = estimator or HardConcrete()
    start = _initial_log_alpha(plan, estimator, open_probability)

    groups = sorted(plan.groups, key=lambda group: group.kind == "input")  # owners come before what they own
    gates = Gates({group.name: group.size for group in groups}, _owners(groups), estimator, per_example)
    with torch.no_grad():
        for name, value in start.items():
            gates[name].view(len(value), -1).copy_(torch.tensor(value)[:, None])
    device, dtype = _placement(model)
    gates.to(device=device, dtype=dtype)
    gates.train(model.training)
    maps = gate_maps(model, groups, gates)
    if per_example:
        check_readers(model, groups)
    twin, twin_gates = private_copy(model), copy.deepcopy(gates)
    _register(twin, maps, twin_gates)
    check_unnoticed(twin, twin_gates, model, plan)
    if per_example:
        check_products(twin, twin_gates, plan)
    inputs = map_tensors(plan.example_inputs, lambda tensor: tensor.detach().clone())  # the batch may be reused
    gates.rescaled = rescale
    gates.plan = replace(plan, example_inputs=inputs)
    _register(model, maps, gates)
    if rescale:
        _rescale(model, gates.means())
    model.register_forward_pre_hook(gates.draw)
    model.register_load_state_dict_pre_hook(accept_plain_checkpoint)  # type: ignore[no-untyped-call]
    return gates


def parameter_groups(
    model: nn.Module, lr: float, gate_lr: float, *, weight_decay: float = 0.0, **options: Any
) -> list[dict[str, Any]]:
    """Optimizer groups of a gated ``model``: its weights, then its gates (which never decay).

    Args:
        lr: learning rate of the weights.
        gate_lr: learning rate of the gates; several times ``lr`` makes the constraint fast.
        weight_decay: of the weights alone.
        options: further entries of the weights' group, such as ``betas``.

    Raises:
        StructureError: ``model`` has no gates.
    """
    gates = gates_of(model)
    if gates is None:
        raise StructureError(f"{type(model).__name__}: no gates attached; call lzero.attach_gates(model, inputs) first")
    weights = [p for p in model.parameters() if p is not gates.log_alpha]
    return [
        {"params": weights, "lr": lr, "weight_decay": weight_decay, **options},
        {"params": [gates.log_alpha], "lr": gate_lr, "weight_decay": 0.0},
    ]


Maps = Mapping[tuple[str, int], Sequence[Tensor]]


def gate_maps(model: nn.Module, groups: Sequence[GateGroup], gates: Gates) -> Maps:
    """For every gated (tensor, dim) its index maps, long [length of dim]: the gate of each position, G where none.

    Several maps on one dim multiply (an input gate on a flattened channel).
    """
    maps: dict[tuple[str, int], list[Tensor]] = {}
    for group in groups:
        offset = gates.slices[group.name].start
        flat = torch.arange(offset, offset + group.size)
        for member in group.consumers:
            tensor = find_tensor(model, member.tensor)
            length = tensor.numel() if member.dim < 0 else tensor.shape[member.dim]
            stack = maps.setdefault((member.tensor, member.dim), [])
            positions = member.index.cpu()
            free = next((m for m in stack if bool((m[positions] == len(gates)).all())), None)
            if free is None:
                free = torch.full((length,), len(gates))
                stack.append(free)
            free[positions] = flat[:, None].expand(-1, member.width)
    return maps


def _owners(groups: Sequence[GateGroup]) -> Tensor:
    """For each input gate the flat index of the unit gate that owns the same feature, else -1; long [G]."""
    owner_at: dict[str, Tensor] = {}
    owners, start = [], 0
    for group in groups:
        mine = torch.full((group.size,), -1)
        for member in group.consumers:
            if member.dim != 1:
                continue
            length = int(member.index.max()) + 1
            table = owner_at.get(member.tensor, torch.full((0,), -1))
            if length > len(table):
                table = torch.cat([table, torch.full((length - len(table),), -1)])
            if group.kind == "input":
                mine = table[member.index[:, 0]]
            elif group.kind == "unit":
                table[member.index] = torch.arange(start, start + group.size)[:, None].expand(-1, member.width)
                owner_at[member.tensor] = table
        owners.append(mine)
        start += group.size
    return torch.cat(owners)


def _check_ungated(model: nn.Module) -> None:
    for path, module in model.named_modules():
        if isinstance(module, Gates) or gated_leaves(module):
            raise StructureError(
                f"{path or type(model).__name__}: gates are attached already; build the model anew, or purge it, and "
                "attach gates once, to the outermost module"
            )


def _check_plan(model: nn.Module, plan: Plan) -> None:
    found = {name: tuple(p.shape) for name, p in model.named_parameters()}
    expected = {name: tuple(shape) for name, shape in plan.shapes.items()}
    if found != expected:
        wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        raise StructureError(
            f"{wrong[0]}: the plan says {expected.get(wrong[0], 'nothing')}, "
            f"the model has {found.get(wrong[0], 'nothing')}; call lzero.discover on this model"
        )


def _initial_log_alpha(
    plan: Plan, estimator: Estimator, open_probability: float | Mapping[str, float]
) -> dict[str, tuple[float, ...]]:
    names = [group.name for group in plan.groups]
    if not isinstance(open_probability, Mapping):
        return {name: estimator.initial(open_probability) for name in names}
    unknown = [name for name in open_probability if name and name not in names]
    if unknown:
        raise StructureError(f"open_probability: no group is called {unknown[0]!r}; the groups are {', '.join(names)}")
    default = open_probability.get("", 0.97)
    return {name: estimator.initial(open_probability.get(name, default)) for name in names}


def _placement(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Where the gates live: the device of the model's first parameter, in float32, or float64 for a float64 model."""
    first = next(model.parameters())
    return first.device, torch.float64 if first.dtype == torch.float64 else torch.float32


def _register(model: nn.Module, maps: Maps, gates: Gates) -> None:
    """Parametrize every gated tensor; where one of them refuses, none is."""
    done: list[tuple[nn.Module, str]] = []
    with gates.fixed(torch.ones(len(gates))):  # registration reads the weights, and must draw nothing
        try:
            for module, leaf, dim, index in _every_alias(model, maps):
                parametrize.register_parametrization(module, leaf, Gate(gates, index, dim, owner=not done))
                done.append((module, leaf))
        except Exception:
            for module, leaf in dict.fromkeys(done):
                parametrize.remove_parametrizations(module, leaf, leave_parametrized=False)
                if isinstance(module, nn.RNNBase):
                    read_plain_weights(module)
            raise
    for module in dict.fromkeys(module for module, _ in done):
        if isinstance(module, nn.RNNBase):
            follow_gates(module)
        if gates.per_example:
            for leaf in gated_leaves(module):
                for gate in gates_on(module, leaf):
                    module.register_forward_pre_hook(gate.read, with_kwargs=True)


@torch.no_grad()
def _rescale(model: nn.Module, mean: Tensor) -> None:
    """Divide every gated tensor of a model with gates, once where it is tied, by the ``mean`` [G] of its gates."""
    done: set[int] = set()
    for module in model.modules():
        for leaf in gated_leaves(module):
            steps: Any = module.parametrizations[leaf]  # type: ignore[index]
            if id(steps.original) not in done:
                done.add(id(steps.original))
                for gate in steps:
                    steps.original.div_(gate.factor(mean, steps.original))


def _every_alias(model: nn.Module, maps: Maps) -> list[tuple[nn.Module, str, int, Tensor]]:
    """The (module, parameter name, dim, index) of every registration, over all names of a tied parameter."""
    places = []
    for (name, dim), stack in maps.items():
        tensor = find_tensor(model, name)
        for module in model.modules():
            for leaf in [leaf for leaf, parameter in module._parameters.items() if parameter is tensor]:
                places += [(module, leaf, dim, index) for index in stack]
    return places
