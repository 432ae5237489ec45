"""Forwards that branch in Python on a size: the rarest one must be found, and harmless questions must cost nothing."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from traps import IMAGE, SEQUENCE, Net, X, conv, mlp

from lzero import attach_gates, purge
from lzero.discover import discover
from lzero.errors import StructureError
from lzero.plan.plan import Plan
from lzero.tracing import guards, size_mode

AssertExact = Callable[..., Plan]

WIDE = 96  # rarely would a random closure leave one chosen number of units


def two(forward: Callable[..., Any], made: int = WIDE, **held: Any) -> Net:
    """Two layers ``a`` and ``c`` on the same inputs, read by ``b`` and ``d``."""
    parts = {"a": nn.Linear(5, made), "c": nn.Linear(5, made), "b": nn.Linear(made, 2), "d": nn.Linear(made, 2)}
    return Net(lambda net, x: forward(net, net.a(x), net.c(x)), held, **parts)


def guarded(net: Any, h: Tensor) -> Tensor:
    """A view that fails on the size that it was built with, and a way out."""
    try:
        return h.view(-1, 7, 11).flatten(1) * 2
    except RuntimeError:
        return h


def caught_later(net: Any, h: Tensor) -> Tensor:
    """A view that works as built and fails once a unit has left."""
    try:
        return h.view(3, 96)
    except RuntimeError:
        return -h


def checked(net: Any, h: Tensor) -> Tensor:
    assert h.shape[1] == WIDE, "unexpected width"
    return h


def strictly_checked(net: Any, h: Tensor) -> Tensor:
    if h.size(1) != net.a.out_features:
        raise ValueError("unexpected width")
    return h


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor) -> Tensor:
        return h if h.shape[1] != 7 else -h


def rare(condition: Callable[..., Any]) -> Callable[[], tuple[nn.Module, Any]]:
    """``h`` where the condition (of net and h) does not hold, ``-h`` where it does."""
    return lambda: (mlp(lambda net, h: -h if condition(net, h) else h, WIDE, WIDE, size=40), X)


# In each some closures would take another way than the whole model, and only one in many does.
REFUSED: dict[str, Callable[[], tuple[nn.Module, Any]]] = {
    "a magic number": rare(lambda net, h: h.shape[1] == 7),
    "a magic number by size()": rare(lambda net, h: h.size(-1) == 7),
    "a magic number by size(dim=)": rare(lambda net, h: h.size(dim=1) == 7),
    "a magic number of elements": rare(lambda net, h: h.numel() == 21),
    "a magic shape": rare(lambda net, h: tuple(h.shape) == (3, 7)),
    "a magic size of a part of the shape": rare(lambda net, h: h.shape[1:] == torch.Size([7])),
    "a magic number among several": rare(lambda net, h: h.shape[1] in (5, 7)),
    "a magic number as a key": rare(lambda net, h: {7: True}.get(h.shape[1], False)),
    "a magic number as a text": rare(lambda net, h: {"7": True}.get(f"{h.shape[1]}", False)),
    "a magic number by len": rare(lambda net, h: len(h.T) == 7),
    "a magic number by len of the weight": rare(lambda net, h: len(net.a.weight) == 7),
    "a magic number through NumPy": rare(lambda net, h: h.detach().numpy().shape[1] == 7),
    "a magic number through a list": rare(lambda net, h: len(h.tolist()[0]) == 7),
    "a magic number through .data": rare(lambda net, h: h.data.shape[1] == 7),
    "a magic number of a transposed view": rare(lambda net, h: h.T.contiguous().shape[0] == 7),
    "a magic number of ones": rare(lambda net, h: torch.arange(h.shape[1]).shape[0] == 7),
    "a magic number of constants": rare(lambda net, h: torch.ones(h.shape[1]).shape[0] == 7),
    "a magic number of new constants": rare(lambda net, h: h.new_zeros((2, h.shape[1])).shape[1] == 7),
    "a magic number in a triangle": rare(lambda net, h: torch.ones(h.shape[1], h.shape[1]).tril().shape[0] == 7),
    "a magic number of places": rare(lambda net, h: len((h == h).nonzero()) == 21),
    "a magic number after an op without a rule": rare(lambda net, h: torch.fft.rfft(h).shape[1] == 4),
    "a magic number after interpolation": rare(lambda net, h: F.interpolate(h[None], 14).shape[1] == 7),
    "a magic number of a larger tensor": rare(lambda net, h: F.interpolate(h[:, None], scale_factor=2).shape[2] == 14),
    "a magic number in a tensor": rare(lambda net, h: bool(torch.tensor(h.shape)[1] == 7)),
    "a magic number in an entry": rare(lambda net, h: torch.eye(8)[min(h.shape[1], 7), 7].item() == 1),
    "a magic number of parameters": rare(lambda net, h: sum(p.numel() for p in net.parameters()) == 58),
    "a magic number of pairs": rare(lambda net, h: torch.einsum("ab,ac->abc", h, h).shape[2] == 7),
    "a magic broadcast": rare(lambda net, h: torch.broadcast_shapes(h.shape, (1, 1))[1] == 7),
    "a magic root": rare(lambda net, h: math.sqrt(h.shape[1]) == 7),
    "a magic share": rare(lambda net, h: h.shape[1] / 7 == 1),
    "a magic int": rare(lambda net, h: int(h.shape[1]) == 7),
    "a magic length of a list": rare(lambda net, h: len([0] * h.shape[1]) == 7),
    "a power of two": rare(lambda net, h: h.shape[1] & (h.shape[1] - 1) == 0),
    "divisibility": rare(lambda net, h: h.shape[1] % 31 == 30),
    "a number of blocks": rare(lambda net, h: h.shape[1] // 8 == 1),
    "a threshold": rare(lambda net, h: h.shape[1] < 2),
    "the smaller of two": rare(lambda net, h: min(h.shape[1], 2) == 1),
    "the attribute of a layer": rare(lambda net, h: net.a.out_features == 7),
    "the attribute of the layer that reads": rare(lambda net, h: net.b.in_features == 7),
    "the shape of a weight": rare(lambda net, h: net.b.weight.shape[1] == 7),
    "the shape of a bias": rare(lambda net, h: net.a.bias.numel() == 7),
    "an attribute that stays": rare(lambda net, h: h.shape[1] == net.size),
    "a comparison in an autograd function": lambda: (mlp(lambda net, h: Doubled.apply(h), WIDE, WIDE), X),
    "an assertion": lambda: (mlp(checked, WIDE, WIDE), X),
    "a view that fails on most sizes": lambda: (mlp(guarded, WIDE, WIDE), X),
    "a view that fails later": lambda: (mlp(caught_later, WIDE, WIDE), X),
    "a scale by the root of the size": lambda: (mlp(lambda net, h: h / h.shape[1] ** 0.5, WIDE, WIDE), X),
    "a scale by the number of blocks": lambda: (mlp(lambda net, h: h * (1 + h.shape[1] // 90), WIDE, WIDE), X),
    "a scale by the smaller of two": lambda: (mlp(lambda net, h: h * min(h.shape[1], 3), WIDE, WIDE), X),
    "the number of channels": lambda: (
        conv(lambda net, h: h if net.a.out_channels > 3 else -h, WIDE, WIDE), IMAGE
    ),
    "the number of groups": lambda: (
        Net(lambda net, x: net.b(net.c(net.a(x)) * (1 if net.c.groups > 2 else -1)), a=nn.Conv2d(3, WIDE, 1),
            c=nn.Conv2d(WIDE, WIDE, 3, groups=WIDE), b=nn.Conv2d(WIDE, 2, 1)), IMAGE
    ),
    "a dim that is squeezed once one unit is left": lambda: (
        conv(lambda net, h: F.adaptive_avg_pool2d(h, 1).squeeze()[..., None, None], WIDE, WIDE), IMAGE
    ),
    "a squeezed dim with a name": lambda: (mlp(lambda net, h: h.squeeze(1), WIDE, WIDE), X),
    "a literal width that is expanded to": lambda: (
        mlp(lambda net, h: h.expand(3, 2).contiguous(), 2, 2), X
    ),
    "a constant that one unit would be spread over": lambda: (mlp(lambda net, h: h * torch.ones(2).to(h), 2, 2), X),
    "a literal size as in einops": lambda: (
        mlp(lambda net, h: h.reshape(3, 8, 12).transpose(1, 2).reshape(3, 96), WIDE, WIDE), X
    ),
}  # fmt: skip

# Each asks about sizes, and all answers are the same whatever is closed.
ACCEPTED: dict[str, tuple[Callable[[], tuple[nn.Module, Any]], dict[str, int]]] = {
    "the attribute that follows": (lambda: (mlp(strictly_checked), X), {"a": 12}),
    "not empty": (rare(lambda net, h: h.shape[1] == 0 or not h.numel()), {"a": WIDE}),
    "no more than it was": (rare(lambda net, h: h.shape[1] > WIDE), {"a": WIDE}),
    "the size of the batch": (rare(lambda net, h: h.shape[0] == 7 or len(h) == 8), {"a": WIDE}),
    "its own shape": (lambda: (mlp(lambda net, h: h if h.shape == h.relu().shape else -h), X), {"a": 12}),
    "halves are even": (
        lambda: (mlp(lambda net, h: h[:, : h.shape[1] // 2] * h[:, h.shape[1] // 2 :] * (1 - h.shape[1] % 2), 12, 6),
                 X), {"a": 6},
    ),
    "the number of dims": (rare(lambda net, h: h.dim() == 3 or h.ndim == 4 or len(h.shape) == 5), {"a": WIDE}),
    "a flattening by the product": (
        lambda: (conv(lambda net, h: h.view(len(h), math.prod(h.shape[1:])).view(h.shape)), IMAGE), {"a": 12}
    ),
    "equal because tied": (
        lambda: (two(lambda net, h, g: net.b(h + g) if h.shape == g.shape else net.d(h)), X), {"a": WIDE}
    ),
    "heads as a module keeps them": (
        lambda: (_Heads(), SEQUENCE), {"v": 4}
    ),
}  # fmt: skip


class _Heads(nn.Module):
    """Sizes checked as careful code does."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.v, self.out = 4, nn.Linear(8, 12), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.v(x).view(*x.shape[:2], self.num_heads, 3)
        if h.size() != (*x.shape[:2], self.num_heads, 3):
            raise ValueError("unexpected shape")
        return self.out(h.flatten(2))


@pytest.mark.parametrize("name", REFUSED)
def test_a_rare_way_is_found(name: str, assert_exact: AssertExact) -> None:
    model, inputs = REFUSED[name]()
    plan = assert_exact(model, inputs)
    assert not plan.groups, str(plan)
    assert any("a.weight" in refusal.tensors and refusal.reason for refusal in plan.refusals), str(plan)


@pytest.mark.parametrize("name", ACCEPTED)
def test_harmless_questions_cost_nothing(name: str, assert_exact: AssertExact) -> None:
    build, expected = ACCEPTED[name]
    plan = assert_exact(*build())
    assert {group.name: group.size for group in plan.groups} == expected, str(plan)


@pytest.mark.parametrize(
    "condition",
    [lambda h, g: h.shape == g.shape, lambda h, g: h.shape[1] > g.shape[1], lambda h, g: h.shape[1] + g.shape[1] == 99],
)
def test_two_layers_compared(condition: Callable[[Tensor, Tensor], bool], assert_exact: AssertExact) -> None:
    model = two(lambda net, h, g: net.b(h) + net.d(g) * (2 if condition(h, g) else 1))
    plan = assert_exact(model, X)
    assert not plan.groups
    assert {refusal.name for refusal in plan.refusals if "compares" in refusal.reason} == {"a", "c"}


def test_the_reason_names_line_module_and_way_out() -> None:
    plan = discover(nn.Sequential(mlp(checked, WIDE, WIDE), nn.ReLU()), X)
    (found,) = (refusal for refusal in plan.refusals if refusal.name == "0.a")
    assert found.reason.startswith("the forward compares its size with 96 (test_size_branches.py:")
    assert found.reason.endswith(" in 0)") and "ignore=" in found.advice


def test_what_c_code_reads_without_a_word_is_caught_by_the_purge() -> None:
    table = [0] * (WIDE + 1)
    table[7] = 1
    model = mlp(lambda net, h: -h if table[h.shape[1]] else h, WIDE, WIDE).double()
    gates = attach_gates(model, X.double())
    with torch.no_grad():
        gates.log_alpha.fill_(-9.0)[:7] = 3.0
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(StructureError, match="purged and gated outputs differ by"):
        purge(model, settle=False)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_numbers_of_modules_stay_plain() -> None:
    model = mlp(strictly_checked, size=40)
    discover(model, X)
    assert type(model.size) is int and type(model.a.out_features) is int  # type: ignore[union-attr]


@pytest.mark.parametrize("case", ["a magic number", "a magic number by size()", "a magic number as a key"])
@pytest.mark.parametrize("forgotten", ["nothing", "the mode", "all"])
def test_a_question_is_asked_whatever_the_watcher_fails_to_pass_over(monkeypatch, case, forgotten):
    known = guards._MACHINERY
    assert size_mode.__name__ in known
    left = {"nothing": known, "the mode": known - {size_mode.__name__}, "all": set()}[forgotten]
    monkeypatch.setattr(guards, "_MACHINERY", left)
    model, inputs = REFUSED[case]()
    assert not discover(model, inputs).groups
