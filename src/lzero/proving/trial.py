"""One trial: with some gates closed, the purged model gives what the gated one gives, and is as small as counted."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from lzero.host.cache import UNREAD_CACHE
from lzero.host.copies import linked_copy
from lzero.host.run import ForwardError
from lzero.plan.group import GateGroup
from lzero.plan.ownership import parameters_left
from lzero.plan.refusal import Reason
from lzero.proving.compare import difference
from lzero.proving.patterns import Closure, closures
from lzero.proving.random_model import RandomModel
from lzero.surgery.shrink import shrink

_JOINT_PATTERNS, _JOINT_SHARE = 2, 0.4
_TRAINING = "what only train mode runs reads these units; run it in eval mode too, or pass what makes them to ignore="
_LITERAL = "make the sizes in the forward follow the tensors (x.shape, -1), or ignore this module"

_VIEW = (
    "write -1 there for the size that counts these units, which may become less than the width of an input, and keep "
    "the size of a head as a number of its own, not as width // heads; or ignore this module"
)


def why_not_exact(model: RandomModel, groups: Sequence[GateGroup], *, joint: bool = False) -> Reason | None:
    """Why purging ``groups`` together is not exact; None where every closure gave equal outputs and the right size.

    A ``joint`` trial of groups that are proved one by one takes few closures, of which little memory is left.
    """
    patterns = islice(closures(groups, model.generator, _JOINT_SHARE), _JOINT_PATTERNS)
    for closure in patterns if joint else closures(groups, model.generator):
        failure = _failure(model, groups, closure)
        if failure is not None:
            return failure
    return None


def _failure(model: RandomModel, groups: Sequence[GateGroup], closure: Closure) -> Reason | None:
    keep = {name: z > 0 for name, z in closure.items()}
    gated = model.gated(groups, closure)
    cut = linked_copy(gated, private=True)  # what one forward leaves behind for the next must not reach the other model
    try:
        expected = model.outputs(gated)
    except ForwardError as error:
        return Reason(f"the gated model fails in {error}", "")
    shapes = {name: parameter.shape for name, parameter in gated.named_parameters()}
    counted = parameters_left(groups, keep, shapes)
    del gated  # what is cut away is free again
    shrink(cut, groups, keep)
    try:
        found = model.outputs(cut)
    except ForwardError as error:
        return Reason(
            f"the purged model fails in {error} (a hard-coded size?)", _VIEW if error.is_of_a_view else _LITERAL
        )
    if model.trains_more:
        try:
            model.train(cut)
        except ForwardError as error:
            return Reason(f"in train mode the purged model fails in {error}", _TRAINING)
    left = sum(parameter.numel() for parameter in cut.parameters())
    if left != counted:
        return Reason(f"purging leaves {left} parameters where {counted} were counted", "")
    gap = difference(expected, found).relative
    if not gap < model.tolerance:
        if model.keeps:
            return UNREAD_CACHE
        return Reason(f"purged and gated outputs differ by {gap:.0e}", _LITERAL)
    return None
