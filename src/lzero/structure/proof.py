"""The numeric proof: on random weights, a purged model must give what the gated one gives, to the last digits."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from lzero.structure.closures import Closure, closures
from lzero.structure.forward import (
    ModulePath,
    isolated_random_state,
    linked_copy,
    map_tensors,
    private_copy,
    tensors_in,
    unfused,
)
from lzero.structure.group import GateGroup, Refusal, kept_positions
from lzero.structure.grouping import refusal
from lzero.structure.labels import Reason
from lzero.structure.randomise import cast, draw_normal, randomise
from lzero.structure.run import call
from lzero.structure.shrink import find_tensor, scale_consumers, shrink

_TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4}
_INVISIBLE = Reason("closing it changes no output, so that nothing can be proved")
_LITERAL = "make the sizes in the forward follow the tensors (x.shape, -1), or ignore this module"


class Proof:
    """A copy of ``model`` with random weights, on which groups of gates are put to the test.

    Every float parameter and buffer is drawn anew, so that no trained or initial value (a zero, a one) can hide a
    dependence; inputs are random too, where the model takes that. Arithmetic is float64, or float32 with a warning
    where the model insists on a dtype of its own. ``spare`` says that ``model`` is a private copy that nobody needs.
    """

    def __init__(self, model: nn.Module, example_inputs: Any, seed: int = 0, *, spare: bool = False) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._model = (model if spare else private_copy(model)).requires_grad_(False)
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
            return accepted, [_refuse(group, self._obstacle) for group in groups]
        visible = self._visible(groups) if groups else set()
        for group in groups:
            if group.name not in visible:
                refusals.append(_refuse(group, _INVISIBLE))
        self._accept([group for group in groups if group.name in visible], accepted, refusals)
        return accepted, refusals

    def _accept(self, groups: Sequence[GateGroup], accepted: list[GateGroup], refusals: list[Refusal]) -> None:
        if not groups:
            return
        failure = self._failure([*accepted, *groups])
        if failure is None:
            accepted.extend(groups)
        elif len(groups) == 1:
            refusals.append(_refuse(groups[0], failure))
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
        try:
            gated = self._outputs(trial)
        except Exception as error:
            return Reason(f"the gated model fails in {self._failed_at(error)}", "")
        expected = predicted_parameters(trial, groups, keep)
        try:
            shrink(trial, groups, keep)
            purged = self._outputs(trial)
        except Exception as error:
            return Reason(f"the purged model fails in {self._failed_at(error)} (a hard-coded size?)", _LITERAL)
        found = sum(parameter.numel() for parameter in trial.parameters())
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

    def _outputs(self, model: nn.Module) -> list[Tensor]:
        self._where.reset()
        with unfused(), torch.no_grad(), isolated_random_state(model):
            return [tensor.clone() for tensor in tensors_in(call(model, self._inputs))]

    def _visible(self, groups: Sequence[GateGroup]) -> set[str]:
        """Names of the groups that an output depends on; of the others a comparison of outputs would prove nothing."""
        slopes = self._slopes({member.tensor for group in groups for member in group.consumers})
        return {group.name for group in groups if _slopes_in(slopes, group) or self._moves(group)}

    def _slopes(self, names: set[str]) -> dict[str, Tensor]:
        """Gradients of a random projection of the outputs with respect to the tensors ``names``; may be empty."""
        tensors = {name: find_tensor(self._model, name).requires_grad_() for name in sorted(names)}
        self._where.reset()
        try:
            with unfused(), torch.enable_grad(), isolated_random_state(self._model):
                outputs = [t for t in tensors_in(call(self._model, self._inputs)) if t.requires_grad]
                weights = [draw_normal(tensor, self._generator) for tensor in outputs]
                slopes = torch.autograd.grad(outputs, list(tensors.values()), weights, allow_unused=True)
            return {name: slope for name, slope in zip(tensors, slopes, strict=True) if slope is not None}
        except Exception:  # a forward without gradients (no_grad inside, in-place on leaves) is compared by value
            return {}
        finally:
            self._model.requires_grad_(False)

    def _moves(self, group: GateGroup) -> bool:
        """Whether closing half of ``group`` changes the outputs."""
        half = (torch.arange(group.size) % 2).double()
        with self._gated([group], {group.name: half}) as trial:
            try:
                return relative_difference(self._dense, self._outputs(trial)) > self._tolerance
            except Exception:  # a branch on the values: the comparison that follows will say so
                return True

    def _prepare(self, example_inputs: Any) -> Reason | None:
        """Set dtype, weights and inputs for the proof; why nothing can be proved, None where all is well."""
        problem = ""
        for dtype, tolerance in _TOLERANCES.items():
            self._tolerance = tolerance
            cast(self._model, dtype)
            for random_inputs in (True, False):
                randomise(self._model, self._generator)
                self._inputs = map_tensors(example_inputs, self._input(dtype, random=random_inputs))
                try:
                    self._dense = self._outputs(self._model)
                except Exception as error:
                    problem = self._failed_at(error)
                    continue
                outputs = [t for t in self._dense if t.is_floating_point() or t.is_complex()]
                if outputs and not any(bool(tensor.isnan().any()) for tensor in outputs):
                    if dtype is not torch.float64:
                        warnings.warn(
                            f"{type(self._model).__name__} does not run in float64: its groups are proved in float32, "
                            f"to a relative {tolerance:.0e}",
                            stacklevel=4,
                        )
                    return None
                problem = "its outputs are NaN" if outputs else "it returns no float tensor"
        return Reason(f"nothing can be proved: with random weights and inputs, {problem}", "")

    def _input(self, dtype: torch.dtype, *, random: bool) -> Callable[[Tensor], Tensor]:
        def convert(tensor: Tensor) -> Tensor:
            if not tensor.is_floating_point():
                return tensor.clone()
            converted = tensor.detach().to(dtype, copy=True)
            return draw_normal(converted, self._generator) if random else converted

        return convert


def _slopes_in(slopes: dict[str, Tensor], group: GateGroup) -> bool:
    for member in group.consumers:
        slope = slopes.get(member.tensor)
        if slope is not None:
            positions = member.index.reshape(-1).to(slope.device)
            if bool((slope.reshape(-1) if member.dim < 0 else slope.index_select(member.dim, positions)).any()):
                return True
    return False


def predicted_parameters(model: nn.Module, groups: Sequence[GateGroup], keep: Mapping[str, Tensor]) -> int:
    """How many parameters ``model`` has left once the closed units of ``groups`` leave; ``keep`` [k] marks the open.

    Closed weights of a ``"weight"`` group become zeros and stay.
    """
    alive: dict[str, dict[int, Tensor]] = {}
    parameters = dict(model.named_parameters())
    for group in groups:
        for member in group.members:
            if member.dim >= 0 and member.tensor in parameters:
                mask = kept_positions(member, keep[group.name], parameters[member.tensor].shape[member.dim])
                dims = alive.setdefault(member.tensor, {})
                dims[member.dim] = dims[member.dim] & mask if member.dim in dims else mask
    total = 0
    for name, parameter in parameters.items():
        sizes = list(parameter.shape)
        for dim, mask in alive.get(name, {}).items():
            sizes[dim] = int(mask.sum())
        total += math.prod(sizes)
    return total


def relative_difference(expected: Sequence[Tensor], found: Sequence[Tensor]) -> float:
    """Largest difference of two lists of outputs, each relative to its largest value; infinite where they do not match.

    Integer outputs must be equal, and so must infinities.
    """
    if [tensor.shape for tensor in expected] != [tensor.shape for tensor in found]:
        return math.inf
    worst = 0.0
    for a, b in zip(expected, found, strict=True):
        if not (a.is_floating_point() or a.is_complex()):
            worst = max(worst, 0.0 if torch.equal(a, b) else math.inf)
        elif a.numel():
            gap = torch.where(a == b, 0.0, (a - b).abs()).max()
            scale = torch.where(a.isfinite(), a.abs(), 0.0).max()
            relative = float(gap / scale) if float(gap) else 0.0
            worst = max(worst, math.inf if math.isnan(relative) else relative)  # max() would drop a NaN
    return worst


def _refuse(group: GateGroup, reason: Reason) -> Refusal:
    return refusal(group.name, group.size, group.members, reason)
