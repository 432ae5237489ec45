"""All gates of a model: one flat tensor of parameters, their probabilities, and the sets that can be deployed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from lzero.checks import shown
from lzero.errors import StructureError
from lzero.gates.draw import Draw
from lzero.gates.drawing import Drawing
from lzero.gates.estimator import Estimator
from lzero.gates.flat_buffer import FlatBuffer
from lzero.gates.hard_concrete import HardConcrete
from lzero.gates.histogram import histogram
from lzero.gates.history import History
from lzero.gates.ledger import Ledger
from lzero.gates.masks import Masks
from lzero.gates.score import score_gradient
from lzero.gates.whole import Whole
from lzero.plan.plan import Plan


class Gates(FlatBuffer):
    """The random gates of one model, as one flat ``log_alpha`` with a named slice for each group.

    ``log_alpha`` is [G], or [C, G] where the estimator has C parameters a gate. It is a buffer that requires grad, and
    no Parameter: ``loss.backward()`` gives it a gradient, and the solver alone moves it. Optimizers, weight decay,
    gradient clipping, DistributedDataParallel and FSDP never see it; state dicts do.

    A pre-hook on the model draws the noise once a forward; every gated tensor of that forward, and of its backward,
    sees the same draw. In eval mode a gate is 0 exactly where its rank (P(z != 0)) is at most 1/2, and the evaluation
    gate (E[z]) elsewhere. So that no layer dies, the likeliest gate of a group counts as open even below 1/2.

    Args:
        plan: what is gated; sizes, slices and owners are its own.
        estimator: the distribution of one gate.
        per_example: draw every gate anew for each example of a batch; gated inputs are then multiplied, not weights.
        rescaled: whether gated weights are divided by E[z] when the gates are attached.

    Attributes:
        slices, sizes: group name -> the numbers of its gates; how many they are, in that order.
        masks: which sets of gates can be deployed.
        drawing: which gates the forwards see.
        ledger: what the training of these gates keeps with them.
        whole: what there was before :func:`lzero.compact` took units away; None where it did not.

    Raises:
        StructureError: no plan, or one of no gates.
    """

    def __init__(
        self, plan: Plan, estimator: Estimator | None = None, per_example: bool = False, rescaled: bool = False
    ) -> None:
        sizes = plan.flat_sizes if isinstance(plan, Plan) else ()
        if not sizes or min(sizes) < 1:
            found = f"sizes {list(sizes)}" if isinstance(plan, Plan) else shown(plan)
            raise StructureError(f"Gates: expected a Plan of at least one group of at least one gate, found {found}")
        estimator = estimator or HardConcrete()
        drawing, shape = Drawing(estimator, sizes, per_example), (estimator.coordinates, plan.size)
        super().__init__(torch.zeros(shape if estimator.coordinates > 1 else plan.size))
        self.plan, self.slices, self.sizes = plan, dict(plan.slices), sizes
        self.estimator, self.per_example, self.rescaled = estimator, per_example, rescaled
        self.masks, self.drawing, self.ledger = Masks(sizes, plan.owners, [*plan.steps.values()]), drawing, Ledger()
        self.whole: Whole | None = None

    def __len__(self) -> int:
        return self.log_alpha.shape[-1]

    def __getitem__(self, name: str) -> Tensor:
        """The slice of ``log_alpha`` that belongs to group ``name``, [k] or [C, k]."""
        return self.log_alpha[..., self.slices[name]]

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """``flat`` [G] as group name -> [k]."""
        return {name: flat[where] for name, where in self.slices.items()}

    def pieces(self, flat: Tensor) -> tuple[Tensor, ...]:
        """``flat`` [..., G] as one [..., k] a group."""
        return torch.split(flat, list(self.sizes), -1)

    @property
    def owners(self) -> Tensor:
        """For each gate the index of the gate that owns it, -1 where none does; long [G]."""
        owners = self.masks.owners
        return self.log_alpha.new_full((1,), -1, dtype=torch.long).expand(len(self)) if owners is None else owners

    @property
    def owned(self) -> bool:
        """Whether any gate is owned by another."""
        return self.masks.owners is not None

    def probability(self) -> Tensor:
        """P(z != 0) of every gate, [G], differentiable."""
        return self.estimator.probability(self.log_alpha)

    def rank(self) -> Tensor:
        """The order in which the gates settle, [G] in [0, 1], without a graph; as a rule P(z != 0)."""
        return self.estimator.rank(self.log_alpha.detach())

    def histogram(self) -> dict[str, int]:
        """How many gates have P(z != 0) in each of 20 equal bins, ``p_00`` to ``p_19``: for a Recorder's row."""
        return histogram(self.probability())

    def means(self) -> Tensor:
        """E[z] of every gate, [G], without a graph."""
        return self.estimator.mean(self.log_alpha.detach())

    @torch.no_grad()
    def open_mask(self) -> Tensor:
        """The gates that are deployed, bool [G]: P(z != 0) > 1/2 and an open owner, and at least one a group.

        Of a training that has settled, those that it holds open. Steps (``plan.steps``) are for settling alone.
        """
        if self.held is not None:
            return self.held != 0
        return self.alive(self.with_floor(self.rank() > 0.5))

    def alive(self, open_: Tensor) -> Tensor:
        """``open_`` [G] without the gates whose owner is closed."""
        return self.masks.alive(open_)

    def with_floor(self, open_: Tensor) -> Tensor:
        """``open_`` [G] with the likeliest gate opened in every group that has none alive."""
        return self.masks.with_floor(open_, self.rank().double())

    def floor(self) -> Tensor:
        """The smallest set that is shipped, bool [G]: the likeliest gate, or step of gates, of every group alone."""
        nothing = torch.zeros(len(self), dtype=torch.bool, device=self.log_alpha.device)
        return self.masks.with_floor(nothing, self.rank().double(), in_steps=True)

    @torch.no_grad()
    def evaluate(self, open_: Tensor) -> Tensor:
        """Evaluation gates z, [G], for a set ``open_``: 0 where closed, else the estimator's, or E[z] where that is 0.

        The mean stands in where a gate is open against its median (settling, the last gate of a group): it is what
        the network has seen of that gate in training, on average.
        """
        if self.held is not None and torch.equal(open_, self.held != 0):
            return self.held
        z = self.estimator.evaluation(self.log_alpha)[0]
        return torch.where(z == 0, self.estimator.mean(self.log_alpha), z) * open_

    def _deployed(self) -> tuple[Tensor, Tensor]:
        """The evaluation gates of the deployed set, [G], and their slope, shaped as ``log_alpha``."""
        open_ = self.open_mask()
        return self.evaluate(open_), self.estimator.evaluation(self.log_alpha)[1] * open_

    @property
    def held(self) -> Tensor | None:
        """The gates [G] of a training that has settled already; None while they are drawn."""
        return self.drawing.held

    @torch.no_grad()
    def hold(self, open_: Tensor | None) -> None:
        """From now on every forward, in train mode too, has the evaluation gates of ``open_`` [G]; None draws again."""
        self.drawing.hold(None)
        self.drawing.hold(None if open_ is None else self.evaluate(open_).clone())

    def draw(self, model: nn.Module | None = None, *_: Any) -> None:
        """Gates for the next forward: a new draw in the train mode of ``model``, evaluation gates in its eval mode."""
        if model is not None and self.training is not model.training:
            self.training = model.training
        self.drawing.begin(self.log_alpha, self.training, self._deployed)

    def current(self, examples: int | None = None) -> Draw:
        """The draw of the current forward, for a number of ``examples`` where each has gates of its own."""
        return self.drawing.current(self.log_alpha, self.training, self._deployed, examples)

    @property
    def by_example(self) -> bool:
        """Whether the current forward has gates for each example, which multiply inputs instead of weights."""
        return self.drawing.by_example(self.training)

    @property
    def history(self) -> History:
        """What has happened to the gates since the last step."""
        return self.drawing.history

    def fixed(self, z: Tensor) -> AbstractContextManager[None]:
        """Within the context every forward uses ``z``, [G], or [B, G] where gates are drawn for each example.

        Raises:
            StructureError: another shape, or no floats.
        """
        return self.drawing.fix(z, self.log_alpha)

    def opposite(self) -> AbstractContextManager[None]:
        """Within the context every forward uses the gates of the opposite noise of the forward before.

        Raises:
            StructureError: nothing was drawn yet, or the last forward was in eval mode.
        """
        return self.drawing.opposite(self.log_alpha, self.training)

    @torch.no_grad()
    def score(self, loss: Tensor | float | None = None, closure: Callable[[], Tensor | float] | None = None) -> None:
        """Add the score-function gradient of the last forward to ``log_alpha.grad``, where the estimator needs one.

        Solver, Penalty and Elbo do this in ``step(loss, closure)``; where gradients are accumulated over several
        forwards, call it after each backward, and ``step()`` without arguments at the end. Pass the loss as it is, not
        one that a GradScaler has scaled. Gates that are held are not scored, and of the others only the last draw is: a
        loss of two train-mode forwards gets a biased gradient, which nothing warns of. Put both batches through one
        forward, or call backward and score for each.

        Args:
            loss: the loss of the last forward, whose gates were drawn in train mode.
            closure: for estimators that need two losses: computes the loss anew, on the same batch, once, without
                gradients, with the opposite gates; what else a forward changes (statistics of BatchNorm) it changes.

        Raises:
            StructureError: a loss that the estimator needs was not given, or nothing was drawn.
        """
        if not self.estimator.losses or self.held is not None:
            return
        gradient = score_gradient(self.estimator, self.log_alpha, self.drawing.noise, loss, closure, self.opposite)
        self.log_alpha.grad = gradient if self.log_alpha.grad is None else self.log_alpha.grad + gradient
        self.history.score()

    def training_state(self) -> dict[str, Tensor]:
        """What a state dict has of the training of these gates, beside ``log_alpha``, by name."""
        more = {"held": self.held, "left": None if self.whole is None else self.whole.numbers}
        return {**self.ledger.latest, **{name: value for name, value in more.items() if value is not None}}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take in a ``state`` that :meth:`training_state` returned, for the trainer to go on with.

        Raises:
            SolverError: the gates are being trained for something else; nothing is changed then.
        """
        self.ledger.check(state, len(self))
        held = state.get("held")
        self.drawing.hold(None if held is None else held.to(self.log_alpha).clone())
        self.ledger.bring({name: value for name, value in state.items() if name not in ("held", "left")})

    def _replaced(self) -> None:
        self.drawing.forget()

    def _moved(self, like: Tensor) -> None:
        self.masks.to(like.device)
        self.drawing.to(like)

    def extra_repr(self) -> str:
        """Groups with their sizes, for ``print(model)``."""
        return ", ".join(f"{name}: {s.stop - s.start}" for name, s in self.slices.items())
