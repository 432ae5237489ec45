"""What is refused is refused in words that say what to change, and where."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from nets import sizes
from torch import Tensor, nn
from torch.nn import functional as F

import lzero
from lzero.plan.plan import Plan

X = torch.randn(2, 5, 16)


def told(plan: Plan, name: str) -> str:
    """All that is said of what is refused under ``name``."""
    return "\n".join(f"{r.reason}; {r.advice}" for r in plan.refusals if r.name == name)


class Attention(nn.Module):
    """Six heads of width 4 with ALiBi, its slopes made anew or kept; the width of the input as a size, or not."""

    def __init__(self, slopes: str = "none", width: str = "-1") -> None:
        super().__init__()
        self.num_heads, self.slopes, self.width = 6, slopes, width
        self.q, self.k, self.v, self.o = (nn.Linear(24, 24) for _ in range(4))
        self.register_buffer("kept", 2.0 ** -torch.arange(1.0, 7.0))

    def forward(self, x: Tensor) -> Tensor:
        b, t, c = x.shape
        q, k, v = (layer(x).view(b, t, -1, 4).transpose(1, 2) for layer in (self.q, self.k, self.v))
        scores = q @ k.transpose(-1, -2)
        if self.slopes != "none":
            slopes = self.kept
            if self.slopes == "made":
                slopes = 2.0 ** -torch.arange(1, self.num_heads + 1, dtype=x.dtype)
            scores = scores + slopes[:, None, None] * torch.arange(t, dtype=x.dtype)
        y = (scores.softmax(-1) @ v).transpose(1, 2)
        return self.o(y.reshape(b, t, -1) if self.width == "-1" else y.reshape(b, t, c))


def attention(**options: str) -> nn.Module:
    return nn.Sequential(nn.Linear(16, 24), nn.LayerNorm(24), Attention(**options))


def test_slopes_made_in_the_forward_are_named_with_their_line_and_the_way_out() -> None:
    plan = lzero.discover(attention(slopes="made"), X)
    assert "2.q" not in sizes(plan)
    assert "numbers which the forward makes (arange at test_discover_reasons.py:" in told(plan, "2.q")
    assert "register_buffer" in told(plan, "2.q")


def test_slopes_in_a_buffer_are_cut_with_the_heads() -> None:
    model = attention(slopes="kept").double()
    gates = lzero.attach_gates(model, X.double())
    assert sizes(gates.plan) == {"2.q": 6}
    with torch.no_grad():
        gates.log_alpha.copy_(torch.tensor([-9.0, 1, -9, 2, 0.5, -9]))
    small, new = lzero.purge(model, settle=False).model.eval(), torch.randn(3, 7, 16).double()
    torch.testing.assert_close(small(new), model.eval()(new), rtol=1e-9, atol=1e-9)
    assert torch.equal(small[2].kept, model[2].kept[[1, 3, 4]])


def test_a_size_that_is_the_width_of_the_input_is_named_with_its_line_and_the_edit() -> None:
    assert sizes(lzero.discover(attention(), X)) == {"2.q": 6}
    plan = lzero.discover(attention(width="c"), X)
    text = told(plan, "2.q")
    assert "2.q" not in sizes(plan) and "test_discover_reasons.py:" in text
    assert "another tensor" in text and "-1" in text


class Standardised(nn.Conv2d):
    """A convolution whose weight has mean 0 and variance 1 over all that an output reads, in one of three ways."""

    def __init__(self, made: int, out: int, way: str) -> None:
        super().__init__(made, out, 3)
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        weight: Any = self.weight
        if self.way == "batch_norm":
            flat = weight.reshape(1, self.out_channels, -1)
            weight = F.batch_norm(flat, None, None, training=True).reshape_as(weight)
        elif self.way == "var_mean":
            spread, middle = torch.var_mean(weight, dim=(1, 2, 3), keepdim=True)
            weight = (weight - middle) / spread.sqrt()
        else:
            weight = weight / weight.flatten(1).norm(dim=1)[:, None, None, None]
        return F.conv2d(x, weight, self.bias)


@pytest.mark.parametrize("way", ["batch_norm", "var_mean", "norm"])
def test_weights_that_are_standardised_are_said_to_be(way: str) -> None:
    body = [Standardised(3, 8, way), nn.ReLU(), Standardised(8, 6, way), nn.Flatten(), nn.Linear(6 * 16, 2)]
    plan = lzero.discover(nn.Sequential(*body), torch.randn(2, 3, 8, 8))
    assert sizes(plan) == {"2": 6}  # what a plain layer reads is free
    assert "the weight that reads it is computed from 2.weight in every forward" in told(plan, "0")
    assert "fold it" in told(plan, "2") and "standardise" in told(plan, "2")


@pytest.mark.parametrize(
    ("op", "words"),
    [
        (lambda h: h.softmax(1), "in the normalisation"),
        (lambda h: h - h.mean(1, keepdim=True), "divides by the number of all units"),
        (lambda h: h / h.amax(1, keepdim=True), "the largest may be a closed unit's"),
        (lambda h: F.normalize(h, dim=1), "normalise each unit alone"),
        (lambda h: h / h.std(1, keepdim=True), "normalise each unit alone"),
    ],
)
def test_what_mixes_units_says_how(op: Any, words: str) -> None:
    class Mixed(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return self[1](op(self[0](x)))  # type: ignore[no-any-return]

    plan = lzero.discover(Mixed(nn.Linear(5, 8), nn.Linear(8, 2)), torch.randn(3, 5))
    assert not plan.groups and words in told(plan, "0") and "mixes all units" in told(plan, "0")
