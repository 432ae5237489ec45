"""Models that change themselves, answer no questions, or train in a way that the example does not show."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lzero
from lzero.plan.plan import Plan
from lzero.surgery.shrink import shrink

AssertExact = Callable[..., Plan]
TOKENS = torch.randn(2, 5, 16)


class Silent:
    """A configuration that does not tell the width of a head."""

    def __init__(self) -> None:
        self.head_dim, self.width = 4, 8

    def __getattribute__(self, name: str) -> Any:
        if name == "head_dim":
            raise RuntimeError("it varies over the layers")
        return super().__getattribute__(name)


def test_a_configuration_that_does_not_answer_is_left_alone(assert_exact: AssertExact) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    model.config = Silent()
    assert [group.size for group in assert_exact(model, torch.randn(3, 4))] == [8]


class Full(nn.Module):
    def __init__(self, source: Any = None) -> None:
        super().__init__()
        self.head, self.inner = 4, 24
        made = (source.q, source.k, source.v) if source else (nn.Linear(16, 24) for _ in range(3))
        self.q, self.k, self.v = made

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (f(x).view(*x.shape[:2], -1, self.head).transpose(1, 2) for f in (self.q, self.k, self.v))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(*x.shape[:2], self.inner)


class Sparse(Full):
    """The one that the model starts with."""


class Swapping(nn.Module):
    """Puts another attention in the place of its own where the sequence is short."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.o = Sparse(), nn.Linear(24, 16)
        self.up, self.down = nn.Linear(16, 12), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        if type(self.attention) is Sparse and x.shape[1] < 64:
            self.attention = Full(self.attention)
        return self.down(self.up(self.o(self.attention(x))).relu())


def test_what_the_forward_swaps_is_refused_and_the_rest_is_gated(assert_exact: AssertExact) -> None:
    plan = assert_exact(Swapping(), TOKENS)
    assert {group.name for group in plan} == {"o", "up"}
    assert any("puts another module in the place of attention" in refusal.reason for refusal in plan.refusals)


@pytest.mark.filterwarnings("ignore:.*no budget was given")
def test_a_model_that_has_swapped_already_is_like_any_other() -> None:
    def ran() -> Swapping:
        model = Swapping()
        model(TOKENS)
        return model

    gates = lzero.attach_gates(model := ran(), TOKENS)
    assert {group.name for group in gates.plan} == {"attention.q", "o", "up"}
    with torch.no_grad():
        gates["attention.q"][::2] = -9.0
    small = lzero.purge(model, settle=False).model.eval()
    again = lzero.load_purged(ran(), small.state_dict()).eval()
    assert torch.equal(small(TOKENS), again(TOKENS)) and type(again.attention) is Full and again.attention.inner == 12


class Auxiliary(nn.Module):
    """A head that train mode alone reads, and that needs larger images than eval mode."""

    def __init__(self, *, head: bool = True) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 5, 1), nn.Linear(5, 2)
        self.aux = nn.Conv2d(6, 2, 8) if head else None

    def forward(self, x: Tensor) -> Any:
        h = self.a(x).relu()
        y = self.out(self.b(h).relu().mean((2, 3)))
        return (y, self.aux(h)) if self.training and self.aux is not None else y


def test_train_mode_that_does_not_run_on_the_example_is_told_of() -> None:
    small, large = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 9, 9)
    with pytest.warns(lzero.LzeroWarning, match="aux: not used in eval mode, and train mode does not run"):
        plan = lzero.discover(Auxiliary(), small)
    (refusal,) = [refusal for refusal in plan.refusals if refusal.name == "aux"]
    assert "does not run on them (aux: RuntimeError" in refusal.reason and "train mode runs on" in refusal.advice
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sound = lzero.discover(Auxiliary(), large)
        assert not any("does not run" in r.reason for r in lzero.discover(Auxiliary(head=False), small).refusals)
    assert [group.name for group in sound] == ["b"]  # the head reads a, and train mode says so
    model = Auxiliary()
    shrink(model, sound.groups, {"b": torch.tensor([True, False, True, False, True])})
    model.train()(large)


class Deep(nn.Module):
    """Every stage has a head; train mode reads all of them, eval mode the last."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList([nn.Linear(5, 8), nn.Linear(8, 7), nn.Linear(7, 6)])
        self.heads = nn.ModuleList([nn.Linear(8, 2), nn.Linear(7, 2), nn.Linear(6, 2)])

    def forward(self, x: Tensor) -> Any:
        said = []
        for stage, head in zip(self.stages, self.heads, strict=True):
            x = stage(x).relu()
            said.append(head(x) if self.training or stage is self.stages[-1] else None)
        return said if self.training else said[-1]


class Bare(nn.Module):
    """Train mode alone reads a parameter that is in no module of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(5, 8), nn.Linear(8, 6), nn.Linear(6, 2)
        self.centres = nn.Parameter(torch.randn(8, 3))

    def forward(self, x: Tensor) -> Any:
        h = self.a(x).relu()
        y = self.out(self.b(h).relu())
        return (y, h @ self.centres) if self.training else y


@pytest.mark.parametrize(("build", "kept"), [(Deep, "stages.2"), (Bare, "b")])
def test_what_train_mode_alone_reads_keeps_its_units(build: Any, kept: str) -> None:
    model, x = build(), torch.randn(3, 5)
    plan = lzero.discover(model, x)
    assert [group.name for group in plan] == [kept]
    assert all(
        "in train mode the purged model fails" in r.reason
        for r in plan.refusals
        if r.size in (7, 8) and "used" not in r.reason
    )
    gates = lzero.attach_gates(model, plan)
    with torch.no_grad():
        gates.log_alpha[::2] = -9.0
    small = lzero.purge(model, settle=False).model
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in build().parameters())
    for one, two in zip(small.train()(x), model.train()(x), strict=True):
        assert one.shape == two.shape


class Island(nn.Module):
    """Scores in float32, whatever the dtype of the model."""

    def __init__(self, heads: int = 16, *, wrong: bool = False) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(64, heads * 16) for _ in range(3))
        self.o, self.wrong = nn.Linear(heads * 16, 64), wrong

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        q, k, v = (layer(x).view(b, t, -1, 16).transpose(1, 2) for layer in (self.q, self.k, self.v))
        scores = q.float() @ k.float().transpose(-1, -2)
        if self.wrong:  # a part in ten million of the scores of all heads: far below what float32 resolves
            scores = scores + 1e-7 * scores.mean(1, keepdim=True)
        y = scores.softmax(-1).to(v.dtype) @ v
        return self.o(y.transpose(1, 2).reshape(b, t, -1))


@pytest.mark.parametrize("length", [7, 13])
def test_islands_of_float32_cost_no_heads_and_hide_no_fault(length: int) -> None:
    x = torch.randn(2, length, 8)
    for wrong, expected in ((False, [16]), (True, [])):
        model = nn.Sequential(nn.Linear(8, 64), nn.LayerNorm(64), Island(wrong=wrong))
        assert [group.size for group in lzero.discover(model, x) if group.size == 16] == expected
