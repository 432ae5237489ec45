"""Experts as groups of gates, put to the proof: reading by reading, as they were proposed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lzero.plan.group import GateGroup
from lzero.plan.refusal import Refusal
from lzero.proving.blocks import ModelProof
from lzero.tracing.experts import Experts


def accept_experts(
    proof: ModelProof, found: Sequence[Experts], given: Sequence[GateGroup], refusals: Sequence[Refusal]
) -> tuple[list[GateGroup], list[Refusal]]:
    """``given`` and groups of the experts in ``found`` that hold together with them; and what is refused.

    Args:
        proof: of the model.
        found: what was proposed.
        given: groups that hold.
        refusals: of what was traced; those that speak of the rows and dims of experts are left out.
    """
    accepted, unproved = list(given), list[Refusal]()
    for experts in found:
        reasons = list[Refusal]()
        names = {group.name for group in accepted}
        for reading in experts.readings:
            if reading.name in names:
                reading = replace(reading, name=f"{reading.name}.experts")
            before = len(accepted)
            accepted, failed = proof.accept([reading], accepted)
            reasons += failed
            if len(accepted) > before:
                break
        else:
            unproved += [_refusal(experts, reasons)] if experts.readings else []
    tried = [reading for experts in found for reading in experts.readings]
    return accepted, [*(refusal for refusal in refusals if not _speaks_of(refusal, tried)), *unproved]


def _refusal(experts: Experts, reasons: Sequence[Refusal]) -> Refusal:
    first, group = reasons[0], experts.readings[0]
    if experts.obstacle is None:
        return first
    return Refusal(group.name, group.size, group.tensors, experts.obstacle.text, experts.obstacle.advice)


def _speaks_of(refusal: Refusal, groups: Sequence[GateGroup]) -> bool:
    return any(refusal.size == group.size and {*refusal.tensors} <= {*group.tensors} for group in groups)
