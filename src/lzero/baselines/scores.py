"""What a gate is worth to a pruning baseline: one number a gate, the largest are kept."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lzero.gates.gates import Gates
from lzero.plan.group import GateGroup, Member
from lzero.surgery.attached import raw_tensor

_TINY = 1e-30


@torch.no_grad()
def magnitude_scores(gates: Gates, model: nn.Module) -> Tensor:
    """The magnitude of what every gate can remove, float64 [G]; 1 is the average of its layer.

    For a unit (or an input feature) j, over the M weight tensors that make it or read it, biases and normalisation
    left out, with w_jm the slice of the tensor w_m that belongs to it:

        score_j = sqrt( 1/M sum_m  mean(w_jm^2) / mean(w_m^2) )

    Of an expert all its matrices count, and of a whole block their mean square over all blocks of its group.

    Each tensor is measured by its own root mean square, so that layers of any width, fan-in and initialisation can be
    ranked together: the layer-wise normalisation of Molchanov et al., arXiv 1611.06440, with means in
    place of sums, as weights that make a unit and weights that read it come in different numbers.

    For a block or a branch as a whole: the same over the M matrices and kernels in it, each over the mean square of
    those at its place in all blocks of the group.

    For gates of single weights: ``|w|``, over the root mean square of all weights that are gated singly. The ranking
    is that of global magnitude pruning; the divisor only makes them comparable with units of the same model.

    Args:
        gates: attached gates.
        model: the model that they were attached to; its raw weights count, without their gates.
    """
    squares = {group.name: _mean_squares(group, gates, model) for group in gates.plan.groups}
    single = [squares[group.name] for group in gates.plan.groups if group.kind == "weight"]
    unit = torch.cat(single).mean().clamp_min(_TINY) if single else torch.ones(())
    out = torch.zeros(len(gates), dtype=torch.float64, device=gates.log_alpha.device)
    for group in gates.plan.groups:
        value = squares[group.name]
        out[gates.slices[group.name]] = (value / unit.to(value) if group.kind == "weight" else value).sqrt()
    return out


def lamp_scores(gates: Gates, magnitude: Tensor) -> Tensor:
    """Layer-adaptive magnitudes, float64 [G]: each square over the sum of those of its group that are as large.

    The largest of every group has score 1. Source: Lee et al., arXiv 2010.07611, where the groups are the
    weights of a layer; here they may also be its units.

    Args:
        gates: attached gates.
        magnitude: what :func:`magnitude_scores` returned, [G].
    """
    out = torch.empty_like(magnitude)
    for where in gates.slices.values():
        descending, order = (magnitude[where] ** 2).sort(descending=True, stable=True)
        out[where][order] = descending / descending.cumsum(0).clamp_min(_TINY)
    return out


def random_scores(gates: Gates, seed: int) -> Tensor:
    """Uniform scores, float64 [G], from a generator of their own.

    Args:
        gates: attached gates.
        seed: of the generator.
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(len(gates), generator=generator, dtype=torch.float64).to(gates.log_alpha.device)


def _mean_squares(group: GateGroup, gates: Gates, model: nn.Module) -> Tensor:
    """For each gate of a group its mean square, float64 [k]; relative to the whole tensor unless it is one weight."""
    total = torch.zeros(group.size, dtype=torch.float64, device=gates.log_alpha.device)
    members = [m for m in group.members if _counts(m, group, gates)]
    for member in members:
        square = raw_tensor(model, member.tensor).detach().to(total) ** 2
        if member.dim < 0:
            total += member.gather(square.flatten()).mean(1)
            continue
        others = [dim for dim in range(square.dim()) if dim != member.dim]
        positions = square.mean(others) if others else square
        total += member.gather(positions).mean(1) / square.mean().clamp_min(_TINY)
    if group.blocks:
        total += _mean_squares_of_blocks(group, model).to(total)
    return total / max(len(members) + bool(group.blocks), 1)


def _counts(member: Member, group: GateGroup, gates: Gates) -> bool:
    shape = gates.plan.shapes.get(member.tensor)
    return shape is not None and (len(shape) > 1 if group.router is not None else member.role != "coupled")


def _mean_squares_of_blocks(group: GateGroup, model: nn.Module) -> Tensor:
    """For each block of a group the mean square of its matrices, relative to those at the same place in all blocks."""
    places: dict[str, dict[int, float]] = {}  # path of a tensor in a block -> number of the block -> mean square
    for number, block in enumerate(group.blocks):
        for name in block.tensors:
            tensor = raw_tensor(model, name)
            if tensor.dim() > 1:
                places.setdefault(name.removeprefix(block.path), {})[number] = float(tensor.double().square().mean())
    total, count = torch.zeros(group.size, dtype=torch.float64), torch.zeros(group.size, dtype=torch.float64)
    for squares in places.values():
        average = max(sum(squares.values()) / len(squares), _TINY)
        for number, square in squares.items():
            total[number] += square / average
            count[number] += 1
    return total / count.clamp_min(1)
