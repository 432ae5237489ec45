"""What every solver and baseline shares: it owns the gates, and says when its step may come."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from lzero.checks import flag, shown
from lzero.constraints import Constraint, to_tensor
from lzero.cost import Cost, Measure
from lzero.errors import NonFiniteError, SolverError
from lzero.gates.gates import Gates
from lzero.solver.asked import described
from lzero.solver.gate_optimizer import GateOptimizer
from lzero.solver.processes import Processes

Loss = Tensor | float
_PATIENCE = 50  # steps without a finite gradient, where a GradScaler needs 16 to find its scale; one look each


class Seam:
    """What joins a training loop with one line, ``step()``, anywhere between ``backward()`` and the next forward.

    It reads the gradient that ``backward()`` left on ``gates.log_alpha``, averages it over the processes of
    ``torch.distributed`` where there are several, adds its own part, moves the gates by an optimizer of its own and
    clears the gradient. The optimizer of the loop never sees the gates. Its state lies in the ledger of the gates,
    which rides in the model's state dict: a training that saves its model and its own optimizer resumes to the bit.

    Args:
        gates: what ``attach_gates`` returned.
        measure: what ``metrics()`` counts.
        constraints: what :func:`lzero.purge` settles on; none for a penalty.
        asked: further plain values that must be the same where a training is resumed.
        gate_lr: rate of the gates' Adam.
        optimizer: an optimizer of the user's over ``[gates.log_alpha]``, in place of Adam.
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
        fresh: bool = False,
        process_group: Any = None,
    ) -> None:
        self.gates = gates
        self._count = np.zeros(1, dtype=np.int64)  # shared with the ledger's tensor, and changed without an op
        self._model_cost = Cost(gates, measure)
        self._gate_optimizer = GateOptimizer(gates.log_alpha, gate_lr, optimizer) if self.trains else None
        self._fresh = flag("fresh", fresh, error=SolverError)
        kind = None if self._gate_optimizer is None else self._gate_optimizer.kind
        what = {"seam": type(self).__name__, "constraints": tuple(constraints), **asked, "optimizer": kind}
        self._asked = to_tensor(what)
        self._processes = Processes(process_group)
        self._device, self._dtype = gates.log_alpha.device, gates.log_alpha.dtype
        self._skipped = torch.zeros(1, device=self._device)
        self._one = torch.ones((), device=self._device)
        self._skipped_at_last_look = 0

    @property
    def steps(self) -> int:
        """How many steps have been taken, skipped ones included."""
        return int(self._count[0])

    @property
    def skipped(self) -> int:
        """Steps that changed nothing, since the gradient of the gates was not finite."""
        return int(self._skipped[0])

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
            SolverError: the gates have no gradient; the message says why.
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
                skip = self._one.masked_fill(finite, 0.0)
                self._skipped.add_(skip)
                self._pull(gradient, norm, finite)
                self._gate_optimizer.step(skip)  # type: ignore[union-attr]
            elif bool(finite):
                self._pull(gradient, norm, None)
                self._gate_optimizer.step()  # type: ignore[union-attr]
            else:
                self._skipped.add_(self._one)
        gates.log_alpha.grad = None
        self._after()
        self._look()
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
        """Its own state, by name."""
        return {}

    def _take(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what :meth:`_tensors` returned."""

    def _move(self, device: torch.device) -> None:
        """Follow the gates to ``device``, and to another dtype."""
        self._model_cost.to(device)
        self._skipped, self._one = self._skipped.to(device), self._one.to(device)
        if self._gate_optimizer is not None:
            self._gate_optimizer.to(device)

    @property
    def _on_device(self) -> bool:
        """Whether a step can be skipped without asking the host."""
        return self._gate_optimizer is not None and self._gate_optimizer.skips_on_device

    def _begin(self) -> None:
        """Take the gates over, with what an earlier part of the same training left; at the end of a constructor.

        Raises:
            SolverError: they have been trained for something else.
        """
        gates = self.gates
        left = gates.ledger if gates.restored is None else gates.restored
        if self._fresh or not int(left.get("steps", torch.zeros(1))[0]):
            left = {}
            gates.ledger.clear()
            gates.hold(None)
        if left:
            self._check(left)
        self._go_on({name: tensor.clone() for name, tensor in left.items()})
        gates.holder = self._holder = object()
        gates.history.step()

    def _continue(self) -> None:
        """Look whether these gates are still its own, on what device, and whether a state dict has been loaded."""
        gates = self.gates
        if gates.holder is not self._holder:
            raise SolverError(
                f"{type(self).__name__}: another one was built on these gates since; step that one, and keep one "
                "Solver, Penalty or baseline a model"
            )
        if (gates.log_alpha.device, gates.log_alpha.dtype) != (self._device, self._dtype):
            self._device, self._dtype = gates.log_alpha.device, gates.log_alpha.dtype
            self._move(self._device)
            self._write()
        if gates.restored is not None:
            self._check(gates.restored)
            self._go_on(gates.restored)

    def _go_on(self, left: Mapping[str, Tensor]) -> None:
        """Continue from what is ``left``, where there is anything, and begin the ledger anew."""
        gates = self.gates
        if left:
            self._restore(left)
        gates.restored = None
        gates.ledger.clear()
        if "settled" in left and gates.held is not None:  # what the certificate says of gates that are held already
            gates.ledger["settled"] = left["settled"]
        self._write()

    def _check(self, left: Mapping[str, Tensor]) -> None:
        if "asked" in left and torch.equal(left["asked"].cpu(), self._asked):
            expected = {"steps": torch.from_numpy(self._count), "skipped": self._skipped, **self._tensors()}
            if self._gate_optimizer is not None and self._gate_optimizer.own:
                expected |= self._gate_optimizer.tensors()
            wrong = [
                name
                for name, tensor in expected.items()
                if not name.startswith("dual.") and (name not in left or left[name].shape != tensor.shape)
            ]
            if wrong:
                raise SolverError(
                    f"{type(self).__name__}: {', '.join(wrong)} of the training's saved state are missing or of "
                    "another shape; load a state dict as it was saved, or pass fresh=True"
                )
            return
        raise SolverError(
            f"{type(self).__name__}: these gates have been trained for {int(left['steps'][0])} steps by "
            f"{described(left.get('asked'))}; this one is {described(self._asked)}. Build it as it was to go on with "
            "that training, or pass fresh=True to begin another one from where the gates are"
        )

    def _restore(self, left: Mapping[str, Tensor]) -> None:
        self._count[0] = int(left["steps"][0])
        self._skipped.copy_(left["skipped"])
        self._skipped_at_last_look = self.skipped
        if self._gate_optimizer is not None:
            self._gate_optimizer.restore(left)
        self._take(left)

    def _write(self) -> None:
        """Put all that a resumption needs into the ledger of the gates."""
        moved = {} if self._gate_optimizer is None else self._gate_optimizer.tensors()
        self.gates.ledger.update(
            asked=self._asked, steps=torch.from_numpy(self._count), skipped=self._skipped, **moved, **self._tensors()
        )

    def _after(self) -> None:
        self._count[0] += 1
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
        if loss is not None or not gates.history.scored:
            gates.score(loss, closure)
        gradient = gates.log_alpha.grad
        if gradient is None:
            raise SolverError(f"the gates have no gradient: {gates.history.why_no_gradient()}")
        if scaler is not None and not gates.estimator.losses:
            gradient.div_(_scale_of(scaler))
        self._processes.average(gradient)
        return gradient

    def _look(self) -> None:
        """Now and then, whether any of the last steps has moved the gates."""
        if self.steps % _PATIENCE:
            return
        before, self._skipped_at_last_look = self._skipped_at_last_look, self.skipped
        if self.skipped - before >= _PATIENCE:
            raise NonFiniteError(
                f"the gates' gradient was not finite in any of the last {_PATIENCE} steps, up to step {self.steps}; "
                "they were all skipped. Look at the loss and the learning rate"
            )

    def metrics(self) -> dict[str, float]:
        """Expected and deployed density of the whole model now, as plain floats for a Recorder."""
        self._continue()
        expected = self._model_cost.fraction(self.gates.probability().detach())
        deployed = self._model_cost.fraction(self.gates.open_mask())
        return {"expected": float(expected), "deployed": float(deployed)}

    def __getstate__(self) -> dict[str, Any]:
        """The state of a copy or a pickle, which takes its gates along."""
        return {**self.__dict__, "_holds": self.gates.holder is self._holder}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._holder = object()
        if self.__dict__.pop("_holds"):  # copied with its gates, it is theirs; and shares memory with their ledger
            self.gates.holder = self._holder
            self._write()

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_") and "_holder" in self.__dict__:
            raise SolverError(
                f"{type(self).__name__}.{name}: what a training is for stays as it is; build another one with "
                "fresh=True to go on with other values"
            )
        object.__setattr__(self, name, value)


def checked_gates(who: str, gates: object) -> Gates:
    """``gates`` where they are gates.

    Raises:
        SolverError: anything else, a model with gates among it.
    """
    if isinstance(gates, Gates):
        return gates
    raise SolverError(f"{who}: expected the Gates that lzero.attach_gates returned, found {shown(gates)}")


def _scale_of(scaler: Any) -> float:
    get_scale = getattr(scaler, "get_scale", None)
    if not callable(get_scale):
        raise SolverError(f"scaler: expected a torch.amp.GradScaler, found {shown(scaler)}")
    return float(get_scale())
