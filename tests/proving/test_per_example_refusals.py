"""The models that cannot have gates for each example: each is refused and left as it was."""

import dataclasses

import pytest
import torch
from plans import mlp, same, snapshot
from proving.examples import DOUBLE, built, stack
from torch import nn
from torch.nn import functional as F

from lzero.attach import attach_gates
from lzero.discover import discover
from lzero.errors import StructureError
from lzero.surgery.attached import gated_leaves


class Functional(nn.Module):
    """Its middle weight is used without its layer; ``silent`` sets the last layer to zero, as some do at the start."""

    def __init__(self, silent=False):
        super().__init__()
        self.a, self.fc, self.c = nn.Linear(5, 8), nn.Linear(8, 6), nn.Linear(6, 2)
        if silent:
            nn.init.zeros_(self.c.weight), nn.init.zeros_(self.c.bias)

    def forward(self, x):
        return self.c(F.relu(F.linear(F.relu(self.a(x)), self.fc.weight, self.fc.bias)))


class Folded(nn.Module):
    """Reads [B, T, F] as [B T, F]."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(5, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.b(F.relu(self.a(x.flatten(0, 1)))).unflatten(0, x.shape[:2])


class TimeFirst(Folded):
    def forward(self, x):
        return self.b(F.relu(self.a(x.transpose(0, 1)))).transpose(0, 1)


class Query(Folded):
    """One learned query for the whole batch."""

    def __init__(self):
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, 5))

    def forward(self, x):
        return x + self.b(F.relu(self.a(self.query)))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.out = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        return self.out(self.inner(x, x, x, need_weights=False)[0])


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.out = nn.LSTM(5, 6, num_layers=2, batch_first=True), nn.Linear(6, 3)

    def forward(self, x):
        return self.out(self.inner(x)[0])


def grouped():
    return nn.Sequential(nn.Conv2d(2, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 3, groups=2), nn.ReLU(), nn.Conv2d(4, 2, 1))


class OwnLinear(nn.Linear):
    """A subclass may do with its input what it likes."""


def subclassed():
    return nn.Sequential(nn.Linear(5, 4), nn.ReLU(), OwnLinear(4, 2))


NOT_THROUGH = "not through the input of a Linear or an ungrouped convolution; pass it to ignore=, or attach gates with"
OUTSIDE = r"used outside of its layer's forward; pass it to ignore=, or attach gates with per_example=False"
BATCH = "the batch must be the first dim .* attach gates with per_example=False, or pass the layer to ignore="
REFUSED = {
    "grouped": (grouped, (3, 2, 5, 5), {}, rf"2\.weight \(Conv2d\) reads .*{NOT_THROUGH}"),
    "attention": (Attention, (3, 4, 8), {}, rf"inner\.out_proj\.weight \(.*Linear\) reads .*{NOT_THROUGH}"),
    "LSTM": (Recurrent, (3, 4, 5), {}, rf"inner\.weight_\w+ \(LSTM\) reads .*{NOT_THROUGH}"),
    "a subclass": (subclassed, (3, 5), {}, rf"2\.weight \(OwnLinear\) reads .*{NOT_THROUGH}"),
    "weights": (subclassed, (3, 5), {"granularity": "weight"}, rf"weight \(\w+\) reads .*{NOT_THROUGH}"),
    "functional": (Functional, (3, 5), {}, rf"per_example: fc\.weight: .*{OUTSIDE}"),
    "silent": (lambda: Functional(silent=True), (3, 5), {}, rf"per_example: fc\.weight: .*{OUTSIDE}"),
    "folded": (Folded, (3, 4, 5), {}, rf"per_example: b\.weight: .*reads 12 examples, .* gates for 3.*{BATCH}"),
    "folded, one example": (Folded, (1, 4, 5), {}, rf"b\.weight: .*reads 4 examples, .* gates for 1.*{BATCH}"),
    "folded, one step": (Folded, (3, 1, 5), {}, None),
    "time first": (TimeFirst, (3, 4, 5), {}, rf"b\.weight: .*reads 4 examples, .* gates for 3.*{BATCH}"),
    "as long as wide": (TimeFirst, (4, 4, 5), {}, rf"b\.weight: .*reads 4 examples, .* gates for 5.*{BATCH}"),
    "a query": (Query, (1, 2), {}, rf"b\.weight: .*reads 1 examples, .* gates for 2.*{BATCH}"),
    "no batch": (lambda: stack(nn.Linear(5, 4), nn.Linear(4, 2)), (5,), {}, r"2\.weight: Linear: .*need a batch"),
    "no batch of images": (
        lambda: stack(nn.Conv2d(2, 4, 3), nn.Conv2d(4, 2, 3)),
        (2, 6, 6),
        {},
        r"Conv2d: gates for each example need a batch, found an input \(4, 4, 4\)",
    ),
}


@pytest.mark.parametrize("name", [name for name, case in REFUSED.items() if case[3]])
def test_a_refusal_names_the_tensor_and_leaves_the_model_as_it_was(name):
    make, shape, options, message = REFUSED[name]
    torch.manual_seed(0)
    model, x = make(), torch.randn(shape)
    before = snapshot(model)
    with pytest.raises(StructureError, match=f"(?s){message}"):
        attach_gates(model, x, per_example=True, **options)
    same(before, snapshot(model))
    assert not any(gated_leaves(module) for module in model.modules())
    attach_gates(model, x, **options)  # with shared draws all of them are fine


def test_a_plan_without_inputs_is_refused_because_nothing_can_be_checked():
    model, plan = mlp()
    before = snapshot(model)
    with pytest.raises(StructureError, match="Mlp cannot be checked without example inputs"):
        attach_gates(model, dataclasses.replace(plan, example_inputs=None), per_example=True)
    same(before, snapshot(model))


def test_layers_that_see_other_numbers_of_examples_are_refused_in_training_too():
    model, _, _, _, x = built("linear")
    model(x)
    with pytest.raises(StructureError, match="reads 2 examples, the last draw has gates for 3"):
        model[2](torch.randn(2, 4, dtype=DOUBLE))


class Picky(nn.Module):
    """Runs in bfloat16 alone, once it is told to."""

    def __init__(self):
        super().__init__()
        self.layers, self.picky = stack(nn.Linear(5, 8), nn.Linear(8, 2)), False

    def forward(self, x):
        if self.picky and x.dtype is not torch.bfloat16:
            raise TypeError("bfloat16 only")
        return self.layers(x)


def test_half_precision_is_too_coarse_to_check_by():
    model, x = Picky(), torch.randn(3, 5)
    plan = discover(model, x)
    model.bfloat16()
    model.picky = True
    before = snapshot(model)
    with pytest.raises(StructureError, match=r"cannot be checked on random weights: TypeError.*per_example=False"):
        attach_gates(model, dataclasses.replace(plan, example_inputs=x.bfloat16()), per_example=True)
    same(before, snapshot(model))
