"""One training from a recipe: resumable, one recorded row an epoch."""

from __future__ import annotations

import copy
import math
import os
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from lzero.baselines.dense import same_size
from lzero.constraints import Budgets
from lzero.errors import LzeroWarning, NonFiniteError
from lzero.gates.gates import Gates
from lzero.purge import PurgeResult, purge
from lzero.recorder import Recorder
from lzero.settle import settle
from lzero.solver.gate_trainer import GateTrainer
from lzero.solver.schedule import FINETUNE
from lzero_lab import models
from lzero_lab.datasets.dataset import Dataset, batches, crop_and_flip
from lzero_lab.errors import DamagedError, DataError
from lzero_lab.files import write_tensors
from lzero_lab.training import methods
from lzero_lab.training.checkpoint import check_optimizer, loading, read_checkpoint
from lzero_lab.training.evaluation import mistakes
from lzero_lab.training.objective import Objective
from lzero_lab.training.processes import Processes
from lzero_lab.training.recipe import UNGATED, Recipe
from lzero_lab.training.runtime import RandomStream
from lzero_lab.training.weights import KEPT, ExponentialMovingAverage, optimizer, rate_factor


class Training:
    """A training in progress, on the device of the data; ``run`` brings it to its end.

    Args:
        recipe: what to train.
        data: tensors on the device to train on.
        start: the state dict that ``recipe.start`` names, of the network without gates.
        processes: those that train it together, each with a part of every batch; None where this one does alone.

    Raises:
        DataError: weights without a name in the recipe, or the other way round.
        DamagedError: they are of another network.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: Dataset,
        start: Mapping[str, Tensor] | None = None,
        processes: Processes | None = None,
    ) -> None:
        self.recipe, self.data, self._processes = recipe, data, processes or Processes()
        self.epoch = self.step = 0
        self.seconds = 0.0
        self.recorder = Recorder()
        device = data.train_x.device
        self._stream = RandomStream(recipe.seed, device)
        with self._stream.active():
            self.model: nn.Module = models.build(recipe.model, data).to(device)
            if recipe.method == "same_size":
                self.model = same_size(self.model, data.train_x[:2], recipe.target or 1.0, recipe.measure)
        # channels last: convolutions take a third less time
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.objective = Objective(recipe, self.model, self._begin_with(start))
        self._order = torch.Generator().manual_seed(recipe.seed)
        self.steps_per_epoch = -(-len(data.train_x) // recipe.batch_size)
        self.steps = recipe.steps or recipe.epochs * self.steps_per_epoch
        self.gates: Gates | None = None
        self.trainer: GateTrainer | None = None
        if recipe.method not in UNGATED:
            self.gates = methods.attach(recipe, self.model, data.train_x[:2])
            self.trainer = methods.trainer(recipe, self.model, self.gates, self.steps, len(data.train_x))
        self.optimizer = optimizer(recipe, self.model)
        default = FINETUNE if recipe.constraints and self.gates is not None else 0.0
        tuned = default if recipe.finetune is None else recipe.finetune
        self._tuning_from = self.steps - round(tuned * self.steps)
        self._average = ExponentialMovingAverage(list(self.model.parameters()), recipe.ema) if recipe.ema else None
        if recipe.compile:
            self.model.compile(backend=recipe.compile)  # in place; the copies that purging makes are not compiled

    def _begin_with(self, start: Mapping[str, Tensor] | None) -> nn.Module | None:
        """Take the weights of a trained network; a copy of it as a teacher where the recipe asks for one."""
        if (start is not None) != bool(self.recipe.start):
            found = "none was given" if start is None else "the recipe has no start"
            raise DataError(f"start: expected weights for {self.recipe.start or 'nothing'!r}, {found}")
        if start is None:
            return None
        try:
            self.model.load_state_dict(start)
        except RuntimeError as problem:
            raise DamagedError(
                f"start: weights of another network than {self.recipe.model}; pass those of a dense training of it"
            ) from problem
        return copy.deepcopy(self.model).eval().requires_grad_(False) if self.recipe.distil else None

    def run(self, progress: Callable[[dict[str, Any]], None] | None = None, checkpoint: str | None = None) -> Training:
        """Train to the end; ``progress`` gets every recorded row, ``checkpoint`` is rewritten after every epoch."""
        self._processes.hand_out(self._state, self._load)
        while self.step < self.steps:
            row = self.run_epoch()
            if checkpoint is not None:
                self.save(checkpoint)
            if progress is not None:
                progress(row)
        return self

    def run_epoch(self) -> dict[str, Any]:
        """Train one epoch and record its row: losses, validation error of the evaluation gates, densities, lambda.

        Raises:
            NonFiniteError: the loss has become infinite or no number, and the weights with it.
        """
        started = perf_counter()
        with self._processes.stream(self._stream, self.recipe.seed, self.epoch).active():
            loss = self._train_epoch()
        self._processes.average_statistics(self.model)
        if not math.isfinite(loss):
            raise NonFiniteError(
                f"the mean loss of epoch {self.epoch + 1} is {loss}; lower the learning rate, or look at the data"
            )
        self.epoch += 1
        self.seconds += perf_counter() - started
        row: dict[str, Any] = {
            "epoch": self.epoch,
            "step": self.step,
            "loss": loss,
            "error": self._validate(),
            "seconds": self.seconds,
        }
        if self.trainer is not None and self.gates is not None:
            row |= self.trainer.metrics() | self.gates.histogram()
        self.recorder.append(**row)
        return row

    def _train_epoch(self) -> float:
        """One pass over the training data, or what is left of the steps; the mean loss over the examples seen."""
        self.model.train()
        total = torch.zeros((), device=self.data.train_x.device)
        seen = 0
        for x, y in batches(self.data.train_x, self.data.train_y, self.recipe.batch_size, self._order):
            if self.step == self.steps:
                break
            size = len(x)
            x, y, weight = self._processes.part(x, y)
            self._set_learning_rate()
            if self.recipe.augment:
                x = crop_and_flip(x)
            self._settle_in_time()
            self.optimizer.zero_grad()
            loss = self.objective(x, y, weight)
            loss.backward()  # type: ignore[no-untyped-call]
            self._processes.average_gradients(self.model)
            if self.trainer is not None:
                self.trainer.step(loss.detach(), partial(self.objective, x, y, weight))
            self.optimizer.step()
            if self._average is not None:
                self._average.update()
            self.step += 1
            seen += size
            total += loss.detach() * size
        return float(self._processes.average(total)) / seen / self.recipe.loss_scale

    def budgets(self) -> Budgets | None:
        """What is settled on at the end, None where nothing was asked for."""
        asked = self.recipe.constraints
        return Budgets(asked, self.gates) if asked and self.gates is not None else None

    def _settle_in_time(self) -> None:
        """From here on the settled gates stay as they are, where the recipe asks for fine-tuning."""
        budgets = self.budgets() if self.step == self._tuning_from else None
        if self.gates is not None and budgets is not None:
            settle(self.gates, budgets).hold(self.gates, budgets)

    def _validate(self) -> float:
        x, y = self.data.validation_x, self.data.validation_y
        own = self._processes.share(len(x))
        with self._averaged():
            return self._processes.total(mistakes(self.model, x[own], y[own])) / len(x)

    def _averaged(self) -> AbstractContextManager[None]:
        return nullcontext() if self._average is None else self._average.active()

    def purge(self) -> PurgeResult:
        """The purged model with its certificate; of the mean weights, where the recipe asks for them."""
        with self._averaged(), warnings.catch_warnings():
            warnings.simplefilter("ignore", LzeroWarning)  # they stand on the certificate, which is kept and shown
            return purge(self.model, constraints=methods.asked_at_the_end(self.recipe))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all that :meth:`load` needs to continue to the bit; the file is replaced at once."""
        write_tensors(path, self._state())

    def _state(self) -> dict[str, Any]:
        return {
            "recipe": self.recipe.to_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rows": self.recorder.rows,
            "order": self._order.get_state(),
            "noise": self._stream.state(),
            "average": None if self._average is None else self._average.values,
        }

    def load(self, path: str | os.PathLike[str]) -> Training:
        """Continue from the checkpoint at ``path``.

        Raises:
            DataError: the file cannot be read, or belongs to another kind of device.
            DamagedError: it holds something else, or is of another recipe; this training is then not to be used.
        """
        state = read_checkpoint(path)
        with loading(path):
            self._load(state)
        return self

    def _load(self, state: dict[str, Any]) -> None:
        if state["recipe"] != self.recipe.to_dict():
            different = [key for key, value in self.recipe.to_dict().items() if state["recipe"].get(key) != value]
            raise DamagedError(f"saved with another {', '.join(different)}; resume with the options it was begun with")
        if state["step"] > self.steps:
            raise ValueError(f"{state['step']} steps of {self.steps}")
        self.epoch, self.step, self.seconds = state["epoch"], state["step"], state["seconds"]
        self.model.load_state_dict(state["model"])
        check_optimizer(self.optimizer, state["optimizer"], KEPT[self.recipe.optimizer])
        self.optimizer.load_state_dict(state["optimizer"])
        if self._average is not None:
            self._average.load(state["average"], self.step)
        self.recorder = Recorder(state["rows"])
        self._order.set_state(state["order"])
        self._stream.set_state(state["noise"])

    def _set_learning_rate(self) -> None:
        """The weights' learning rate of this step, by ``recipe.schedule``."""
        factor = rate_factor(self.recipe.schedule, self.step, self.steps, self.recipe.decay)
        self.optimizer.param_groups[0]["lr"] = self.recipe.lr * factor
