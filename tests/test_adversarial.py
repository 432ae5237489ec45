"""Models built to be misread: whatever is accepted must be exact, and what cannot be exact must be refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from traps import IMAGE, SEQUENCE, Net, X, conv, mlp

from lzero.plan.plan import Plan

AssertExact = Callable[..., Plan]


def standardised(net: Any, h: Tensor) -> Tensor:
    """Weight standardisation of the layer that reads."""
    w = net.b.weight
    return F.linear(h, (w - w.mean(1, keepdim=True)) / w.std(1, keepdim=True)) @ torch.ones(2, 12).to(h)


def running(net: Any, h: Tensor) -> Tensor:
    """Every unit adds to a total that the next one reads."""
    total, out = h[:, 0] * 0, []
    for unit in h.unbind(1):
        total = total + unit
        out.append(total)
    return torch.stack(out, 1)


def written_in_place(net: Any, h: Tensor) -> Tensor:
    out = torch.zeros_like(h)
    out[:, 1:] = h[:, :-1]
    return out


def masked(logits: Tensor) -> Tensor:
    return logits.masked_fill(torch.tensor([False, False, True, False]), torch.finfo(logits.dtype).min)


def steps(y: Tensor, count: int) -> Tensor:
    for _ in range(count):
        y = y * 0.99
    return y


def remembering(net: Any, x: Tensor) -> Tensor:
    y = net.b(net.a(x) + net.last.to(x))
    net.last = net.a(x).detach().softmax(1)
    return y


def remembering_mean(net: Any, x: Tensor) -> Tensor:
    y = net.b(net.a(x)) * net.last
    net.last = net.a(x).detach().mean() + 1.0
    return y


def with_auxiliary(net: Any, x: Tensor) -> Any:
    h = net.a(x).relu()
    return (net.b(h), net.aux(h)) if net.training else net.b(h)


def half_overwritten(net: Any, h: Tensor) -> Tensor:
    h = h.clone()
    h[:, : h.shape[1] // 2].mul_(2.0)
    return h


def by_size(net: Any, h: Tensor) -> Tensor:
    return h if h.shape[1] % 2 == 0 else -h


# Each makes the units of ``a`` impossible to gate one by one: none of them may be accepted.
REFUSED: dict[str, Callable[[], tuple[nn.Module, Any]]] = {
    "softmax over units": lambda: (mlp(lambda net, h: h.softmax(1)), X),
    "log-sum-exp beside units": lambda: (mlp(lambda net, h: h - h.logsumexp(1, keepdim=True)), X),
    "mean over units": lambda: (mlp(lambda net, h: h - h.mean(1, keepdim=True)), X),
    "standard deviation over units": lambda: (mlp(lambda net, h: h / h.std(1, keepdim=True)), X),
    "maximum over units": lambda: (mlp(lambda net, h: h * h.amax(1, keepdim=True).sigmoid()), X),
    "median over units": lambda: (mlp(lambda net, h: h - h.median(1, keepdim=True).values), X),
    "roll": lambda: (mlp(lambda net, h: h + h.roll(1, 1)), X),
    "shift by one": lambda: (mlp(lambda net, h: h + F.pad(h[:, :-1], (1, 0))), X),
    "shift written in place": lambda: (mlp(written_in_place), X),
    "flip and add": lambda: (mlp(lambda net, h: h[:, :6] + h.flip(1)[:, :6], 12, 6), X),
    "first half by number": lambda: (mlp(lambda net, h: h[:, :6], 12, 6), X),
    "halves cut by number": lambda: (mlp(lambda net, h: h[:, :6] * h[:, 6:], 12, 6), X),
    "a part cut by an odd share of the size": lambda: (mlp(lambda net, h: h[:, : h.shape[1] * 5 // 12], 12, 5), X),
    "every fifth": lambda: (mlp(lambda net, h: h[:, ::5], 12, 3), X),
    "every second from the third on": lambda: (mlp(lambda net, h: h[:, 2::2], 12, 5), X),
    "first unit read as a scalar": lambda: (mlp(lambda net, h: h * h[:, 0:1]), X),
    "last unit added to all": lambda: (mlp(lambda net, h: h + h[:, -1:]), X),
    "division by the root of the size": lambda: (mlp(lambda net, h: h / math.sqrt(h.shape[1])), X),
    "division by the number of elements": lambda: (mlp(lambda net, h: h / h.numel()), X),
    "sum divided by the size": lambda: (mlp(lambda net, h: h + h.sum(1, keepdim=True) / h.shape[1]), X),
    "maxout": lambda: (mlp(lambda net, h: h.view(-1, 6, 2).amax(2), 12, 6), X),
    "maxout by an attribute": lambda: (mlp(lambda net, h: h.view(-1, net.size, 2).amax(1), 12, 2, size=6), X),
    "branch on a value": lambda: (mlp(lambda net, h: h if h.sum() > 0 else -h), X),
    "branch on one unit": lambda: (mlp(lambda net, h: h if h[0, 0].item() > 0 else -h), X),
    "branch on the size": lambda: (mlp(by_size), X),
    "branch on a literal size": lambda: (mlp(lambda net, h: h if h.shape[1] == 12 else h * 2), X),
    "gram matrix": lambda: (mlp(lambda net, h: h @ (h.T @ h)), X),
    "gram matrix of an image": lambda: (
        conv(lambda net, h: (torch.einsum("bchw,bdhw->bcd", h, h) @ h.flatten(2)).view(h.shape)), IMAGE
    ),
    "cosine similarity": lambda: (mlp(lambda net, h: h * F.cosine_similarity(h, h * h, 1)[:, None]), X),
    "unit length": lambda: (mlp(lambda net, h: F.normalize(h, dim=1)), X),
    "layer norm without weights": lambda: (mlp(lambda net, h: F.layer_norm(h, h.shape[1:])), X),
    "rms norm by hand": lambda: (mlp(lambda net, h: h * h.pow(2).mean(1, keepdim=True).rsqrt()), X),
    "group norm": lambda: (conv(lambda net, h: F.group_norm(h, 3)), IMAGE),
    "local response norm": lambda: (conv(lambda net, h: F.local_response_norm(h, 3)), IMAGE),
    "pooling over channels": lambda: (mlp(lambda net, h: F.avg_pool1d(h[:, None], 3, 1, 1)[:, 0]), X),
    "convolution over channels": lambda: (
        Net(lambda net, x: net.b(net.c(net.a(x)[:, None])[:, 0]), a=nn.Linear(5, 12), b=nn.Linear(12, 2),
            c=nn.Conv1d(1, 1, 3, padding=1)), X
    ),
    "running total": lambda: (mlp(running), X),
    "cumulative sum": lambda: (mlp(lambda net, h: h.cumsum(1)), X),
    "sorted": lambda: (mlp(lambda net, h: h.sort(1).values), X),
    "strongest three": lambda: (mlp(lambda net, h: h.topk(3, 1).values, 12, 3), X),
    "hard attention over units": lambda: (mlp(lambda net, h: h * F.one_hot(h.argmax(1), 12)), X),
    "numbers of the units": lambda: (mlp(lambda net, h: h * torch.arange(1.0, h.shape[1] + 1).to(h)), X),
    "a ramp over the units": lambda: (mlp(lambda net, h: h * torch.linspace(0, 1, h.shape[1]).to(h)), X),
    "a count of ones": lambda: (mlp(lambda net, h: h * torch.ones(h.shape[1]).to(h).cumsum(0)), X),
    "a triangle of ones": lambda: (mlp(lambda net, h: h @ torch.ones(h.shape[1], h.shape[1]).to(h).triu()), X),
    "a literal list": lambda: (mlp(lambda net, h: h[:, [3, 1, 2, 0]], 12, 4), X),
    "a buffer of indices": lambda: (mlp(lambda net, h: h[:, net.order], order=torch.randperm(12)), X),
    "gather": lambda: (mlp(lambda net, h: h.gather(1, (h.argsort(1) + 1) % 12)), X),
    "random numbers of its size": lambda: (mlp(lambda net, h: h * torch.rand(h.shape[1]).to(h)), X),
    "random numbers in place": lambda: (mlp(lambda net, h: h * torch.empty(h.shape[1]).uniform_().to(h)), X),
    "numbers through NumPy": lambda: (
        mlp(lambda net, h: h * torch.from_numpy(h.detach().cpu().numpy().mean(1, keepdims=True)).to(h)), X
    ),
    "numbers through a list": lambda: (mlp(lambda net, h: h + torch.tensor(h.tolist()).to(h).sum(1, keepdim=True)), X),
    "weight standardisation": lambda: (mlp(standardised), X),
    "a reader that is normalised": lambda: (
        Net(lambda net, x: F.linear(net.a(x), F.normalize(net.b.weight, dim=1)), a=nn.Linear(5, 12),
            b=nn.Linear(12, 2)), X
    ),
    "a reader multiplied by another layer": lambda: (
        Net(lambda net, x: F.linear(net.a(x), net.b.weight @ net.c.weight), a=nn.Linear(5, 12), b=nn.Linear(7, 2),
            c=nn.Linear(12, 7)), X
    ),
    "a bilinear form": lambda: (
        Net(lambda net, x: net.b(net.a(x), net.a(x)), a=nn.Linear(5, 12), b=nn.Bilinear(12, 12, 2)), X
    ),
    "pairwise distances": lambda: (mlp(lambda net, h: torch.cdist(h, h), 12, 3), X),
    "literal view": lambda: (
        Net(lambda net, x: net.b(net.a(x).view(-1, 432)), a=nn.Conv2d(3, 12, 1), b=nn.Linear(432, 2)), IMAGE
    ),
    "view into a literal square": lambda: (mlp(lambda net, h: h.view(-1, 3, 4).transpose(1, 2).flatten(1)), X),
    "unequal parts swapped": lambda: (mlp(lambda net, h: torch.cat(h.split([3, 9], 1)[::-1], 1)), X),
    "a channel shuffle with a literal width": lambda: (
        conv(lambda net, h: h.view(-1, 3, 4, 6, 6).transpose(1, 2).reshape(-1, 12, 6, 6)), IMAGE
    ),
    "two outputs, one of them hidden": lambda: (
        Net(lambda net, x: (net.b(h := net.a(x)), h.sum(1)), a=nn.Linear(5, 12), b=nn.Linear(12, 2)), X
    ),
    "the hidden layer in a dict": lambda: (
        Net(lambda net, x: {"y": net.b(h := net.a(x)), "h": [h]}, a=nn.Linear(5, 12), b=nn.Linear(12, 2)), X
    ),
    "a penalty on the hidden layer": lambda: (
        Net(lambda net, x: (net.b(h := net.a(x)), h.pow(2).mean()), a=nn.Linear(5, 12), b=nn.Linear(12, 2)), X
    ),
    "a checkpointed block that normalises": lambda: (
        Net(lambda net, x: net.b(checkpoint(lambda h: h.softmax(1), net.a(x), use_reentrant=False)),
            a=nn.Linear(5, 12), b=nn.Linear(12, 2)), X
    ),
    "features of queries and keys": lambda: (
        Net(lambda net, x: net.b((net.a(x) @ net.c(x).transpose(1, 2)).softmax(-1)), a=nn.Linear(8, 12),
            c=nn.Linear(8, 12), b=nn.Linear(6, 2)), SEQUENCE
    ),
    "attention over channels": lambda: (
        Net(lambda net, x: net.b((h := net.a(x)) @ (h.transpose(1, 2) @ h).softmax(-1)), a=nn.Linear(8, 12),
            b=nn.Linear(12, 2)), SEQUENCE
    ),
    "matrix inverse": lambda: (
        Net(lambda net, x: net.b(x @ torch.linalg.inv(net.a.weight)), a=nn.Linear(5, 5), b=nn.Linear(5, 2)), X
    ),
    "Fourier transform over units": lambda: (mlp(lambda net, h: torch.fft.rfft(h, dim=1).abs(), 12, 7), X),
    "histogram": lambda: (mlp(lambda net, h: h + torch.histc(h, 4).sum()), X),
    "spectral norm on the reader": lambda: (
        nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.utils.parametrizations.spectral_norm(nn.Linear(12, 2))), X
    ),
    "weight norm on the reader": lambda: (
        nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.utils.parametrizations.weight_norm(nn.Linear(12, 2))), X
    ),
    "a share of the units beside a masked logit": lambda: (
        Net(lambda net, x: masked(net.b((h := net.a(x)) * (2.0 / h.shape[1]))), a=nn.Linear(5, 96),
            b=nn.Linear(96, 4)), X
    ),
    "as many steps as units beside a huge output": lambda: (
        Net(lambda net, x: torch.cat([steps(net.b(h := net.a(x)), h.shape[1]), 1e12 * x], 1), a=nn.Linear(5, 96),
            b=nn.Linear(96, 4)), X
    ),
    "a state over the units that the next call reads": lambda: (
        Net(remembering, {"last": torch.zeros(3, 12)}, a=nn.Linear(5, 12), b=nn.Linear(12, 2)), X
    ),
    "a number over the units that the next call reads": lambda: (
        Net(remembering_mean, {"last": 1.0}, a=nn.Linear(5, 12), b=nn.Linear(12, 2)), X
    ),
    "a penalty that only train mode adds": lambda: (
        Net(lambda net, x: net.b(h := net.a(x)) + (h.pow(2).mean() if net.training else 0), a=nn.Linear(5, 12),
            b=nn.Linear(12, 2)), X
    ),
    "a number of its size in train mode": lambda: (
        mlp(lambda net, h: h * (h.shape[1] ** 0.5 if net.training else 1.0)), X
    ),
    "a head that only train mode runs": lambda: (
        Net(with_auxiliary, a=nn.Linear(5, 12), b=nn.Linear(12, 2), aux=nn.Linear(12, 3)), X
    ),
}  # fmt: skip

# Here units can be gated, but not as a careless reading would: what is accepted is compared with the truth.
ACCEPTED: dict[str, tuple[Callable[[], tuple[nn.Module, Any]], dict[str, int]]] = {
    "a quarter cut by a share of the size": (
        lambda: (mlp(lambda net, h: h[:, : h.shape[1] // 4], 12, 3), X), {"a": 3}
    ),
    "every second times the one after it": (
        lambda: (mlp(lambda net, h: h[:, ::2] * h[:, 1::2], 12, 6), X), {"a": 6}
    ),
    "every third": (lambda: (mlp(lambda net, h: h[:, 1::3], 12, 4), X), {"a": 4}),
    "equal halves are one unit each": (
        lambda: (mlp(lambda net, h: (p := h.chunk(2, 1))[0] * p[1].sigmoid(), 12, 6), X), {"a": 6}
    ),
    "halves that never meet": (
        lambda: (Net(lambda net, x: net.b((p := net.a(x).chunk(2, 1))[0]) + net.c(p[1]), a=nn.Linear(5, 4),
                     b=nn.Linear(2, 3), c=nn.Linear(2, 3)), X), {"a": 2},
    ),
    "reader of zeros": (lambda: (_zero_reader(), X), {"a": 12}),
    "in-place ReLU before an addition": (
        lambda: (mlp(lambda net, h: h.relu_().add_(1.0).mul_(h)), X), {"a": 12}
    ),
    "half of it doubled in place": (lambda: (mlp(half_overwritten), X), {"a": 6}),
    "a constant after the activation": (lambda: (mlp(lambda net, h: h.cos() + 1), X), {"a": 12}),
    "the hidden layer, never used": (
        lambda: (mlp(lambda net, h: (h.softmax(1), h)[1]), X), {"a": 12}
    ),
    "a checkpointed block": (
        lambda: (Net(lambda net, x: net.b(checkpoint(torch.relu, net.a(x), use_reentrant=False)), a=nn.Linear(5, 12),
                     b=nn.Linear(12, 2)), X), {"a": 12},
    ),
    "weight norm on the maker": (
        lambda: (nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 12)), nn.ReLU(), nn.Linear(12, 2)),
                 X), {"0": 12},
    ),
    "one layer reads itself": (
        lambda: (Net(lambda net, x: net.b(net.c(net.c(net.a(x)).relu())), a=nn.Linear(5, 6), c=nn.Linear(6, 6),
                     b=nn.Linear(6, 2)), X), {"a": 6},
    ),
    "a zero state of the hidden size": (
        lambda: (mlp(lambda net, h: torch.maximum(h, h.new_zeros(h.shape))), X), {"a": 12}
    ),
    "an attribute that is the size of heads": (
        lambda: (mlp(lambda net, h: h.view(-1, net.heads, 3).relu().flatten(1), heads=4), X), {"a": 4}
    ),
}  # fmt: skip


def _zero_reader() -> Net:
    net = mlp(lambda net, h: h.relu())
    nn.init.zeros_(net.b.weight)
    return net


@pytest.mark.parametrize("name", REFUSED)
def test_units_that_cannot_be_exact_are_refused_with_a_reason(name: str, assert_exact: AssertExact) -> None:
    model, inputs = REFUSED[name]()
    plan = assert_exact(model, inputs)
    made = {"a.weight", "0.weight"}
    assert not [m for group in plan.groups for m in group.members if m.tensor in made and m.dim == 0], str(plan)
    assert any(made & set(refusal.tensors) and refusal.reason for refusal in plan.refusals), str(plan)


@pytest.mark.parametrize("name", ACCEPTED)
def test_units_are_those_of_the_truth(name: str, assert_exact: AssertExact) -> None:
    build, expected = ACCEPTED[name]
    plan = assert_exact(*build())
    assert {group.name: group.size for group in plan.groups} == expected, str(plan)
