"""A callback for the Trainer of Hugging Face: one argument, and a smaller model at the end."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from transformers import TrainerCallback
from transformers.trainer_callback import CallbackHandler

from lzero.certificate import asked_of
from lzero.constraints import Budgets, Constraint
from lzero.cost import Measure
from lzero.errors import LzeroWarning, SolverError, StructureError
from lzero.gates.gates import Gates
from lzero.integrations.request import Build, Request, prefixed
from lzero.integrations.transformers.gated import save_plan
from lzero.integrations.transformers.inputs import inputs_of
from lzero.purge import PurgeResult, purge
from lzero.solver.gate_trainer import GateTrainer
from lzero.surgery.attached import gates_of

_DEEP = 6  # frames from a callback to whoever calls it


class Budget(TrainerCallback):
    """A budget for ``Trainer(callbacks=[Budget(0.40)])``, Seq2SeqTrainer and their subclasses.

    Gates are attached when the Trainer has been built, before anything is loaded; they move once per optimizer step of
    the Trainer, and whatever it saves holds their training too. ``lzero.purge(trainer.model)``, or :meth:`purge`, gives
    the small model.

    Rows of ``state.log_history`` that have the loss have ``lzero/deployed``, ``lzero/multiplier`` and the others of
    :meth:`lzero.Solver.metrics` beside it, and so do those of TensorBoard and all other reporters.

    When the deployed set settles, at 80 % of the training, the best metric so far is forgotten: what was evaluated
    before has met no budget, so that ``load_best_model_at_end`` chooses among those that do.

    Args:
        target_density: as for :class:`lzero.integrations.request.Request`, like all that follow.
        measure: what the density counts.
        constraints: several budgets, in place of a target density.
        solver: builds a solver or a baseline of your own: ``lambda gates, steps: lzero.Penalty(gates, 0.1)``.
        example_inputs: what one forward takes; by default made from the configuration of the model.
        granularity: as for :func:`lzero.attach_gates`.
        ignore, round_to: as for :func:`lzero.attach_gates`.
        total_steps: optimizer steps of the training; by default ``state.max_steps`` of the Trainer.

    Attributes:
        request: what was asked for.
        solver: what moves the gates; None before the training.

    Raises:
        BudgetError: a malformed budget, or none and no ``solver``.
        SolverError: a ``solver`` beside a budget, or one that cannot be called.
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
    ) -> None:
        super().__init__()
        self.request = Request(
            target_density, measure, constraints, solver, example_inputs, granularity, ignore, total_steps, round_to
        )
        self.solver: GateTrainer | None = None
        self._model: nn.Module | None = None

    @property
    def gates(self) -> Gates:
        """The gates of the model.

        Raises:
            StructureError: there are none yet.
        """
        gates = None if self._model is None else gates_of(self._model)
        if gates is None:
            raise StructureError("Budget: no gates yet; pass it to Trainer(model, callbacks=[budget]) first")
        return gates

    def purge(self, **options: Any) -> PurgeResult:
        """What :func:`lzero.purge` makes of the model of the Trainer.

        Raises:
            StructureError: there is no model yet, or what :func:`lzero.purge` raises.
        """
        _ = self.gates
        return purge(self._model, **options)  # type: ignore[arg-type]

    def on_init_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Attach gates: a checkpoint is loaded later."""
        self._attach(model)
        _stand_first(self)

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Build the solver, which goes on with what a checkpoint has brought.

        Raises:
            SolverError: the training is resumed, and its checkpoint has brought no gates.
        """
        _stand_first(self)
        late = gates_of(model) is None
        if late and state.global_step:
            raise SolverError(
                f"Budget: gates cannot be attached at step {state.global_step}, when the checkpoint has been loaded "
                "already; pass the callback to Trainer(callbacks=[...]), and with model_init= let that attach the gates"
            )
        gates = self._attach(model)
        self.solver = self.request.start(gates, state.max_steps)
        if self.solver.steps < state.global_step:
            raise SolverError(
                f"Budget: the training is resumed at step {state.global_step}, and its gates have seen "
                f"{self.solver.steps}: the checkpoint was saved without them; begin without resume_from_checkpoint"
            )

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, optimizer: Any = None, **_: Any) -> None:
        """Move the gates; once they have settled, forget the best metric of what had not."""
        if self.solver is None:
            return
        gates = self.solver.gates
        drawn = gates.held is None
        self.solver.step(scaler=getattr(optimizer, "scaler", None))
        if drawn and gates.held is not None:
            state.best_metric = state.best_model_checkpoint = None
            if hasattr(state, "best_global_step"):
                state.best_global_step = None

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Put the state of the gates beside the loss, where the reporters will find it."""
        if self.solver is None or not logs or "loss" not in logs:
            return
        row = prefixed(self.solver)
        logs.update(row)
        if state.log_history:
            state.log_history[-1].update(row)

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Put the plan beside the weights, for :func:`from_pretrained`."""
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if args.should_save and folder.is_dir():
            save_plan(self.gates, folder)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Say where the model that the training ends with, perhaps the best one, misses its budget.

        Warns:
            LzeroWarning: with both numbers.
        """
        missed = _missed(self.gates) if state.is_world_process_zero else ""
        if missed:
            warnings.warn(
                f"Budget: the model that the training ends with misses its budget: {missed}. purge() settles it, and "
                "its accuracy will be another than the Trainer has measured; evaluate and save within the last fifth "
                "of the training, and let it run to its end",
                LzeroWarning,
                stacklevel=2,
            )

    def _attach(self, model: Any) -> Gates:
        """The gates of ``model``, attached by now."""
        inputs = None
        if self.request.example_inputs is None and gates_of(model) is None:
            inputs = inputs_of(model)
        gates = self.request.attach(model, inputs)
        self._model = model
        return gates


def _missed(gates: Gates) -> str:
    """Every budget that the open gates miss, in words."""
    asked = asked_of(gates)
    if not asked:
        return ""
    budgets = Budgets(asked, gates, "Budget")
    found = budgets.named(budgets.cost.fraction(gates.open_mask()))
    targets = budgets.named(budgets.targets)
    return "; ".join(
        f"{name}: {targets[name]:.2%} asked, {found[name]:.2%} deployed"
        for name in found
        if found[name] > targets[name]
    )


def _stand_first(callback: TrainerCallback) -> None:
    """Move ``callback`` to the front of the list that it is being called from.

    Reporters write down what ``on_log`` hands them in the order of that list, the Trainer's own first, and a callback
    is not given the list. It is looked up in the frames that lead here; where it is not found, the rows still reach
    ``state.log_history``.
    """
    frame = sys._getframe(1)
    for _ in range(_DEEP):
        handler = frame.f_locals.get("self")
        if isinstance(handler, CallbackHandler) and callback in handler.callbacks:
            handler.callbacks.remove(callback)  # in place: who comes after it in the loop stays where he is
            handler.callbacks.insert(0, callback)
            return
        if frame.f_back is None:
            return
        frame = frame.f_back
