"""What a training minimizes: the loss by the labels, by the answers of another network, and by the size of weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lzero.decay import expected_l2
from lzero_lab.training.recipe import Recipe


class Objective:
    """The loss of a batch by a recipe: (1 - distil) cross-entropy + distil * distance + l2 * expected L2.

    Args:
        recipe: says what counts, in which precision the forward runs, and by which factor the sum is scaled.
        model: the network that is trained.
        teacher: the network whose answers it learns from, beside the labels; None for the labels alone.
    """

    def __init__(self, recipe: Recipe, model: nn.Module, teacher: nn.Module | None = None) -> None:
        self._recipe, self._model, self._teacher = recipe, model, teacher

    def __call__(self, x: Tensor, y: Tensor, weight: float = 1.0) -> Tensor:
        """The loss of the images ``x`` [N, ...] with labels ``y`` [N], a scalar; ``weight`` is that of the batch."""
        recipe = self._recipe
        with torch.autocast(x.device.type, torch.bfloat16, enabled=recipe.bf16):
            scores = self._model(x)
            taught = None if self._teacher is None else self._teacher(x)
        loss = F.cross_entropy(scores.float(), y)
        if taught is not None:
            loss = torch.lerp(loss, distance(scores.float(), taught.float()), recipe.distil)
        if recipe.l2:
            loss = loss + recipe.l2 * expected_l2(self._model)
        return loss * (recipe.loss_scale * weight)


def distance(scores: Tensor, taught: Tensor, temperature: float = 2.0) -> Tensor:
    """T^2 KL(taught || scores) between answers softened by the temperature T, the mean over examples.

    Shapes: [N, classes] both -> [].
    """
    soft, hard = F.log_softmax(scores / temperature, 1), F.log_softmax(taught / temperature, 1)
    return temperature**2 * F.kl_div(soft, hard, log_target=True, reduction="batchmean")
