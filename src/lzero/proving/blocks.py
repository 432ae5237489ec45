"""The proof of a whole model, block by block: what a part of it can prove costs neither its memory nor its depth."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from lzero.errors import LzeroWarning, StructureError
from lzero.host.cache import Switched
from lzero.host.copies import private_copy
from lzero.host.inputs import ExampleInputs
from lzero.host.next_call import with_cache
from lzero.host.progress import Progress
from lzero.plan.group import GateGroup
from lzero.plan.refusal import Reason, Refusal
from lzero.proving.compare import PRECISE
from lzero.proving.evidence import moves
from lzero.proving.proof import Proof, sound_together
from lzero.proving.random_model import RandomModel
from lzero.proving.scopes import inputs_of, scopes_of
from lzero.proving.switched import same_results
from lzero.proving.trial import why_not_with
from lzero.tracing.decisions import Way
from lzero.tracing.tracer import Trace

_SWITCH = Reason(
    "the model is studied with use_cache off, and with it on, as its configuration says, it gives other results",
    "turn it off in the configuration for training and purging, or pass use_cache=False among the example inputs",
)
_UNPROVED = Reason(
    "the forward uses some of its weights only where it decides by other values, with which nothing can be compared",
    "pass example inputs that reach them",
)
_EXAMPLES, _STEPS = 2, 8  # of the inputs of a part: enough to tell a difference


class ModelProof:
    """Which groups of gates of a traced model hold together.

    Three stages, each for what the one before has left:

    1. every group on the smallest part of the model that holds it, alone, on random inputs, in float64 on the CPU:
       a fault shows where it arises, and not after a hundred layers that shrink it;
    2. all that are proved so at once, on the whole model with random weights in its own precision: whether the rest
       of the forward goes on as it did;
    3. all others, and all together where the second stage fails, on the whole model in float64. What its own part has
       refuted may hold there, where the rest does not read what differs; if closing it moves no output there, depth
       hides it, and the refusal stays. So it does where the part, purged, has raised.

    Args:
        model: a private copy that nobody needs.
        example_inputs: what the model was traced with.
        trace: what its forward said.
        cache: whether the model is to be asked for keys and values, and to be called again with them, where it runs so.
        switched: configurations that ask for a cache, off in ``model``: with them it must give the same results.
        progress: told of groups that are proved or refused.

    Attributes:
        untrainable: why train mode does not run on the inputs; empty where it does.
    """

    def __init__(
        self,
        model: nn.Module,
        example_inputs: object,
        trace: Trace,
        *,
        cache: bool = False,
        switched: Sequence[Switched] = (),
        progress: Progress | None = None,
    ) -> None:
        self._model, self._inputs, self._trace = model, ExampleInputs.of(example_inputs), trace
        self._cache, self._switched = cache, switched
        self._progress = Progress("proving groups", show=False) if progress is None else progress
        self._whole: RandomModel | None = None
        self.untrainable = ""

    def accept(
        self, groups: Sequence[GateGroup], given: Sequence[GateGroup] = ()
    ) -> tuple[list[GateGroup], list[Refusal]]:
        """``given`` and those of ``groups`` that hold together with them, and refusals of the others."""
        if not groups:
            return list(given), []
        self._progress.finish()  # those of the call before
        self._progress.more(len(groups))
        proved, refuted, raised = self._prove_in_parts(groups, given)
        if len(proved) + len(raised) < len(groups):
            self._precise()  # needed in any case, it serves the second stage too
        if proved:
            proved = self._that_hold_together(proved, given)
        names = {group.name for group in proved}
        left = [group for group in groups if group.name not in names | raised]
        if not left:
            return [*given, *proved], [refuted[group.name] for group in groups if group.name in raised]
        whole = self._precise()
        unseen = raised | {
            group.name for group in left if group.name in refuted and whole.obstacle is None and not moves(whole, group)
        }
        left = [group for group in left if group.name not in unseen]
        accepted, refusals = Proof(whole).accept(left, [*given, *proved])
        kept = {group.name for group in accepted}
        stay = [refuted[group.name] for group in groups if group.name in unseen]
        return [*given, *(group for group in groups if group.name in kept)], [*refusals, *stay]

    def shared_parameters(self) -> list[list[str]]:
        """The names of every parameter that has several."""
        names: dict[int, list[str]] = {}
        for name, parameter in self._model.named_parameters(remove_duplicate=False):
            names.setdefault(id(parameter), []).append(name)
        return [several for several in names.values() if len(several) > 1]

    def why_not_closed(self, group: GateGroup, closure: Tensor) -> Reason | None:
        """Why ``group`` is not exact on the whole model with its gates at ``closure`` [k]; None where it is."""
        whole = self._precise()
        return whole.obstacle or why_not_with(whole, [group], {group.name: closure})

    def accept_elsewhere(self, groups: Sequence[GateGroup]) -> tuple[list[GateGroup], list[Refusal]]:
        """Those of ``groups``, proved by :meth:`accept`, that hold on the other ways of the forward, and refusals.

        What fails in the model's own precision is tried in the finest, where rounding decides less (the order of
        scores). What only a way uses on which nothing can be compared stays unproved, and so do the groups that lie on
        it. On none can experts be tried: where some have left, a forward has other decisions to make.
        """
        ways, kept, refusals = self._trace.explored.ways, list(groups), list[Refusal]()
        if not ways or not groups:
            return kept, refusals
        whole, unproved = self._whole or self._draw((self._own_dtype,)), set[str]()
        for way, reached in ways.items():
            if whole.obstacle is None and whole.takes(way):
                tried = [group for group in kept if group.router is None]
                held, failures = sound_together(whole, tried, (), joint=True)
                if failures and whole is not self._whole and self._precise().obstacle is None:
                    whole.release()
                    whole = self._precise()
                    if whole.takes(way):
                        held, failures = sound_together(whole, tried, (), joint=True)
                kept = [group for group in kept if group.router is not None or group in held]
                refusals += [Refusal.of(g.name, g.size, g.members, _elsewhere(f.reason)) for g, f in failures]
            else:
                unproved |= reached
        whole.takes(Way())
        if whole is not self._whole:
            whole.release()
        left = [group for group in kept if any(member.tensor in unproved for member in group.members)]
        refusals += [Refusal.of(g.name, g.size, g.members, _UNPROVED) for g in left]
        return [group for group in kept if group not in left], refusals

    def _prove_in_parts(
        self, groups: Sequence[GateGroup], given: Sequence[GateGroup]
    ) -> tuple[list[GateGroup], dict[str, Refusal], set[str]]:
        """Those of ``groups`` that hold in the smallest part of the model that has them; by name, why others do not.

        And the names of those with which a part, purged, has raised: so would the whole model.
        """
        proved, refuted, raised = set[str](), dict[str, Refusal](), set[str]()
        tensors = {group.name: group.tensors for group in groups}
        for scope, members in scopes_of(self._model, self._trace, [*given, *groups]).items():
            wanted = [scope.rename(group) for group in members if group.name in tensors]
            others = [scope.rename(group) for group in members if group.name not in tensors]
            if not wanted:
                continue
            try:
                part = private_copy(scope.cut_out(self._model)).to("cpu")
            except StructureError:  # it cannot be copied without what is around it
                continue
            given_here = inputs_of(scope, self._model, self._trace).to(torch.device("cpu"))
            trial = _small_trial(part, given_here, self._progress)
            if trial is not None:
                proof = Proof(trial)
                accepted, refusals = proof.accept(wanted, others)
                raised |= proof.raised
                proved |= {group.name for group in accepted}
                refuted |= {r.name: replace(r, tensors=tensors[r.name]) for r in refusals}  # by their whole names
            self._progress.done(len(wanted))
        return [group for group in groups if group.name in proved], refuted, raised

    def _that_hold_together(self, proved: Sequence[GateGroup], given: Sequence[GateGroup]) -> list[GateGroup]:
        """Those of ``proved``, each on a part, that hold on the whole model with ``given``, in its own precision."""
        whole = self._whole
        if whole is None:
            whole = self._draw((self._own_dtype,))
        try:
            if whole.obstacle is not None:
                return []
            return sound_together(whole, proved, given, joint=True)[0][len(given) :]
        finally:
            if whole is not self._whole:
                whole.release()

    @property
    def _own_dtype(self) -> torch.dtype:
        own = {parameter.dtype for parameter in self._model.parameters() if parameter.is_floating_point()}
        return torch.float64 if own == {torch.float64} else torch.float32

    def _draw(self, dtypes: Sequence[torch.dtype]) -> RandomModel:
        """The whole model with random weights; with its next call where there is one."""
        whole = self._with_next_call(dtypes) or RandomModel(
            self._model, self._inputs, dtypes=dtypes, tick=self._progress.tick
        )
        if self._switched and whole.obstacle is None and not same_results(whole, self._switched):
            whole.obstacle = _SWITCH
        whole.switched = list(self._switched)
        self.untrainable = whole.untrainable
        unread = {name for name, _ in self._model.named_parameters()} - self._trace.users.keys()
        whole.trains_more |= bool(unread) and not whole.untrainable  # train mode may read what eval mode does not
        return whole

    def _with_next_call(self, dtypes: Sequence[torch.dtype]) -> RandomModel | None:
        if not self._cache:
            return None
        cached = RandomModel(self._model, with_cache(self._inputs), dtypes=dtypes, tick=self._progress.tick)
        nothing_kept = cached.obstacle is None and not cached.keeps  # by an encoder, whatever it is asked for
        if cached.next_call is not None or nothing_kept:
            return cached
        cached.release()
        return None

    def _precise(self) -> RandomModel:
        """The whole model in the finest dtype that it runs in."""
        if self._whole is None:
            self._whole = self._draw(PRECISE)
            if self._whole.obstacle is None and self._whole.dtype is not torch.float64:
                warnings.warn(
                    f"{type(self._model).__name__} does not run in float64: its groups are proved in float32, "
                    f"to a relative {self._whole.tolerance:.0e}; make tensors in the dtype of inputs for a finer one",
                    LzeroWarning,
                    stacklevel=4,
                )
        return self._whole


def _elsewhere(reason: Reason) -> Reason:
    return Reason(
        f"where the forward decides by values that the example inputs do not have, {reason.text}", reason.advice
    )


def _small_trial(part: nn.Module, inputs: ExampleInputs, progress: Progress) -> RandomModel | None:
    """``part`` with random weights, in float64 on as few inputs as it runs on; None where it does not run."""
    for given in (inputs.fewer(_EXAMPLES, _STEPS), inputs.fewer(_EXAMPLES), inputs):
        trial = RandomModel(part, given, dtypes=(torch.float64,), given=False, train=False, tick=progress.tick)
        if trial.obstacle is None:
            return trial
        trial.release()
    return None
