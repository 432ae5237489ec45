"""A budget in a training of Lightning: ``Trainer(callbacks=[lzero.integrations.lightning.Budget(0.10)])``."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from lzero.constraints import Constraint
from lzero.cost import Measure
from lzero.errors import LzeroWarning, StructureError
from lzero.gates.gates import Gates
from lzero.integrations.lightning.hand_over import HandOver
from lzero.integrations.lightning.scores import Scores
from lzero.integrations.lightning.several_losses import SeveralLosses
from lzero.integrations.lightning.target import after, fitting, optimizer_steps, own, target
from lzero.integrations.request import Build, Request, prefixed
from lzero.purge import PurgeResult, purge
from lzero.solver.gate_trainer import GateTrainer
from lzero.surgery.attached import draws, gates_of

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")
_ON_THE_BAR = ("lzero/deployed", "lzero/multiplier")


def _callbacks() -> tuple[Any, ...]:
    """The Callback of each Lightning that is imported, else of the first that is installed: each has its own."""
    imported = [name for name in _PACKAGES if name in sys.modules]
    installed = [name for name in _PACKAGES if find_spec(name.partition(".")[0])]
    return tuple(importlib.import_module(name).Callback for name in imported or installed[:1])


class Budget(*_callbacks()):  # type: ignore[misc]
    """A callback with which a training of Lightning ends in a network within a budget.

    Gates are attached when the module has built its layers (after ``setup`` and ``configure_model``), before a
    checkpoint is loaded and optimizers are built. The solver steps once for every step of an optimizer that holds gated
    weights. Its state rides in the checkpoints of the Trainer, within the state dict of the module.

    Args:
        target_density: as for :class:`lzero.integrations.request.Request`, like all that follow.
        measure: what the density counts.
        constraints: several budgets, in place of a target density.
        solver: builds a solver or a baseline of your own: ``lambda gates, steps: lzero.Penalty(gates, 0.1)``.
        example_inputs: what one forward takes; by default ``example_input_array``, or else what ``training_step``
            calls its network with, tried on two examples of the training data.
        granularity: as for :func:`lzero.attach_gates`.
        ignore, round_to: as for :func:`lzero.attach_gates`.
        total_steps: optimizer steps of the training; by default what the Trainer estimates.
        module: path of the part to gate, such as ``"generator"``; by default the module itself, or the part that
            ``training_step`` calls where that holds all that is trained.

    Attributes:
        request: what was asked for.
        gated: the module that has the gates, in training and afterwards; None before.
        gates: its gates.
        solver: what moves them, from the start of training on.

    Raises:
        BudgetError: a malformed budget, or none.
        SolverError: a malformed ``solver``.
    """

    def __init__(
        self,
        target_density: float | None = None,
        *,
        measure: Measure = "params",
        constraints: Sequence[Constraint] | None = None,
        solver: Build | None = None,
        example_inputs: object = None,
        granularity: str | Mapping[str, str] = "unit",
        ignore: str | Iterable[str] = (),
        total_steps: int | None = None,
        round_to: int | Mapping[str, int] | None = None,
        module: str | None = None,
    ) -> None:
        super().__init__()
        self.request = Request(
            target_density, measure, constraints, solver, example_inputs, granularity, ignore, total_steps, round_to
        )
        self.gated: nn.Module | None = None
        self.gates: Gates | None = None
        self.solver: GateTrainer | None = None
        self._path, self._hand_over = module, HandOver()
        self._losses: SeveralLosses | None = None
        self._scores = Scores((), ())
        self._undo: list[Callable[[], None]] = []
        self._ready = False

    def purge(self, **options: Any) -> PurgeResult:
        """The small network: :func:`lzero.purge` of the module that has the gates, with its ``options``.

        After a training in spawned processes, whose models end with them, it is what the first of them purged, and has
        no options.

        Raises:
            StructureError: nothing has been trained with this callback.
        """
        if self.gated is not None:
            return purge(self.gated, **options)
        result = self._hand_over.result
        if result is None:
            raise StructureError("Budget.purge: nothing was trained with this callback yet; call trainer.fit first")
        if options:
            raise StructureError(
                "Budget.purge: this training ran in spawned processes, which have purged already; leave the options "
                'out, or train with strategy="ddp"'
            )
        return result

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Attach gates as soon as the module has built its layers."""
        if stage != "fit":
            return
        self.gated = self.gates = self.solver = self._losses = None
        dtype = torch.get_default_dtype()

        def attach() -> None:
            made = torch.get_default_dtype()
            torch.set_default_dtype(dtype)  # configure_model runs in contexts that say where and as what layers begin
            try:
                with torch.device("cpu"):
                    self._attach(trainer, pl_module)
            finally:
                torch.set_default_dtype(made)

        def then() -> None:
            if own(pl_module, "configure_model"):
                self._undo.append(after(pl_module, "configure_model", attach))
            else:
                self._attach(trainer, pl_module)

        self._undo.append(after(pl_module, "setup", then))

    def _attach(self, trainer: Any, pl_module: Any) -> None:
        gates = gates_of(pl_module)
        if gates is None:
            gated, inputs = target(trainer, pl_module, self.request.example_inputs, self._path)
            gates = self.request.attach(gated, fitting(gated, inputs))
        self.gates = gates
        self.gated = next(module for module in pl_module.modules() if draws(module, gates))

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Refuse callbacks that average the weights of an ungated copy."""
        for callback in trainer.callbacks:
            average = getattr(callback, "_average_model", None)
            if isinstance(average, nn.Module) and gates_of(average) is None:
                raise StructureError(
                    f"{type(callback).__name__}: has copied the module before gates were attached; attach them before "
                    "trainer.fit: lzero.attach_gates(model, example_inputs)"
                )

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Build the solver, for as many steps as the Trainer counts."""
        if self.gates is None or self.gated is None:
            return
        self.solver = self.request.start(self.gates, optimizer_steps(trainer, pl_module))
        self._losses = SeveralLosses(self.gated, self.gates, trainer.optimizers)
        self._scores = Scores(trainer.early_stopping_callbacks, trainer.checkpoint_callbacks)
        self._ready = False

    @property
    def _waits(self) -> bool:
        """Whether the network is yet to become the one that will be shipped."""
        solver = self.solver
        return solver is not None and solver.settles_at is not None and solver.gates.held is None

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Let early stopping wait until the gates have settled: until then a loss may well rise."""
        if self._waits:
            self._scores.hear_anew()

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Let early stopping wait, as at the start of an epoch."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        """In manual optimization, where several losses meet, keep those of other networks out."""
        if self._losses is not None and not pl_module.automatic_optimization:
            self._losses.before_backward()

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        """Note that a step may come."""
        if self._losses is not None:
            self._ready |= pl_module.automatic_optimization or self._losses.after_backward()

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """One step of the solver; none where ``training_step`` returned None, or another network is stepped."""
        solver, losses = self.solver, self._losses
        if solver is None or losses is None or not losses.moves(optimizer):
            return
        if not self._ready and solver.gates.log_alpha.grad is None:
            return
        self._ready, waited = False, self._waits
        solver.step(scaler=getattr(trainer.precision_plugin, "scaler", None))
        if waited and not self._waits:
            self._scores.hear_anew()
            self._scores.forget_best()
        every = trainer.log_every_n_steps
        if every and (solver.steps == 1 or solver.steps % every == 0):
            for name, value in prefixed(solver).items():
                pl_module.log(name, value, on_step=True, on_epoch=False, prog_bar=name in _ON_THE_BAR)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Say where the training has not got to what was asked; hand the result on from a spawned process."""
        solver = self.solver
        if solver is None or self.gated is None or not trainer.is_global_zero:
            return
        if self._waits:
            _warn(
                f"the training ended at step {solver.steps}, before its gates settle at step {solver.settles_at}, with "
                f"{_numbers(solver)}; budget.purge() settles them, and no training follows. Train on, or pass "
                "Budget(..., total_steps=...) where there are fewer steps"
            )
        for path in self._scores.without_best():
            _warn(
                f"{path}: the best checkpoint is of before the gates settled, and none was saved since; the network at "
                f"the end has {_numbers(solver)}: take budget.purge(), or let validation run after the last steps"
            )
        if self._hand_over.elsewhere:
            self._hand_over.give(purge(self.gated))

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Take back what waits for the module to build its layers."""
        while self._undo:
            self._undo.pop()()

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """As after an exception."""
        self.on_exception(trainer, pl_module, GeneratorExit())


def _numbers(solver: GateTrainer) -> str:
    row = solver.metrics()
    asked = f", asked {row['target']:.2%}" if "target" in row else ""
    return f"{row['deployed']:.2%} deployed{asked}"


def _warn(text: str) -> None:
    warnings.warn(text, LzeroWarning, stacklevel=3)
