"""Models of which a unit cannot be cut exactly: discovery finds no gate there and says why."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from nets import Net, reasons, sizes
from torch import Tensor, nn
from torch.nn import functional as F

from lzero.plan.plan import Plan

AssertExact = Callable[..., Plan]


def bottleneck(between: Callable[[Tensor], Tensor], read: int = 16, made: int = 16) -> Net:
    return Net(lambda net, x: net.b(between(net.a(x))), a=nn.Conv2d(3, made, 1), b=nn.Conv2d(read, 4, 1))


X = torch.randn(2, 3, 5, 5)

REFUSED: dict[str, tuple[Callable[[Tensor], Tensor], int]] = {
    "softmax over channels": (lambda h: h.softmax(1), 16),
    "mean over channels": (lambda h: h - h.mean(1, keepdim=True), 16),
    "maximum over channels": (lambda h: h * h.amax(1, keepdim=True).sigmoid(), 16),
    "roll": (lambda h: h.roll(1, 1), 16),
    "roll and add": (lambda h: h + h.roll(1, 1), 16),
    "first half": (lambda h: h[:, :8], 8),
    "two literal halves": (lambda h: h[:, :8] * h[:, 8:], 8),
    "every third channel": (lambda h: h[:, ::3], 6),
    "one channel as an attention map": (lambda h: h * h[:, 0:1].sigmoid(), 16),
    "one channel by number": (lambda h: h + h[:, 3][:, None], 16),
    "division by sqrt of the channels": (lambda h: h / math.sqrt(h.shape[1]), 16),
    "maxout": (lambda h: h.view(2, 8, 2, 5, 5).amax(2), 8),
    "unit length over channels": (lambda h: F.normalize(h, dim=1), 16),
    "layer norm": (lambda h: F.layer_norm(h.movedim(1, -1), (16,)).movedim(-1, 1), 16),
    "group norm": (lambda h: F.group_norm(h, 4), 16),
    "gram matrix": (lambda h: h + torch.einsum("bchw,bdhw->bcd", h, h).sum(-1)[..., None, None], 16),
    "sorting": (lambda h: h.sort(1).values, 16),
    "branch on a value": (lambda h: h if h.sum() > 0 else -h, 16),
    "branch on the size": (lambda h: h if h.shape[1] == 16 else -h, 16),
    "a constant of literal size": (lambda h: h + torch.arange(16.0).to(h)[:, None, None], 16),
    "through numpy": (lambda h: h + torch.from_numpy(h.numpy(force=True)).to(h).mean(1, keepdim=True), 16),
    "shared memory": (lambda h: h + torch.from_numpy(h.detach().numpy())[:, :1], 16),
    "an op without a rule": (lambda h: torch.special.bessel_j0(h).cumsum(1).renorm(2, 1, 1.0), 16),
    "a product of activations": (lambda h: torch.einsum("bchw,bdhw->bchw", h, h.softmax(1)) + h @ h, 16),
    "noise of its size": (lambda h: h + torch.randn_like(h), 16),
    "unequal split": (lambda h: torch.cat(h.split([4, 12], 1)[::-1], 1), 16),
}


class TestUnsoundModels:
    @pytest.mark.parametrize("name", REFUSED)
    def test_is_refused(self, name: str, assert_exact: AssertExact) -> None:
        between, read = REFUSED[name]
        plan = assert_exact(bottleneck(between, read), X)
        assert "a" not in sizes(plan), name
        assert plan.refusals

    def test_literal_view(self, assert_exact: AssertExact) -> None:
        model = Net(lambda net, x: net.fc(net.conv(x).view(-1, 100)), conv=nn.Conv2d(3, 4, 1), fc=nn.Linear(100, 2))
        plan = assert_exact(model, X)
        assert not plan.groups
        assert "conv: the purged model fails in " in reasons(plan)
        assert "(a hard-coded size?)" in reasons(plan)

    def test_zero_initialised_consumer_hides_nothing(self, assert_exact: AssertExact) -> None:
        model = bottleneck(lambda h: h / h.shape[1])
        nn.init.zeros_(model.b.weight)
        assert not assert_exact(model, X).groups

    def test_balanced_halves_of_four_channels(self, assert_exact: AssertExact) -> None:
        def forward(net: Any, x: Tensor) -> Tensor:
            first, second = net.a(x).chunk(2, 1)
            return net.b(first) + net.c(second)

        model = Net(forward, a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(2, 4, 1), c=nn.Conv2d(2, 4, 1))
        plan = assert_exact(model, X)
        assert sizes(plan) == {"a": 2}
        assert plan.groups[0].members[0].index.tolist() == [[0, 2], [1, 3]]

    def test_hidden_tie_of_two_small_layers(self, assert_exact: AssertExact) -> None:
        def forward(net: Any, x: Tensor) -> Tensor:
            p, q = net.a(x), net.b(x)
            return net.c(p) * (p.shape[1] / q.shape[1]) + net.d(q)

        parts = {"a": nn.Conv2d(3, 2, 1), "b": nn.Conv2d(3, 2, 1), "c": nn.Conv2d(2, 4, 1), "d": nn.Conv2d(2, 4, 1)}
        assert len(assert_exact(Net(forward, **parts), X).groups) < 2

    def test_outputs_in_every_form_are_frozen(self, assert_exact: AssertExact) -> None:
        model = Net(
            lambda net, x: {"hidden": [h := net.a(x)], "out": (net.b(h),)}, a=nn.Linear(4, 6), b=nn.Linear(6, 2)
        )
        plan = assert_exact(model, torch.randn(2, 4))
        assert not plan.groups
        assert "a: it is an output of the model" in reasons(plan)

    def test_unused_parameters_are_named(self, assert_exact: AssertExact) -> None:
        model = Net(lambda net, x: net.b(net.a(x)), a=nn.Linear(4, 6), b=nn.Linear(6, 2), spare=nn.Linear(3, 3))
        plan = assert_exact(model, torch.randn(2, 4))
        assert sizes(plan) == {"a": 6}
        assert "spare: not used in the forward" in reasons(plan)

    def test_dead_layer_is_not_believed(self, assert_exact: AssertExact) -> None:
        model = Net(
            lambda net, x: net.b(net.a(x)) * 0 + net.c(x), a=nn.Linear(4, 6), b=nn.Linear(6, 2), c=nn.Linear(4, 2)
        )
        plan = assert_exact(model, torch.randn(2, 4))
        assert not plan.groups
        assert "closing it changes no output" in reasons(plan)
