"""One trial: with some gates closed, the purged model gives what the gated one gives, and is as small as counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from torch import Tensor, nn

from lzero.host.cache import UNREAD_CACHE, with_cache_again
from lzero.host.copies import linked_copy
from lzero.host.run import ForwardError
from lzero.host.tensors import find_tensor, replace_tensors
from lzero.plan.group import GateGroup
from lzero.plan.ownership import parameters_left
from lzero.plan.refusal import Reason
from lzero.proving.compare import Difference, comparable, difference
from lzero.proving.patterns import Closure, closures, needed
from lzero.proving.random_model import RandomModel
from lzero.proving.switched import why_not_switched
from lzero.surgery.fills import norms_in
from lzero.surgery.shrink import shrink

_JOINT_SHARE = 0.4
_TRAINING = "what only train mode does reads or counts this; do it in eval mode too, or pass it to ignore="
_LITERAL = (
    "make the sizes in the forward follow the tensors (x.shape, -1), register lzero.surgery.layers.cached_sizes for a "
    "class that keeps them, or ignore this module"
)
_BLOCKS = (
    "something reads more of it than its stream: its number among the others (enumerate, len, zip), a second result, a "
    "hook, a weight; let that go by what the modules themselves hold, or ignore it"
)
_VALUES = "look for what reads closed units all the same, or their number: a mean, a norm, a size, a constant"
_COARSE = "it may lose precision on the way (an approximation, a large constant), or depend a little on their number"
_EPS = (None, 1.0, 100.0)  # of norms, in turn: its own, about the variance of what random weights make, and above it
_FAVOURS = (0.0, 1e4, -1e4)  # of closed experts, in turn: more, and less, than scores are
_ROUNDING = 1e-5  # where a wrong size, and most of what else is wrong, makes more

_VIEW = (
    "write -1 there for the size that counts these units, which may become less than the width of an input, and keep "
    "the size of a head as a number of its own, not as width // heads; or ignore this module"
)


@dataclass(frozen=True)
class Failure:
    """What has failed: why, whether a forward has raised, and the path of the module that did.

    ``suspects`` are the groups that the shapes of the outputs tell of: a dim of one was as long as the group is large,
    and is as long as the group has open units.
    """

    reason: Reason
    raised: bool = False
    path: str = ""
    suspects: tuple[str, ...] = ()


def why_not_exact(model: RandomModel, groups: Sequence[GateGroup], *, joint: bool = False) -> Failure | None:
    """Why purging ``groups`` together is not exact; None where every closure gave equal outputs and the right size.

    A ``joint`` trial of groups that are proved one by one takes few closures, of which little memory is left.
    """
    patterns = islice(closures(groups, model.generator, _JOINT_SHARE), needed(groups))
    for number, closure in enumerate(patterns if joint else closures(groups, model.generator)):
        harder = number % len(_EPS)
        failure = _failure(model, groups, closure, rounded=not number, eps=_EPS[harder], favour=_FAVOURS[harder])
        if failure is not None:
            return failure
    return None


def raises_alone(model: RandomModel, group: GateGroup) -> Failure | None:
    """What a single closure of ``group`` alone makes raise; None where it runs, whatever it gives."""
    failure = _failure(model, [group], next(closures([group], model.generator)), rounded=False, eps=None)
    return failure if failure is not None and failure.raised else None


def why_not_with(model: RandomModel, groups: Sequence[GateGroup], closure: Closure) -> Reason | None:
    """Why purging ``groups`` by this very ``closure`` is not exact; None where it is."""
    failure = _failure(model, groups, closure, rounded=True, eps=None)
    return None if failure is None else failure.reason


def _failure(
    model: RandomModel,
    groups: Sequence[GateGroup],
    closure: Closure,
    *,
    rounded: bool,
    eps: float | None,
    favour: float = 0.0,
) -> Failure | None:
    keep = {name: z > 0 for name, z in closure.items()}
    gated = model.gated(groups, closure)
    if eps is not None:
        _set_eps(gated, groups, eps)
    if favour:
        _favour_closed(gated, groups, keep, favour)
    asking = _asking_for_cache(model, groups, gated) if rounded else None
    cut = linked_copy(gated, private=True)  # what one forward leaves behind for the next must not reach the other model
    try:
        expected, coarse = model.outputs(gated), model.rounded(gated) if rounded else []
        trained = model.trained(gated) if model.trains_otherwise else []
    except ForwardError as error:
        return Failure(Reason(f"the gated model fails in {error}", ""))
    shapes = {name: parameter.shape for name, parameter in gated.named_parameters()}
    counted = parameters_left(groups, keep, shapes)
    if asking is not None:
        shrink(asking, groups, keep)
        problem = why_not_switched(model, gated, asking)
        if problem:
            return Failure(Reason(f"with use_cache on, as its configuration says, {problem}", _BLOCKS))
    del gated, asking  # what is cut away is free again
    shrink(cut, groups, keep)
    try:
        found, found_coarse = model.outputs(cut), model.rounded(cut) if rounded else []
    except ForwardError as error:
        return Failure(_failed(groups, error), True, error.path)
    found_trained = list[Tensor]()
    if model.trains_more or model.trains_otherwise:
        try:
            if model.trains_otherwise:
                found_trained = model.trained(cut)
            if model.trains_more:  # last: it moves the statistics of norms
                model.train(cut)
        except ForwardError as error:
            return Failure(Reason(f"in train mode the purged model fails in {error}", _TRAINING), False, error.path)
    left = sum(parameter.numel() for parameter in cut.parameters())
    if left != counted:
        return Failure(Reason(f"purging leaves {left} parameters where {counted} were counted", ""))
    for one, two, tolerance in ((expected, found, model.tolerance), (coarse, found_coarse, model.coarse)):
        gap = difference(one, two)
        if not gap.relative < tolerance:
            reason = UNREAD_CACHE if model.keeps else _difference(groups, one, two, gap)
            return Failure(reason, suspects=_told_by_shapes(groups, keep, one, two))
    gap = difference(trained, found_trained)
    if trained and not gap.relative < model.tolerance:
        reason = _difference(groups, trained, found_trained, gap)
        return Failure(Reason(f"in train mode {reason.text}", _TRAINING))
    return None


def _asking_for_cache(model: RandomModel, groups: Sequence[GateGroup], gated: nn.Module) -> nn.Module | None:
    """A copy of ``gated`` that keeps a cache: what stands in for a whole block has no part in it.

    None where there are no blocks, or the proof runs with a cache in any case.
    """
    if not model.switched or model.next_call is not None or not any(group.blocks for group in groups):
        return None
    asking = linked_copy(gated, private=True)
    with_cache_again(asking, model.switched)
    return asking


def _told_by_shapes(
    groups: Sequence[GateGroup], keep: Mapping[str, Tensor], expected: Sequence[Tensor], found: Sequence[Tensor]
) -> tuple[str, ...]:
    pairs = [pair for pair in zip(expected, found, strict=False) if pair[0].dim() == pair[1].dim()]
    sizes = {(before, after) for one, two in pairs for before, after in zip(one.shape, two.shape, strict=True)}
    left = {group.name: (group.size, int(keep[group.name].sum())) for group in groups}
    return tuple(name for name, (size, kept) in left.items() if kept != size and (size, kept) in sizes)


def _set_eps(model: nn.Module, groups: Sequence[GateGroup], eps: float) -> None:
    """``model`` with this ``eps`` in its norms: of a tiny one, a bound on small variances shows nowhere."""
    for path, norms in norms_in(groups).items():
        if norms[0][1].eps:
            setattr(model.get_submodule(path), norms[0][1].eps, eps)


def _favour_closed(model: nn.Module, groups: Sequence[GateGroup], keep: Mapping[str, Tensor], favour: float) -> None:
    """``model`` with ``favour`` in what it keeps for each closed expert: what adds it to scores still chooses them."""
    own: dict[Tensor, Tensor] = {}
    for group in groups:
        for member in group.members if group.router is not None else ():
            tensor = find_tensor(model, member.tensor)
            if tensor.numel() == group.size and tensor.is_floating_point():
                changed = tensor.detach().clone()
                changed.view(-1)[member.index[~keep[group.name]].to(tensor.device)] = favour
                own[tensor] = nn.Parameter(changed, False) if isinstance(tensor, nn.Parameter) else changed
    replace_tensors(model, own)


def _failed(groups: Sequence[GateGroup], error: ForwardError) -> Reason:
    """What to say of a purged model that has raised ``error``."""
    if all(group.blocks for group in groups):
        return Reason(f"the purged model fails in {error}", _BLOCKS)
    advice = _VIEW if error.is_of_a_view else _LITERAL
    return Reason(f"the purged model fails in {error} (a hard-coded size?)", advice)


def _difference(
    groups: Sequence[GateGroup], expected: Sequence[Tensor], found: Sequence[Tensor], gap: Difference
) -> Reason:
    """What to say of outputs that are not equal."""
    whole = all(group.blocks for group in groups)
    shapes = [[tuple(tensor.shape) for tensor in outputs] for outputs in (found, expected)]
    if shapes[0] != shapes[1]:
        return Reason(
            f"the purged model gives outputs of shapes {shapes[0]}, the gated one of {shapes[1]}",
            _BLOCKS if whole else _LITERAL,
        )
    if not comparable(found) or not comparable(expected):
        return Reason("with it closed the outputs are NaN, of which nothing can be proved", "")
    text = f"purged and gated outputs differ by {gap.relative:.0e}"
    if gap.relative < _ROUNDING:
        return Reason(f"{text}, which is more than rounding in its dtype", _COARSE)
    return Reason(text, _BLOCKS if whole else _VALUES)
