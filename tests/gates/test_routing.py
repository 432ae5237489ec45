"""Gates on the logits of experts: against the softmax that they make, its derivative, and the purged choice."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import _len_torch_function_stack

from lzero.errors import StructureError
from lzero.gates.gates import Gates
from lzero.gates.routing import ExpertsFixed, ExpertsNow, Routing, log_gates
from lzero.plan.group import GateGroup
from lzero.plan.plan import Plan
from lzero.plan.router import Router

DOUBLE = torch.float64
ROUTER = Router("", "weight")


class Choice(nn.Module):
    """Weights of its experts, by a product of its own."""

    def __init__(self, product: Any = F.linear, fails: bool = False) -> None:
        super().__init__()
        self.weight, self.product, self.fails = nn.Parameter(torch.randn(4, 3, dtype=DOUBLE)), product, fails

    def forward(self, x: Tensor) -> Tensor:
        if self.fails:
            raise ValueError("no")
        return self.product(x, self.weight).softmax(-1)


def gated(module: nn.Module, z: Any) -> nn.Module:
    Routing(ROUTER, (4, 3), 4, z).attach(module)
    return module


def test_a_softmax_weighs_by_the_gates() -> None:
    z = torch.tensor([1.0, 0.0, 0.25, 0.5], dtype=DOUBLE, requires_grad=True)
    module, x = gated(Choice(), lambda: z), torch.randn(5, 3, dtype=DOUBLE)
    found = module(x)
    e = z * F.linear(x, module.weight).exp()  # type: ignore[arg-type]
    torch.testing.assert_close(found, e / e.sum(-1, keepdim=True))
    direction = torch.randn_like(found)
    (slope,) = torch.autograd.grad((found * direction).sum(), z, retain_graph=True)
    (expected,) = torch.autograd.grad((e / e.sum(-1, keepdim=True) * direction).sum(), z)
    torch.testing.assert_close(slope[[0, 2, 3]], expected[[0, 2, 3]])
    assert slope[1] == 0  # it is closed: a finite slope, and none


@pytest.mark.parametrize(
    "product",
    [
        lambda x, w: F.linear(x, w),
        lambda x, w: F.linear(input=x, weight=w),
        lambda x, w: x @ w.t(),
        lambda x, w: torch.matmul(x, w.T),
        lambda x, w: x.mm(w.t()),
        lambda x, w: torch.einsum("nh,eh->ne", x, w),
        lambda x, w: torch.addmm(x.new_ones(4), x, w.t()),
    ],
)
def test_closed_experts_are_left_out_of_every_product(product: Any) -> None:
    module, x = Choice(product), torch.randn(5, 3, dtype=DOUBLE)
    keep = torch.tensor([True, False, True, False])
    small = copy.deepcopy(module)
    small.weight = nn.Parameter(module.weight[keep].detach())
    if "new_ones" not in str(product.__code__.co_names):
        torch.testing.assert_close(gated(copy.deepcopy(module), ExpertsFixed(keep.double()))(x)[:, keep], small(x))
    assert torch.equal(gated(module, ExpertsFixed(keep.double()))(x)[:, ~keep], x.new_zeros(5, 2))


def test_a_linear_needs_no_watching() -> None:
    linear, x = nn.Linear(3, 4), torch.randn(5, 3)
    plain = linear(x)
    gated(linear, ExpertsFixed(torch.tensor([1.0, 0.0, 0.3, 0.0])))
    assert linear(x)[:, [0, 2]].equal(plain[:, [0, 2]]) and linear(x)[:, [1, 3]].equal(torch.full((5, 2), -torch.inf))
    assert not linear._forward_pre_hooks


def test_a_forward_without_the_product_is_an_error() -> None:
    module = gated(Choice(lambda x, w: x * 1.0), ExpertsFixed(torch.ones(4)))
    with pytest.raises(StructureError, match="ran without a product with weight"):
        module(torch.randn(5, 3, dtype=DOUBLE))
    assert _len_torch_function_stack() == 0


def test_a_forward_that_fails_leaves_no_mode_behind() -> None:
    module = gated(Choice(fails=True), ExpertsFixed(torch.ones(4)))
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            module(torch.randn(5, 3, dtype=DOUBLE))
    assert _len_torch_function_stack() == 0


def test_log_gates_are_finite_where_open() -> None:
    z = torch.tensor([1.0, 1e-30, 0.0], requires_grad=True)
    made = log_gates(z)
    assert made[0] == 0 and float(made[1].detach()) == pytest.approx(-69.08, abs=0.01) and made[2] == -torch.inf
    made[:2].sum().backward()
    assert z.grad is not None and bool(z.grad.isfinite().all()) and z.grad[2] == 0


def experts(size: int = 3) -> Gates:
    group = GateGroup("gate", size, "expert", (), router=ROUTER)
    return Gates(Plan((group, GateGroup("other", 2, "unit", ())), (), {}, {}))


def test_where_all_are_closed_the_likeliest_is_open() -> None:
    gates = experts()
    with torch.no_grad():
        gates["gate"].copy_(torch.tensor([-2.0, -1.0, -3.0]))
    now = ExpertsNow(gates, "gate")
    with gates.fixed(torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0])):
        assert now().tolist() == [0.0, 1.0, 0.0]
    with gates.fixed(torch.tensor([0.0, 0.0, 0.7, 1.0, 1.0])):
        assert now().tolist() == [0.0, 0.0, 1.0]


def test_drawn_gates_are_smooth_and_deployed_ones_are_0_or_1() -> None:
    gates, seen = experts(), set()
    now = ExpertsNow(gates, "gate")
    for _ in range(20):
        gates.draw()
        z = now()
        assert torch.equal(z, gates.current().z[:3]) or bool((gates.current().z[:3] == 0).all())
        seen |= {0 < value < 1 for value in z.tolist()}
    assert True in seen
    z.sum().backward()
    assert gates.log_alpha.grad is not None
    gates.eval()
    assert set(now().tolist()) <= {0.0, 1.0}
