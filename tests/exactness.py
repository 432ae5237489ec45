"""What the structure tests share: a check of a plan against truth that does not use the library's own proof."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lzero.discover import discover
from lzero.host.inputs import ExampleInputs
from lzero.plan.plan import Plan
from lzero.surgery.fills import fill_closed
from lzero.surgery.shrink import scale_consumers, shrink

AssertExact = Callable[..., Plan]


def _snapshot(model: nn.Module) -> tuple[Any, ...]:
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), len(m._buffers)) for m in model.modules()]
    grads = [(p.requires_grad, p.grad is None) for p in model.parameters()]
    return [m.training for m in model.modules()], hooks, grads, sorted(vars(model))


def _redrawn(model: nn.Module, seed: int) -> nn.Module:
    """A float64 copy in eval mode whose every parameter and statistic is random."""
    generator = torch.Generator().manual_seed(seed)
    drawn = copy.deepcopy(model).double().eval()
    with torch.no_grad():
        for tensor in (*drawn.parameters(), *drawn.buffers()):
            if tensor.is_floating_point():
                fan = max(1, tensor.numel() // max(1, tensor.shape[0])) if tensor.dim() > 1 else 4
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * (1.5 / fan) ** 0.5)
        for name, buffer in drawn.named_buffers():
            if name.endswith("running_var"):
                buffer.abs_().add_(0.2)
    return drawn


def _check(model: nn.Module, inputs: Any, groups: list[Any], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    gated = _redrawn(model, seed)
    values: dict[str, Tensor] = {}
    for group in groups:
        z = torch.rand(group.size, generator=generator, dtype=torch.float64) + 0.05
        closed = torch.rand(group.size, generator=generator) < torch.rand((), generator=generator)
        closed[torch.randint(group.size, (), generator=generator)] = False
        values[group.name] = z.masked_fill(closed, 0.0)
    scale_consumers(gated, groups, values)
    fill_closed(gated, groups, values)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        expected = ExampleInputs(inputs).call(copy.deepcopy(gated))  # a forward may leave something behind for the next
        shrink(gated, groups, {name: z > 0 for name, z in values.items()})
        torch.manual_seed(seed)
        found = ExampleInputs(inputs).call(gated)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.fixture
def assert_exact() -> AssertExact:
    """``assert_exact(model, inputs, **options)``: the plan of ``model``, after checking every claim that it makes.

    The groups are closed at random one by one and all together, on fresh weights, and the purged model must give what
    the gated one gives; the user's model and the random state must be untouched.
    """

    def check(model: nn.Module, inputs: Any, **options: Any) -> Plan:
        state, snapshot = copy.deepcopy(model.state_dict()), _snapshot(model)
        random_state = torch.get_rng_state()
        plan = discover(model, inputs, **options)
        assert torch.equal(random_state, torch.get_rng_state())
        assert _snapshot(model) == snapshot
        assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
        doubled = torch.utils._pytree.tree_map(
            lambda t: t.double() if isinstance(t, Tensor) and t.is_floating_point() else t, inputs
        )
        for seed in range(4):
            _check(model, doubled, list(plan.groups), seed)
        for seed, group in enumerate(plan.groups):
            _check(model, doubled, [group], seed)
        return plan

    return check


def largest_difference(one: Sequence[Tensor], two: Sequence[Tensor]) -> tuple[float, float]:
    """Largest absolute difference of two lists of outputs, and the largest finite value of what differs.

    Of tensors that are equal all values count. Infinite where the lists do not match; infinities that stand at the same
    place in both are equal.
    """
    if [t.shape for t in one] != [t.shape for t in two]:
        return math.inf, 0.0
    difference = scale = 0.0
    for a, b in zip(one, two, strict=True):
        if a.numel():
            a, b = a.detach().double(), b.detach().double()
            gap = float(torch.where(a == b, 0.0, (a - b).abs()).max())
            difference = max(difference, math.inf if math.isnan(gap) else gap)
            counts = a.isfinite() & ((a != b) | torch.equal(a, b))
            scale = max(scale, float(torch.where(counts, a.abs(), 0.0).max()))
    return difference, scale
