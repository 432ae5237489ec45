"""Experts as groups of gates, put to the proof: reading by reading, as they were proposed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from lzero.plan.group import GateGroup
from lzero.plan.refusal import Refusal
from lzero.proving.blocks import ModelProof
from lzero.tracing.experts import Experts


def accept_experts(
    proof: ModelProof, found: Sequence[Experts], given: Sequence[GateGroup]
) -> tuple[list[GateGroup], list[Refusal]]:
    """``given`` and groups of the experts in ``found`` that hold together with them; and what is refused."""
    accepted, reasons = list(given), dict[int, Refusal]()
    pending = {number: iter(experts.readings) for number, experts in enumerate(found)}
    while pending:  # the same reading of all places at once: a whole model is run for each turn
        names, trials = {group.name for group in accepted}, dict[int, GateGroup]()
        for number, readings in list(pending.items()):
            reading = next(readings, None)
            if reading is None:
                del pending[number]
            else:
                trials[number] = replace(reading, name=_free(reading.name, names))
        accepted, failed = proof.accept(list(trials.values()), accepted)
        proved, why = {group.name for group in accepted}, {refusal.name: refusal for refusal in failed}
        for number, trial in trials.items():
            if trial.name in proved:
                del pending[number]
                reasons.pop(number, None)
            elif trial.name in why:
                reasons.setdefault(number, why[trial.name])
    return accepted, [_refusal(found[number], reason) for number, reason in reasons.items()]


def about_others(refusals: Sequence[Refusal], found: Sequence[Experts]) -> list[Refusal]:
    """``refusals`` without those that speak of the rows and dims of experts in ``found``."""
    tried = [reading for experts in found for reading in experts.readings]
    return [refusal for refusal in refusals if not _speaks_of(refusal, tried)]


def _free(name: str, taken: Collection[str]) -> str:
    return f"{name}.experts" if name in taken else name


def _refusal(experts: Experts, reason: Refusal) -> Refusal:
    group = experts.readings[0]
    if experts.obstacle is None:
        return reason
    return Refusal(group.name, group.size, group.tensors, experts.obstacle.text, experts.obstacle.advice)


def _speaks_of(refusal: Refusal, groups: Sequence[GateGroup]) -> bool:
    return any(refusal.size == group.size and {*refusal.tensors} <= {*group.tensors} for group in groups)
