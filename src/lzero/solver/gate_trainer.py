"""What every solver and baseline shares: it moves the gates of a model, and says when its step may come."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from lzero.checks import flag
from lzero.constraint_record import KIND, to_tensor
from lzero.constraints import Constraint
from lzero.cost import Cost, Measure
from lzero.errors import SolverError
from lzero.gates.estimator import Estimator
from lzero.gates.gates import Gates
from lzero.gates.history import UNDRAWN
from lzero.latency.packed import TABLES, pack
from lzero.plan.widths import checked_round_to
from lzero.solver.arguments import scale_of
from lzero.solver.gate_optimizer import GateOptimizer
from lzero.solver.processes import Processes
from lzero.solver.resumable import Resumable
from lzero.solver.steps import Steps

Loss = Tensor | float


class GateTrainer(Resumable):
    """What trains the gates within a loop that trains the weights, by one line: ``step()``.

    It is what the field calls an optimizer, with the objective of the gates in it: as cooper's constrained optimizer it
    knows what is asked for, and it holds what has settled.

    The line may stand anywhere between ``backward()`` and the next forward. It reads the gradient that ``backward()``
    left on ``gates.log_alpha``, averages it over the processes of ``torch.distributed`` where there are several, adds
    its own part, moves the gates by an optimizer of its own and clears the gradient. The optimizer of the loop never
    sees the gates.

    Args:
        gates: what ``attach_gates`` returned.
        measure: what ``metrics()`` counts.
        constraints: what :func:`lzero.purge` settles on; none for a penalty.
        asked: further plain values that must be the same where a training is resumed.
        gate_lr: rate of the gates' Adam.
        optimizer: an optimizer of the user's over ``[gates.log_alpha]``, in place of Adam.
        anneal_steps: steps over which the estimator moves, where it does; None where it is that of the end throughout.
        fresh: begin a new training on gates that have seen one.
        process_group: of ``torch.distributed``; None for the default group.
    """

    trains: ClassVar[bool] = True  # whether gates move by gradients

    def __init__(
        self,
        gates: Gates,
        measure: Measure,
        *,
        constraints: Sequence[Constraint] = (),
        asked: Mapping[str, Any],
        gate_lr: float = 0.0,
        optimizer: torch.optim.Optimizer | None = None,
        anneal_steps: int | None = None,
        fresh: bool = False,
        process_group: Any = None,
    ) -> None:
        self._anneal_steps = anneal_steps
        self._model_cost = Cost(gates, measure, tables=constraints[0].table if constraints else None)
        tables = [constraint.table for constraint in constraints if constraint.table is not None]
        self._tables = {TABLES: pack(tables)} if tables else {}
        self._gate_optimizer = GateOptimizer(gates.log_alpha, gate_lr, optimizer) if self.trains else None
        kind = None if self._gate_optimizer is None else self._gate_optimizer.kind
        what = {KIND: type(self).__name__, "constraints": tuple(constraints), **asked, "optimizer": kind}
        round_to = checked_round_to(gates.plan.round_to)
        what |= {} if round_to == 1 else {"round_to": round_to}
        super().__init__(gates, to_tensor(what), flag("fresh", fresh, error=SolverError))
        self._processes = Processes(process_group)
        self._steps, self._scores = Steps(self._device), gates.history.scores

    @property
    def steps(self) -> int:
        """How many steps have been taken, skipped ones included."""
        return self._steps.taken

    @property
    def skipped(self) -> int:
        """Steps that changed nothing, since the gradient of the gates was not finite."""
        return self._steps.skipped

    @property
    def settles_at(self) -> int | None:
        """The step after which what will be shipped is settled and held; None where :func:`lzero.purge` settles."""
        return None

    @property
    def _estimator(self) -> Estimator:
        """The distribution of the gates, as it is counted at this step."""
        return self.gates.estimator.at(self._annealing)

    @property
    def _annealing(self) -> float:
        """How much of the annealing is over, in [0, 1]."""
        return 1.0 if self._anneal_steps is None else min(self.steps / self._anneal_steps, 1.0)

    def step(
        self, loss: Loss | None = None, closure: Callable[[], Loss] | None = None, *, scaler: Any = None
    ) -> Tensor:
        """One step of the gates and of what moves them; between backward and the next forward.

        Where the gates' gradient is not finite (an overflow in half precision, a bad batch) nothing changes.

        Args:
            loss: the loss of the last forward; needed by estimators that score it (ARM, AR), ignored by the others.
            closure: computes that loss anew, for ARM: see :meth:`lzero.Gates.score`.
            scaler: the ``GradScaler`` that scaled the loss, before its ``update()``.

        Returns:
            Whether it stepped, bool [], on the gates' device: only looking at it waits for the device.

        Raises:
            StructureError: the estimator needs a loss or a closure that was not given.
            SolverError: the gates have no gradient, or one of eval mode; the message says why.
            NonFiniteError: the gradient has not been finite for many steps in a row.
        """
        self._continue()
        if self._processes.agree(self.gates):
            self._continue()
        gates = self.gates
        if gates.held is not None or not self.trains:
            if gates.held is None:
                self._choose()
            gates.log_alpha.grad = None
            self._after()
            return torch.ones((), dtype=torch.bool, device=self._device)
        gradient = self._loss_gradient(loss, closure, scaler)
        with torch.no_grad():
            norm = torch.linalg.vector_norm(gradient, dtype=torch.float64)
            finite: Tensor = norm < math.inf
            if self._on_device:
                skip = self._steps.skip_unless(finite)
                self._pull(gradient, norm, finite)
                self._gate_optimizer.step(skip)  # type: ignore[union-attr]
            elif bool(finite):
                self._pull(gradient, norm, None)
                self._gate_optimizer.step()  # type: ignore[union-attr]
            else:
                self._steps.skip()
        gates.log_alpha.grad = None
        self._after()
        self._steps.look()
        return finite

    def _choose(self) -> None:
        """Open and close gates that are set and not trained."""

    def _pull(self, gradient: Tensor, norm: Tensor, finite: Tensor | None) -> None:
        """Add its part to ``gradient``, which is ``log_alpha.grad``, in place.

        Args:
            gradient: of the loss, shaped as ``log_alpha``.
            norm: of the gradient, float64 [].
            finite: bool []: where it is False, nothing of its own may change; None where it is known to be True.
        """

    def _tensors(self) -> dict[str, Tensor]:
        moved = {} if self._gate_optimizer is None else self._gate_optimizer.tensors()
        return {**self._steps.tensors(), **moved, **self._tables}

    def _take(self, tensors: Mapping[str, Tensor]) -> None:
        self._steps.restore(tensors)
        if self._gate_optimizer is not None:
            self._gate_optimizer.restore(tensors)

    def _needs(self, name: str) -> bool:
        """Not the memory of a dual optimizer, nor that of an optimizer of the user's: they may begin without."""
        own = self._gate_optimizer is not None and self._gate_optimizer.own
        return not name.startswith("dual.") and (own or not name.startswith("optimizer"))

    def _move(self, device: torch.device) -> None:
        self._model_cost.to(device)
        self._steps.to(device)
        if self._gate_optimizer is not None:
            self._gate_optimizer.to(device)

    def _narrow(self, where: Tensor) -> None:
        self._model_cost = self._model_cost.of(self.gates)
        if self._gate_optimizer is not None:
            self._gate_optimizer.narrow(where)

    @property
    def _on_device(self) -> bool:
        """Whether a step can be skipped without asking the host."""
        return self._gate_optimizer is not None and self._gate_optimizer.skips_on_device

    def _after(self) -> None:
        self._steps.take()
        self._scores = self.gates.history.scores
        self.gates.history.step()
        if self.steps <= 2 or self._gate_optimizer is None or not self._gate_optimizer.own:
            self._write()  # later on all that it points to changes in place

    def _loss_gradient(self, loss: Loss | None, closure: Callable[[], Loss] | None, scaler: Any) -> Tensor:
        """d loss / d log_alpha, shaped as it, the mean over the processes; it is ``log_alpha.grad``."""
        gates = self.gates
        if not gates.log_alpha.requires_grad:
            raise SolverError(
                "the gates are frozen (gates.log_alpha.requires_grad is False): leave step() out while they are, or "
                "call gates.log_alpha.requires_grad_(True)"
            )
        if gates.history.undrawn:
            raise SolverError(UNDRAWN)
        if loss is not None or gates.history.scores == self._scores:  # the loop has not scored it
            gates.score(loss, closure)
        gradient = gates.log_alpha.grad
        if gradient is None:
            raise SolverError(f"the gates have no gradient: {gates.history.why_no_gradient()}")
        if scaler is not None and not gates.estimator.losses:
            gradient.div_(scale_of(scaler))
        self._processes.average(gradient)
        return gradient

    def metrics(self) -> dict[str, float]:
        """Expected and deployed density of the whole model now, as plain floats for a Recorder.

        ``settled`` is 1.0 once the gates have settled and stay as they are, 0.0 before.
        """
        self._continue()
        expected = self._model_cost.fraction(self._estimator.probability(self.gates.log_alpha.detach()))
        deployed = self._model_cost.fraction(self.gates.open_mask())
        settled = float(self.gates.held is not None)
        return {"expected": float(expected), "deployed": float(deployed), "settled": settled}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        super().__setstate__(state)
        self._scores = self.gates.history.scores
