"""The numeric proof: on random weights, a purged model must give what the gated one gives, to the last digits."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lzero.host.copies import linked_copy, private_copy
from lzero.host.mode import freeze, set_mode
from lzero.host.module_path import ModulePath
from lzero.host.quiet import isolated_random_state, unfused
from lzero.host.run import call
from lzero.host.state import same_state, state_of
from lzero.host.tensors import find_tensor, map_tensors, tensors_in
from lzero.plan.group import GateGroup
from lzero.plan.ownership import parameters_left
from lzero.plan.refusal import Reason, Refusal
from lzero.proving.batches import LARGER, converter, several
from lzero.proving.compare import (
    TOLERANCES,
    comparable,
    output_slopes,
    relative_difference,
    share_with_slope,
)
from lzero.proving.patterns import Closure, closures
from lzero.proving.random_weights import cast, randomise
from lzero.surgery.shrink import scale_consumers, shrink

_INVISIBLE = Reason(
    "closing it changes no output, so that nothing can be proved",
    "what it makes may be unused, or multiplied by zero; if not, pass example inputs on which it matters",
)
_DRAWS = 8  # of weights and inputs, at most
_ENOUGH = 0.9  # of the units of a group have to matter, over all draws together
_TRAINING = "what only train mode runs reads these units; run it in eval mode too, or pass what makes them to ignore="
_LITERAL = "make the sizes in the forward follow the tensors (x.shape, -1), or ignore this module"


class Proof:
    """A copy of ``model`` with random weights, on which groups of gates are put to the test.

    Every float parameter and buffer is drawn anew, so that no trained or initial value (a zero, a one) can hide a
    dependence; inputs are random too, where the model takes that. Arithmetic is float64, or float32 with a warning
    where the model insists on a dtype of its own. ``spare`` says that ``model`` is a private copy that nobody needs.
    """

    def __init__(self, model: nn.Module, example_inputs: Any, seed: int = 0, *, spare: bool = False) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._model = model if spare else private_copy(model)
        freeze(self._model)
        self._where = ModulePath(self._model)
        self._obstacle = self._prepare(example_inputs)

    def accept(
        self, groups: Sequence[GateGroup], given: Sequence[GateGroup] = ()
    ) -> tuple[list[GateGroup], list[Refusal]]:
        """``given`` and those of ``groups`` that hold together with them, and refusals of the others.

        All groups are tested at once; where that fails, halves, down to the culprits.
        """
        accepted, refusals = list(given), list[Refusal]()
        if self._obstacle is not None:
            return accepted, [Refusal.of(g.name, g.size, g.members, self._obstacle) for g in groups]
        pending, evidence = list(groups), dict.fromkeys((group.name for group in groups), 0.0)
        for draw in range(_DRAWS):
            if not pending or (draw and not self._redraw(draw)):
                break
            shares = self._shares(pending)
            held = list(accepted)
            self._accept([group for group in pending if shares[group.name]], held, refusals)
            failed = {group.name for group in pending if shares[group.name]} - {group.name for group in held}
            for name, share in shares.items():
                evidence[name] += share
            done = [group for group in pending if evidence[group.name] >= _ENOUGH and group.name not in failed]
            accepted += done
            gone = failed | {group.name for group in done}
            pending = [group for group in pending if group.name not in gone]
        ordered = [group for group in groups if group in accepted]
        return [*given, *ordered], [*refusals, *(Refusal.of(g.name, g.size, g.members, _INVISIBLE) for g in pending)]

    def _accept(self, groups: Sequence[GateGroup], accepted: list[GateGroup], refusals: list[Refusal]) -> None:
        if not groups:
            return
        failure = self._failure([*accepted, *groups])
        if failure is None:
            accepted.extend(groups)
        elif len(groups) == 1:
            refusals.append(Refusal.of(groups[0].name, groups[0].size, groups[0].members, failure))
        else:
            middle = len(groups) // 2
            self._accept(groups[:middle], accepted, refusals)
            self._accept(groups[middle:], accepted, refusals)

    def _failure(self, groups: Sequence[GateGroup]) -> Reason | None:
        """Why purging ``groups`` is not exact, None where every closure gave equal outputs and the right size."""
        for closure in closures(groups, self._generator):
            failure = self._compare(groups, closure)
            if failure is not None:
                return failure
        return None

    def _compare(self, groups: Sequence[GateGroup], closure: Closure) -> Reason | None:
        keep = {name: z > 0 for name, z in closure.items()}
        with self._gated(groups, closure) as trial:
            return self._compare_purged(trial, groups, keep)

    def _compare_purged(
        self, trial: nn.Module, groups: Sequence[GateGroup], keep: Mapping[str, Tensor]
    ) -> Reason | None:
        cut = linked_copy(trial)  # what one forward leaves behind for the next must not reach the other model
        try:
            gated = self._outputs(trial, self._calls)
        except Exception as error:
            return Reason(f"the gated model fails in {self._failed_at(error)}", "")
        shapes = {name: parameter.shape for name, parameter in trial.named_parameters()}
        expected = parameters_left(groups, keep, shapes)
        try:
            shrink(cut, groups, keep)
            purged = self._outputs(cut, self._calls)
        except Exception as error:
            return Reason(f"the purged model fails in {self._failed_at(error)} (a hard-coded size?)", _LITERAL)
        if self._trains_more:
            try:
                set_mode(cut, training=True)
                self._outputs(cut, 1, several(self._inputs, 2))
            except Exception as error:
                return Reason(f"in train mode the purged model fails in {self._failed_at(error)}", _TRAINING)
        found = sum(parameter.numel() for parameter in cut.parameters())
        if found != expected:
            return Reason(f"purging leaves {found} parameters where {expected} were counted", "")
        difference = relative_difference(gated, purged)
        if not difference < self._tolerance:
            return Reason(f"purged and gated outputs differ by {difference:.0e}", _LITERAL)
        return None

    @contextmanager
    def _gated(self, groups: Sequence[GateGroup], closure: Closure) -> Iterator[nn.Module]:
        """A copy of the model that shares its parameters, whose consumers are multiplied until the context ends."""
        names = dict.fromkeys(member.tensor for group in groups for member in group.consumers)
        saved = {name: find_tensor(self._model, name).clone() for name in names}
        scale_consumers(self._model, groups, closure)
        try:
            yield linked_copy(self._model)
        finally:
            with torch.no_grad():
                for name, value in saved.items():
                    find_tensor(self._model, name).copy_(value)

    def _failed_at(self, error: Exception) -> str:
        path = self._where.current
        self._where.reset()
        message = str(error).strip().split("\n")[0]
        return f"{path or 'its forward'}: {type(error).__name__}: {message}"

    def _outputs(self, model: nn.Module, calls: int = 1, inputs: Any = None) -> list[Tensor]:
        """Of as many forwards, one after the other."""
        self._where.reset()
        inputs = self._inputs if inputs is None else inputs
        with unfused(), torch.no_grad(), isolated_random_state(model):
            return [tensor.clone() for _ in range(calls) for tensor in tensors_in(call(model, inputs))]

    def _runs_more_in_training(self) -> bool:
        """Whether train mode enters modules (auxiliary heads) that the last forward, in eval mode, did not."""
        evaluated = set(self._where.entered)
        try:
            trial = linked_copy(self._model)
            set_mode(trial, training=True)
            self._outputs(trial, 1, several(self._inputs, 2))
        except Exception:  # train mode wants other inputs, such as targets
            return False
        return not self._where.entered <= evaluated

    def _shares(self, groups: Sequence[GateGroup]) -> dict[str, float]:
        """For each group the share of its units that an output depends on: of the others no comparison proves a thing.

        A ReLU may be dead where other weights would wake it.
        """
        self._where.reset()
        names = {member.tensor for group in groups for member in group.consumers}
        slopes = output_slopes(self._model, self._inputs, names, self._generator)
        return {group.name: share_with_slope(slopes, group) or self._share_that_moves(group) for group in groups}

    def _share_that_moves(self, group: GateGroup) -> float:
        """The share of four parts of ``group`` that change the outputs when they are closed."""
        parts = min(4, group.size)
        moved = 0
        for part in range(parts):
            opened = (torch.arange(group.size) % parts != part).double()
            with self._gated([group], {group.name: opened}) as trial:
                try:
                    moved += relative_difference(self._dense, self._outputs(trial)) > self._tolerance
                except Exception:  # a branch on the values: the comparison that follows will say so
                    moved += 1
        return moved / parts

    def _prepare(self, example_inputs: Any) -> Reason | None:
        """Set dtype, weights and inputs for the proof; why nothing can be proved, None where all is well."""
        problem, self._example_inputs = "", example_inputs
        for dtype, tolerance in TOLERANCES.items():
            self._tolerance = tolerance
            cast(self._model, dtype)
            for random_inputs in (True, False):
                self._convert = converter(dtype, self._generator if random_inputs else None)
                randomise(self._model, self._generator)
                self._inputs = map_tensors(example_inputs, self._convert)
                trial = linked_copy(self._model)
                before = state_of(trial)
                try:
                    self._dense = self._outputs(trial)
                except Exception as error:
                    problem = self._failed_at(error)
                    continue
                self._calls = 1 if same_state(before, state_of(trial)) else 2
                if comparable(self._dense):
                    self._trains_more = self._runs_more_in_training()
                    if dtype is not torch.float64:
                        warnings.warn(
                            f"{type(self._model).__name__} does not run in float64: its groups are proved in float32, "
                            f"to a relative {tolerance:.0e}",
                            stacklevel=4,
                        )
                    return None
                floats = any(tensor.is_floating_point() or tensor.is_complex() for tensor in self._dense)
                problem = "its outputs are NaN" if floats else "it returns no float tensor"
        return Reason(f"nothing can be proved: with random weights and inputs, {problem}", "")

    def _redraw(self, draw: int) -> bool:
        """Other weights and inputs, of a larger batch where the model takes one; False where none can be used."""
        randomise(self._model, self._generator)
        larger = several(self._example_inputs, LARGER[draw % len(LARGER)])
        for inputs in (larger, self._example_inputs):
            self._inputs = map_tensors(inputs, self._convert)
            try:
                self._dense = self._outputs(linked_copy(self._model))
            except Exception:  # what failed is forgotten with the next run
                continue
            if comparable(self._dense):
                return True
        return False
