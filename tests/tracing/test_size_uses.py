"""Which numbers of a forward become the length of which dim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from traps import Net

from lzero.host.copies import private_copy
from lzero.tracing.guards import ModuleNumber
from lzero.tracing.tracer import trace

X = torch.randn(3, 12)


def uses(forward: Callable[[Any, Tensor], Any], **held: Any) -> list[tuple[set[str], int]]:
    """The names in each use, and the length of its dim."""
    model = Net(lambda net, x: forward(net, net.a(x)), held, a=nn.Linear(12, 12))
    found = trace(private_copy(model), X).uses
    return [({str(s) for s in use.expr.symbols if isinstance(s, ModuleNumber)}, use.labels.size) for use in found]


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        (lambda net, h: h.view(-1, net.n), [({"self.n"}, 12)]),
        (lambda net, h: h.reshape((3, net.m, net.n // net.m)), [({"self.m"}, 4), ({"self.n", "self.m"}, 3)]),
        (lambda net, h: h.view(3, *net.shape), [({"self.shape[0]"}, 2), ({"self.shape[1]"}, 6)]),
        (lambda net, h: h.unflatten(-1, (net.m, 3)), [({"self.m"}, 4)]),
        (lambda net, h: h[None].expand(2, 3, net.n), [({"self.n"}, 12)]),
        (lambda net, h: h.split(net.m, 1), [({"self.m"}, 4), ({"self.m"}, 4)]),
        (lambda net, h: h.split(net.parts, 1), [({"self.parts[0]"}, 9), ({"self.parts[1]"}, 3)]),
        (lambda net, h: torch.split(h, net.parts, dim=-1), [({"self.parts[0]"}, 9), ({"self.parts[1]"}, 3)]),
        (lambda net, h: h.narrow(1, 0, net.m), [({"self.m"}, 4)]),
        (lambda net, h: h.new_zeros(3, net.n) + h, [({"self.n"}, 12)]),
        (lambda net, h: torch.zeros((3, net.n)) + h, [({"self.n"}, 12)]),
        (lambda net, h: h[:, : net.m], [({"self.m"}, 4)]),
        (lambda net, h: h[..., net.m :], [({"self.m"}, 4), ({"self.m"}, 8)]),
        (lambda net, h: h[..., -net.m :], [({"self.m"}, 8), ({"self.m"}, 4)]),
        (lambda net, h: h[:, : net.big], []),  # clipped: the number is not the length
        (lambda net, h: h[:, :: net.m], []),
        (lambda net, h: h.view(-1, 12), []),
        (lambda net, h: h * 2, []),
    ],
)
def test_uses(forward: Callable[[Any, Tensor], Any], expected: list[tuple[set[str], int]]) -> None:
    assert uses(forward, n=12, m=4, big=50, shape=(2, 6), parts=[9, 3]) == expected


def test_what_the_trace_itself_does_is_no_use() -> None:
    layer = nn.Sequential(nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 2))
    assert not trace(private_copy(layer), torch.randn(2, 5, 12)).uses


def test_slices_at_numbers_are_free_of_each_other_in_a_loose_trace_alone() -> None:
    model = Net(lambda net, x: net.b(net.a(x)[:, : net.m]) + net.c(net.a(x)[:, net.m :]), {"m": 4},
                a=nn.Linear(12, 12), b=nn.Linear(4, 2), c=nn.Linear(8, 2))  # fmt: skip
    for loose, classes in ((False, 4), (True, 12)):
        seen = trace(private_copy(model), X, loose=loose)
        (slot,) = (slot for slot in seen.classes.slots if slot.tensor == "a.bias")
        roots = seen.classes.root[slot.start : slot.start + slot.size]
        assert seen.loosens and len(set(roots.tolist())) == classes


@pytest.mark.parametrize(
    "cut", [lambda net, h: h[:, :4], lambda net, h: h[:, 2 : net.m], lambda net, h: h.chunk(3, 1)[0]]
)
def test_literal_places_are_no_numbers_of_a_module(cut: Callable[[Any, Tensor], Tensor]) -> None:
    assert not trace(private_copy(Net(lambda net, x: cut(net, net.a(x)), {"m": 6}, a=nn.Linear(12, 12))), X).loosens
