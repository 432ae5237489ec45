"""What a forward says of modules that add to what they are called with."""

import pytest
import torch
from torch import nn

from lzero.tracing.block_watch import BlockWatch


class Block(nn.Module):
    def __init__(self, run):
        super().__init__()
        self.a, self.b, self.norm, self.run = nn.Linear(4, 4), nn.Linear(4, 4), nn.LayerNorm(4), run

    def forward(self, x):
        return self.run(self, x)


def watched(run, calls=1):
    """The watch after ``calls`` calls of a block, and its branches."""
    model = nn.Sequential(Block(run))
    watch = BlockWatch(model)
    with torch.no_grad(), watch:
        for _ in range(calls):
            model(torch.randn(2, 4))
    watch.remove()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    return watch, watch.calls["0"].branches if "0" in watch.calls else []


BLOCKS = {
    "one branch": (lambda m, x: x + m.a(x), ["0.a"]),
    "two": (lambda m, x: (y := x + m.a(x)) + m.b(y), ["0.a", "0.b"]),
    "parallel": (lambda m, x: x + m.a(x) + m.b(x), ["0.a", "0.b"]),
    "from the left": (lambda m, x: m.a(x) + x, ["0.a"]),
    "subtracted": (lambda m, x: x - m.a(x), ["0.a"]),
    "normed before": (lambda m, x: x + m.a(m.norm(x)), ["0.a"]),
    "normed after": (lambda m, x: x + m.norm(m.a(x)), ["0.a"]),
    "normed sum": (lambda m, x: m.norm(x + m.a(x)), ["0.a"]),
    "no module": (lambda m, x: x + x.tanh() * m.a.weight.sum(), []),
    "chained": (lambda m, x: x + m.b(m.a(x)), []),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_what_adds_is_a_block_with_the_branches_that_it_adds(name):
    run, branches = BLOCKS[name]
    watch, found = watched(run)
    assert watch.adds("0") and watch.why_not("0") is None and watch.resembles("0")
    assert found == branches and watch.returns["0"] == 0


@pytest.mark.parametrize("run", [lambda m, x: m.a(x), lambda m, x: m.a(x) + m.b(x), lambda m, x: x * m.a(x)])
def test_what_adds_nothing_to_its_input_is_none_and_needs_no_reason(run):
    watch, _ = watched(run)
    assert not watch.adds("0") and not watch.resembles("0") and watch.why_not("0") is None


def in_place(m, x):
    x += m.a(x)
    return x


NO_BLOCKS = {
    "dict": (lambda m, x: {"x": x + m.a(x)}, "neither a tensor nor a tuple"),
    "shape": (lambda m, x: (x + m.a(x))[:, :2], "another shape"),
    "dtype": (lambda m, x: (x + m.a(x)).double(), "another shape or dtype"),
    "in place": (in_place, "writes into the very tensor"),
}


@pytest.mark.parametrize("name", NO_BLOCKS)
def test_what_adds_and_cannot_be_closed_has_a_reason(name):
    run, why = NO_BLOCKS[name]
    model = nn.Sequential(Block(run))
    watch = BlockWatch(model)
    with torch.no_grad(), watch:
        model(torch.randn(2, 4))
    reason = watch.why_not("0")
    assert not watch.adds("0") and watch.resembles("0")
    assert reason is not None and why in reason.text


def test_what_runs_twice_is_none():
    watch, _ = watched(BLOCKS["two"][0], calls=2)
    assert not watch.adds("0") and "more than once" in watch.why_not("0").text


@pytest.mark.parametrize(("run", "count"), [(lambda m, x: (x + m.a(x), None), 2), (lambda m, x: (x + m.a(x),), 1)])
def test_it_counts_what_is_returned(run, count):
    watch, _ = watched(run)
    assert watch.adds("0") and watch.returns["0"] == count
