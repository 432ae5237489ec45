"""Purging a model whose weights are sharded over processes: one call, on all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from lzero.attach import attach_gates
from lzero.checks import flag, shown
from lzero.constraints import Constraint
from lzero.errors import StructureError
from lzero.gates.gates import Gates
from lzero.purge import PurgeResult
from lzero.purge import purge as purge_plain
from lzero.surgery.attached import require_gates


def purge(
    model: nn.Module,
    build_model: Callable[[], nn.Module],
    *,
    rank: int | None = 0,
    constraints: Sequence[Constraint] | None = None,
    settle: bool = True,
    verify: bool = True,
) -> PurgeResult | None:
    """What :func:`lzero.purge` would give of ``model`` in one place, to the bit; to be called on all processes.

    The processes gather the whole state; then a fresh model gets it, with gates by the plan of the sharded one, and is
    purged. ``model`` is left as it was, and may be trained on.

    Args:
        model: a gated model, sharded by ``fully_shard`` or FullyShardedDataParallel; also a plain one, or one in
            DistributedDataParallel.
        build_model: builds the network that gates were attached to, without gates, on one process.
        rank: the process that purges; None for every one.
        constraints, settle, verify: as for :func:`lzero.purge`.

    Returns:
        The result, on the CPU; None on the other processes.

    Raises:
        StructureError: ``model`` has no gates, or ``build_model`` builds another network. What goes wrong on one
            process is raised on all of them.
        BudgetError: an infeasible budget.
    """
    gates = require_gates(model)
    for name, answer in (("settle", settle), ("verify", verify)):
        flag(name, answer, error=StructureError)
    several = distributed.is_available() and distributed.is_initialized()
    here, processes = (distributed.get_rank(), distributed.get_world_size()) if several else (0, 1)
    if rank is not None and (not isinstance(rank, int) or isinstance(rank, bool) or not 0 <= rank < processes):
        raise StructureError(f"rank: expected one of 0 to {processes - 1}, or None for all, found {shown(rank)}")
    if not callable(build_model) or isinstance(build_model, nn.Module):
        raise StructureError(
            "build_model: expected a function that builds the network anew, such as lambda: Net(width=300), found "
            f"{shown(build_model)}"
        )
    # With cpu_offload the first process alone is given the state; on the CPU it frees what it should copy (FSDP1).
    offload = rank == 0 and gates.log_alpha.device.type != "cpu"
    options = StateDictOptions(full_state_dict=True, cpu_offload=offload)
    state: dict[str, Any] = get_model_state_dict(model, options=options)
    result: PurgeResult | None = None
    problem: BaseException | None = None
    if rank in (None, here):
        try:
            twin = _gated_twin(build_model, gates, state, model.training)
            del state
            result = purge_plain(twin, constraints=constraints, settle=settle, verify=verify)
        except Exception as error:  # the others wait
            problem = error
    _tell(problem, here, processes)
    return result


def _gated_twin(
    build_model: Callable[[], nn.Module], gates: Gates, state: Mapping[str, Any], training: bool
) -> nn.Module:
    """A plain model with the gates and the state of the sharded one.

    Raises:
        StructureError: it is another network.
    """
    twin = build_model()
    if not isinstance(twin, nn.Module):
        raise StructureError(f"build_model: expected it to return an nn.Module, found {shown(twin)}")
    twin.to("cpu").train(training)
    attach_gates(twin, gates.plan, estimator=gates.estimator, per_example=gates.per_example, rescale=False)
    own = twin.state_dict()
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            if isinstance(state.get(name), Tensor) and state[name].dtype != parameter.dtype:  # cast before sharding
                parameter.data = parameter.data.to(state[name].dtype)
    lacking = [name for name in own if name not in state]
    if lacking:
        raise StructureError(
            f"build_model: the network that it builds has {lacking[0]}, and the sharded one has not; build the network "
            "that was trained, without gates"
        )
    twin.load_state_dict({name: value.cpu() for name, value in state.items()})
    return twin


def _tell(problem: BaseException | None, here: int, processes: int) -> None:
    """Raise on every process what went wrong on any."""
    if processes > 1:
        said: list[str | None] = [None] * processes
        distributed.all_gather_object(said, None if problem is None else f"{type(problem).__name__}: {problem}")
        other = next(((number, text) for number, text in enumerate(said) if text is not None), None)
        if problem is None and other is not None:
            raise StructureError(f"purge: process {other[0]} could not: {other[1]}")
    if problem is not None:
        raise problem
