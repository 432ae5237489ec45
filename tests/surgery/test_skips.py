"""Gates on whole modules: put on, fixed for a comparison, and taken off without a trace."""

import pytest
import torch
from torch import nn

from lzero.errors import StructureError
from lzero.gates.gates import Gates
from lzero.plan.block import Block
from lzero.plan.group import GateGroup
from lzero.plan.plan import Plan
from lzero.surgery.skips import attach_skips, blocks_in, remove_skips, skip_closed, switched_modules


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.branch = nn.Linear(3, 3)

    def forward(self, x):
        return x + self.branch(x)


def net():
    torch.manual_seed(0)
    return nn.Sequential(Residual(), Residual())


def group(name, paths, closed="removed"):
    return GateGroup(name, len(paths), "depth", (), blocks=tuple(Block(path, closed, ()) for path in paths))


GROUPS = [group("net", ["0", "1"]), group("branch", ["0.branch", "1.branch"], "zero")]
X = torch.randn(2, 3)


def test_modules_are_found_the_innermost_first():
    found = switched_modules(net(), GROUPS)
    assert [(block.path, name, place) for _, block, name, place in found] == [
        ("0.branch", "branch", 0),
        ("1.branch", "branch", 1),
        ("0", "net", 0),
        ("1", "net", 1),
    ]


def test_a_module_that_is_not_there_is_told_of():
    with pytest.raises(StructureError, match=r"2\.branch: the plan says that a module is here.*lzero\.discover"):
        switched_modules(net(), [group("branch", ["2.branch"])])


@pytest.mark.parametrize("branch", [1.0, 0.0])
@pytest.mark.parametrize("block", [1.0, 0.0])
def test_closed_modules_are_skipped_and_open_ones_are_not(block, branch):
    model, plain = net(), net()
    ones = torch.ones(2)
    z = {"net": torch.tensor([1.0, block]), "branch": torch.tensor([branch, 1.0])}
    skip_closed(model, GROUPS, z)
    x = plain[0](X) if branch else X
    assert torch.equal(model(X), plain[1](x) if block else x)
    assert {b.path for b in blocks_in(GROUPS, {name: values > 0 for name, values in z.items()})} == (
        ({"1"} if not block else set()) | ({"0.branch"} if not branch else set())
    )
    remove_skips(model)
    assert torch.equal(model(X), plain(X)) and not any(module._forward_hooks for module in model.modules())
    assert list(blocks_in(GROUPS, {"net": ones > 0, "branch": ones > 0})) == []


def test_every_module_has_the_gate_of_its_place_in_the_order_of_the_draw():
    plan = Plan((GROUPS[1], GROUPS[0]), (), {}, {})  # blocks are numbered before the branches in them
    gates, model, plain = Gates(plan), net(), net()
    attach_skips(switched_modules(model, plan.groups), gates)
    z = torch.tensor([1.0, 0.0, 0.0, 1.0])
    with gates.fixed(z), torch.no_grad():
        assert torch.equal(model(X), X)  # the second block is closed, and the branch of the first
    with gates.fixed(1 - z), torch.no_grad():
        assert torch.equal(model(X), X)
    with gates.fixed(torch.tensor([1.0, 1.0, 0.0, 1.0])), torch.no_grad():
        assert torch.equal(model(X), plain[1](X))
