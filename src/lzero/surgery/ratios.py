"""Numbers of a norm that change with the share of its units that stays: what is added to the variance, a bare width."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lzero.checks import shown
from lzero.errors import StructureError
from lzero.host.tensors import replace_tensors
from lzero.plan.group import GateGroup
from lzero.surgery.config_numbers import MARK
from lzero.surgery.fills import norms_in, open_positions

_SHAPE = "normalized_shape"
_WHOLE_EPS = re.compile("(^|_)eps")  # of whole numbers: LayerNorm(n, eps=0) keeps one


@dataclass(frozen=True)
class Ratio:
    """``left`` of ``of`` units stay: the attribute ``name`` of the module at ``path`` follows.

    What the module was built with is multiplied, whatever purges it has been through: a number by of / left, a shape
    of one size by left / of.
    """

    path: str
    name: str
    of: int
    left: int


@dataclass(frozen=True)
class Scale:
    """The parameter ``name`` of the module at ``path`` is multiplied by ``factor``."""

    path: str
    name: str
    factor: float


def is_eps(name: str, value: object) -> bool:
    """Whether a number of a module looks like what a norm adds to a variance; ``steps`` count something else."""
    return bool((type(value) is float and "eps" in name) or (type(value) is int and _WHOLE_EPS.search(name)))


def following_ratios(
    model: nn.Module, groups: Sequence[GateGroup], keep: Mapping[str, Tensor]
) -> tuple[list[Ratio], list[Scale]]:
    """What changes in the norms of ``model``, before it is cut, with the units that ``keep`` leaves."""
    ratios, scales = list[Ratio](), list[Scale]()
    for path, norms in norms_in(groups).items():
        open_, norm = open_positions(norms, keep), norms[0][1]
        of, left = len(open_), int(open_.sum())
        module = model.get_submodule(path)
        if left == of:
            continue
        if norm.eps:
            ratios.append(_further(module, Ratio(path, norm.eps, of, left)))
        if norm.weight:
            scales.append(Scale(path, norm.weight, math.sqrt(of / left)))
        if getattr(module, "weight", None) is None and len(getattr(module, _SHAPE, ())) == 1:
            ratios.append(_further(module, Ratio(path, _SHAPE, of, left)))
    return ratios, scales


def set_ratios(model: nn.Module, ratios: Sequence[Ratio]) -> None:
    """``model`` with its numbers changed, each ratio kept as a buffer too, so that a state dict carries it."""
    for ratio in ratios:
        module = model.get_submodule(ratio.path)
        value, (of, left) = getattr(module, ratio.name), _held(module, ratio.name)
        if isinstance(value, int | float):
            changed: object = value * left / of * ratio.of / ratio.left
        else:
            changed = (value[0] * of // left * ratio.left // ratio.of,)
        setattr(module, ratio.name, changed)
        near = next((tensor for tensor in (*module.parameters(), *module.buffers())), None)
        device = None if near is None else near.device
        module.register_buffer(MARK + ratio.name, torch.tensor([ratio.of, ratio.left], device=device))


def _held(module: nn.Module, name: str) -> tuple[int, int]:
    """The share that the attribute ``name`` of ``module`` follows already."""
    share = module._buffers.get(MARK + name)
    return (1, 1) if share is None else (int(share[0]), int(share[1]))


def _further(module: nn.Module, ratio: Ratio) -> Ratio:
    """``ratio``, of units that stay of those that an earlier purge left, as one of all that there were."""
    before = _held(module, ratio.name)
    if before == (1, 1):
        return ratio
    of, left = ratio.of * before[0], ratio.left * before[1]
    return Ratio(ratio.path, ratio.name, of // math.gcd(of, left), left // math.gcd(of, left))


@torch.no_grad()
def scale_weights(model: nn.Module, scales: Sequence[Scale]) -> None:
    """``model``, cut already, with the weights of its norms multiplied; a tied one once."""
    made: dict[Tensor, Tensor] = {}
    for scale in scales:
        weight = model.get_submodule(scale.path).get_parameter(scale.name)
        made.setdefault(weight, nn.Parameter(weight * scale.factor, weight.requires_grad))
    replace_tensors(model, made)


def saved_ratios(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Ratio]:
    """The ratios that the state dict of a purged ``model`` carries, by their key.

    Raises:
        StructureError: one that is no share of the units of a norm.
    """
    found = {}
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if not (type(value) is float or is_eps(name, value) or name == _SHAPE):
                continue
            key = f"{path}.{MARK}{name}" if path else MARK + name
            if key in state:
                of, left = _share(key, state[key])
                found[key] = Ratio(path, name, of, left)
    return found


def _share(key: str, saved: Tensor) -> tuple[int, int]:
    if saved.shape == (2,) and saved.dtype == torch.int64 and 0 < int(saved[1]) <= int(saved[0]):
        return int(saved[0]), int(saved[1])
    raise StructureError(
        f"{key}: expected how many units there were and how many are left, [n, k] in int64 with 0 < k <= n, found "
        f"{shown(saved.tolist())} in {str(saved.dtype).removeprefix('torch.')}; build the model that the gates were "
        "attached to"
    )
