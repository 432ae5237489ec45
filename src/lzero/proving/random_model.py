"""A model whose every float is random, to put gates to the test on: no trained or initial value hides a dependence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from typing import Any

import torch
from torch import Tensor, nn

from lzero.errors import StructureError
from lzero.host.cache import Switched, results_in
from lzero.host.copies import linked_copy
from lzero.host.inputs import ExampleInputs
from lzero.host.mode import freeze, set_mode
from lzero.host.module_path import ModulePath
from lzero.host.next_call import NextCall, taken_back
from lzero.host.promoted import Promoted
from lzero.host.run import ForwardError, forward
from lzero.host.state import same_state, state_of
from lzero.host.tensors import find_tensor, replace_tensors
from lzero.plan.group import GateGroup
from lzero.plan.refusal import Reason
from lzero.proving.compare import PRECISE, TOLERANCES, comparable, difference
from lzero.proving.patterns import Closure
from lzero.proving.random_weights import cast, dtypes_kept, randomise
from lzero.proving.train_mode import Draws, train_by_hand
from lzero.surgery.fills import fill_closed
from lzero.surgery.routings import route_around
from lzero.surgery.shrink import scale_consumers
from lzero.surgery.skips import skip_closed
from lzero.tracing.decisions import Way, deciding

_LARGER = (1, 8, 8, 64)
"""Batches to draw in turn, as multiples of the example's."""


class RandomModel:
    """``model`` with random weights and, where it takes them, random inputs, in the first dtype that it runs in.

    Args:
        model: a private copy that nobody needs.
        inputs: what it runs on.
        dtypes: to try in turn.
        seed: of the generator of all draws.
        given: whether the values of ``inputs`` may be used where random ones fail.
        train: whether to look what train mode enters.
        tick: called before every forward: something goes on.

    Attributes:
        obstacle: why nothing can be proved on it; None where all is well, and the following are set.
        inputs, way: those of the present draw, and how forwards decide.
        dense: outputs of the ungated model.
        dtype, tolerance: what it runs in, and what rounding may do in it.
        calls: forwards that a comparison needs, one after the other: 2 where one leaves something behind for the next.
        coarse: what rounding may do where the forward casts to less than that.
        trains_more, trains_otherwise: whether train mode enters more (auxiliary heads); gives other results, undrawn.
        next_call: how it takes back what it keeps for its next call; None where it keeps nothing, or does not read it.
        keeps: whether it keeps something that no next call reads: a result like any other.
        untrainable: why train mode does not run on the inputs; empty where it does, or was not asked for.
        switched: configurations that ask for a cache, off in the model.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: ExampleInputs,
        *,
        dtypes: Sequence[torch.dtype] = PRECISE,
        seed: int = 0,
        given: bool = True,
        train: bool = True,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.model, self._examples, self._tick = model, inputs, tick
        freeze(model)
        self._where = ModulePath(model)
        self.inputs, self.dense, self.way = inputs, list[Tensor](), Way()
        self.dtype, self.tolerance, self.calls = torch.float64, 0.0, 1
        self.trains_more = self.trains_otherwise = False
        self.next_call: NextCall | None = None
        self.switched = list[Switched]()
        self._drawn, self._looks_at_training, self._promotes, self._kept = True, train, False, False
        self.keeps, self._asked, self.untrainable = False, set[torch.dtype](), ""
        self.obstacle = self._prepare(dtypes, (True, False)[: 1 + given])

    def release(self) -> None:
        """Take the hooks off the model."""
        self._where.remove()

    def forward(self, model: nn.Module, inputs: ExampleInputs | None = None) -> Any:
        """What ``model``, a copy of this one that may be cut, returns.

        Raises:
            ForwardError: it fails, with the place.
        """
        self._tick()
        given = inputs or self.inputs
        with dtypes_kept(model), deciding(self.way) if self.way.answers else nullcontext():
            if not self._promotes:
                return forward(model, given, self._where)
            with Promoted() as promoted:
                made = forward(model, given, self._where)
        self._asked |= promoted.asked
        return made

    def takes(self, way: Way) -> bool:
        """Let all forwards that follow go another ``way``; whether they can be compared there."""
        self.way = way
        try:
            outputs = self.outputs(linked_copy(self.model, private=True))
        except ForwardError:
            return False
        return comparable(outputs) and (not way.draw or self.redraw(way.draw))

    @torch.no_grad()
    def outputs(self, model: nn.Module) -> list[Tensor]:
        """The tensors that it returns, of as many forwards as a comparison needs, and those of the next calls.

        What it keeps for its next call (keys and values) is not among them: what that call makes of it is.

        Raises:
            ForwardError: it fails, with the place.
        """
        return [tensor for _ in range(self.calls) for tensor in self._outputs_of_one(model)]

    def _outputs_of_one(self, model: nn.Module) -> list[Tensor]:
        returned = self.forward(model)
        found = [tensor.clone() for tensor in results_in(returned, model, kept=self.keeps)]
        if self.next_call is None:
            self._kept = bool(taken_back(returned, model))
        else:
            found += self.next_call.results(model, self.inputs, taken_back(returned, model), self.forward)
        return found

    @torch.no_grad()
    def rounded(self, model: nn.Module) -> list[Tensor]:
        """The same with the casts that the forward asks for; empty where it asks for none.

        Raises:
            ForwardError: it fails, with the place.
        """
        if not self._promotes:
            return []
        self._promotes = False
        try:
            return self.outputs(model)
        finally:
            self._promotes = True

    @torch.no_grad()
    def train(self, model: nn.Module) -> None:
        """One forward of ``model`` in train mode; it raises ForwardError as above."""
        set_mode(model, training=True)
        self.forward(model, self.inputs.several(2))

    @torch.no_grad()
    def trained(self, model: nn.Module) -> list[Tensor]:
        """The tensors that it returns in train mode, PyTorch's own layers in eval mode; ForwardError as above."""
        train_by_hand(model)
        return [tensor.clone() for tensor in results_in(self.forward(model), model)]

    def gated(self, groups: Sequence[GateGroup], closure: Closure) -> nn.Module:
        """A copy gated by ``closure``, its consumers multiplied; it shares all other parameters."""
        copied = linked_copy(self.model, private=True)
        names = dict.fromkeys(member.tensor for group in groups for member in group.consumers)
        own = {find_tensor(copied, name): nn.Parameter(find_tensor(copied, name).clone(), False) for name in names}
        replace_tensors(copied, own)
        scale_consumers(copied, groups, closure)
        for leave_out in (fill_closed, skip_closed, route_around):
            leave_out(copied, groups, closure)
        return copied

    def redraw(self, draw: int) -> bool:
        """Draw other weights and inputs, of a larger batch where the model takes one; False where none can be used."""
        randomise(self.model, self.generator)
        for inputs in (self._examples.several(_LARGER[draw % len(_LARGER)]), self._examples):
            self.inputs = inputs.redraw(self.dtype, self.generator if self._drawn else None)
            try:
                self.dense = self.outputs(linked_copy(self.model, private=True))
            except ForwardError:
                continue
            if comparable(self.dense):
                return True
        return False

    @property
    def coarse(self) -> float:
        """What rounding may do where the forward casts to less than the dtype of the model."""
        return max((TOLERANCES[dtype] for dtype in self._asked), default=self.tolerance)

    def _prepare(self, dtypes: Sequence[torch.dtype], random_inputs: Sequence[bool]) -> Reason | None:
        """Set dtype, weights and inputs; why nothing can be proved, None where all is well."""
        for dtype in dtypes:
            cast(self.model, dtype)
            self.dtype, self.tolerance, problem = dtype, TOLERANCES[dtype], ""
            for self._drawn in random_inputs:
                randomise(self.model, self.generator)
                self.inputs = self._examples.redraw(dtype, self.generator if self._drawn else None)
                for self._promotes in (True, False) if dtype is torch.float64 else (False,):
                    problem = self._try()
                    if not problem:
                        self._promotes = bool(self._asked)
                        self._look_at_what_is_kept()
                        self._look_at_training()
                        return None
        return Reason(f"nothing can be proved: with random weights and inputs, {problem}", "")

    def _try(self) -> str:
        """Set :attr:`dense` and :attr:`calls`; why that cannot be, empty where all is well."""
        self._asked, self.calls, self.next_call, self.keeps = set(), 1, None, False
        trial = linked_copy(self.model, private=True)
        before = state_of(trial)
        try:
            self.dense = self.outputs(trial)
            if not same_state(before, state_of(trial)):
                self.calls = 2
                self.dense = self.outputs(linked_copy(self.model, private=True))
            if self._asked:  # with the casts that the forward asks for
                self.rounded(linked_copy(self.model, private=True))
        except ForwardError as error:
            return str(error)
        floats = any(tensor.is_floating_point() or tensor.is_complex() for tensor in self.dense)
        return "" if comparable(self.dense) else "its outputs are NaN" if floats else "it returns no float tensor"

    @torch.no_grad()
    def _look_at_what_is_kept(self) -> None:
        """Find the next call, and the outputs with its results."""
        if self._kept:
            self.next_call = NextCall.find(linked_copy(self.model, private=True), self.inputs, self.forward)
            self.keeps = self.next_call is None
            self.dense = self.outputs(linked_copy(self.model, private=True))

    def _look_at_training(self) -> None:
        if not self._looks_at_training:
            return
        evaluated = set(self._where.entered)
        try:
            self.train(linked_copy(self.model, private=True))
            self.trains_more = not self._where.entered <= evaluated
        except (ForwardError, StructureError) as error:  # train mode wants other inputs, such as targets
            self.untrainable = str(error)
            return
        plain, trial = (linked_copy(self.model, private=True) for _ in range(2))
        draws = Draws(trial)
        with suppress(ForwardError):
            gap = difference(self._outputs_of_one(plain), self.trained(trial))
            self.trains_otherwise = not draws.any and not gap.relative < self.tolerance
