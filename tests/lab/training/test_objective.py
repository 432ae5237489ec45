"""The objective: its terms by hand, their weights, and the precision that they are added in."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lzero.attach import attach_gates
from lzero.decay import expected_l2
from lzero_lab.training.objective import Objective, distance
from lzero_lab.training.recipe import Recipe
from lzero_lab.training.training import Training


def test_the_teacher_is_what_the_training_begins_with_and_its_answers_are_weighed_in_the_loss(data):
    start = Training(Recipe(method="dense", epochs=2, batch_size=64), data).run().model.state_dict()
    x, y = data.train_x[:50], data.train_y[:50]
    losses = []
    for weight in (0.0, 0.25, 1.0):
        training = Training(Recipe(method="dense", epochs=1, start="s", distil=weight), data, start)
        with torch.no_grad():
            next(training.model.parameters()).mul_(0.5)
            losses.append(float(training.objective(x, y)))
            student = training.model(x)
    taught = Training(Recipe(method="dense", start="s"), data, start).model(x).detach()
    p, q = (torch.softmax(scores / 2, 1) for scores in (taught, student))
    assert losses[2] == pytest.approx(4 * float((p * (p / q).log()).sum(1).mean()), rel=1e-4)
    assert losses[1] == pytest.approx(0.75 * losses[0] + 0.25 * losses[2])
    assert distance(taught, taught) == pytest.approx(0, abs=1e-6)


def test_the_scale_is_on_the_whole_sum_and_a_batch_has_its_weight():
    x, y = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    attach_gates(model, x)
    model.eval()  # no gate is drawn
    with torch.no_grad():
        expected = 4 * (F.cross_entropy(model(x), y) + 0.1 * expected_l2(model))
        found = Objective(Recipe(l2=0.1, loss_scale=8.0), model)(x, y, 0.5)
    assert float(found) == pytest.approx(float(expected), rel=1e-6)
