"""The proof of a whole model, block by block: what a part of it can prove costs neither its memory nor its depth."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from lzero.errors import LzeroWarning, StructureError
from lzero.host.cache import Switched
from lzero.host.copies import private_copy
from lzero.host.inputs import ExampleInputs
from lzero.host.next_call import with_cache
from lzero.plan.group import GateGroup
from lzero.plan.refusal import Reason, Refusal
from lzero.proving.compare import PRECISE
from lzero.proving.evidence import moves
from lzero.proving.proof import Proof, sound_together
from lzero.proving.random_model import RandomModel
from lzero.proving.scopes import inputs_of, scopes_of
from lzero.tracing.tracer import Trace

_SWITCH = Reason(
    "the model is studied with use_cache off, and with it on, as its configuration says, it gives other results",
    "turn it off in the configuration for training and purging, or pass use_cache=False among the example inputs",
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
    ) -> None:
        self._model, self._inputs, self._trace = model, ExampleInputs.of(example_inputs), trace
        self._cache, self._switched = cache, switched
        self._whole: RandomModel | None = None
        self.untrainable = ""

    def accept(
        self, groups: Sequence[GateGroup], given: Sequence[GateGroup] = ()
    ) -> tuple[list[GateGroup], list[Refusal]]:
        """``given`` and those of ``groups`` that hold together with them, and refusals of the others."""
        if not groups:
            return list(given), []
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

    def _prove_in_parts(
        self, groups: Sequence[GateGroup], given: Sequence[GateGroup]
    ) -> tuple[list[GateGroup], dict[str, Refusal], set[str]]:
        """Those of ``groups`` that hold in the smallest part of the model that has them; by name, why others do not.

        And the names of those with which a part, purged, has raised: so would the whole model.
        """
        proved, refuted, raised = set[str](), dict[str, Refusal](), set[str]()
        tensors = {group.name: tuple(dict.fromkeys(m.tensor for m in group.members)) for group in groups}
        for scope, members in scopes_of(self._model, self._trace, [*given, *groups]).items():
            wanted = [scope.rename(group) for group in members if group.name in tensors]
            others = [scope.rename(group) for group in members if group.name not in tensors]
            if not wanted:
                continue
            try:
                part = private_copy(scope.cut_out(self._model)).to("cpu")
            except StructureError:  # it cannot be copied without what is around it
                continue
            trial = _small_trial(part, inputs_of(scope, self._model, self._trace).to(torch.device("cpu")))
            if trial is not None:
                proof = Proof(trial)
                accepted, refusals = proof.accept(wanted, others)
                raised |= proof.raised
                proved |= {group.name for group in accepted}
                refuted |= {r.name: replace(r, tensors=tensors[r.name]) for r in refusals}  # by their whole names
        return [group for group in groups if group.name in proved], refuted, raised

    def _that_hold_together(self, proved: Sequence[GateGroup], given: Sequence[GateGroup]) -> list[GateGroup]:
        """Those of ``proved``, each on a part, that hold on the whole model with ``given``, in its own precision."""
        whole = self._whole
        if whole is None:
            own = {parameter.dtype for parameter in self._model.parameters() if parameter.is_floating_point()}
            dtype = torch.float64 if own == {torch.float64} else torch.float32
            whole = self._draw((dtype,))
            self.untrainable = whole.untrainable
        try:
            if whole.obstacle is not None:
                return []
            return sound_together(whole, proved, given, joint=True)[0][len(given) :]
        finally:
            if whole is not self._whole:
                whole.release()

    def _draw(self, dtypes: Sequence[torch.dtype]) -> RandomModel:
        """The whole model with random weights; with its next call where there is one."""
        whole = self._with_next_call(dtypes) or RandomModel(self._model, self._inputs, dtypes=dtypes)
        if self._switched and whole.obstacle is None and not whole.same_results(self._switched):
            whole.obstacle = _SWITCH
        return whole

    def _with_next_call(self, dtypes: Sequence[torch.dtype]) -> RandomModel | None:
        if not self._cache:
            return None
        cached = RandomModel(self._model, with_cache(self._inputs), dtypes=dtypes)
        if cached.next_call is not None:
            return cached
        cached.release()
        return None

    def _precise(self) -> RandomModel:
        """The whole model in the finest dtype that it runs in."""
        if self._whole is None:
            self._whole = self._draw(PRECISE)
            self.untrainable = self._whole.untrainable
            if self._whole.obstacle is None and self._whole.dtype is not torch.float64:
                warnings.warn(
                    f"{type(self._model).__name__} does not run in float64: its groups are proved in float32, "
                    f"to a relative {self._whole.tolerance:.0e}",
                    LzeroWarning,
                    stacklevel=4,
                )
        return self._whole


def _small_trial(part: nn.Module, inputs: ExampleInputs) -> RandomModel | None:
    """``part`` with random weights, in float64 on as few inputs as it runs on; None where it does not run."""
    for given in (inputs.fewer(_EXAMPLES, _STEPS), inputs.fewer(_EXAMPLES), inputs):
        trial = RandomModel(part, given, dtypes=(torch.float64,), given=False, train=False)
        if trial.obstacle is None:
            return trial
        trial.release()
    return None
