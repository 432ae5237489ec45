"""Blocks as groups that hold together, one by one where they do not, and what is said of the others."""

import torch
from torch import nn

from lzero.plan.block import Block
from lzero.proving.blocks import ModelProof
from lzero.proving.modules import accept_modules
from lzero.tracing.blocks import Found, blocks_of
from lzero.tracing.tracer import trace

X = torch.randn(2, 4)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        x = x + self.a(x)
        return x + self.b(x)


class Net(nn.Module):
    def __init__(self, run, count=3):
        super().__init__()
        self.layers, self.run = nn.ModuleList(Residual() for _ in range(count)), run

    def forward(self, x):
        return self.run(self, x)


def in_turn(self, x):
    for layer in self.layers:
        x = layer(x)
    return x


def by_number(self, x):
    return self.layers[2](self.layers[1](self.layers[0](x)))


def second_matters(self, x):
    return in_turn(self, x) * self.layers[1].a.weight.sum()


def accepted(model, found=None):
    seen = trace(model, (X,), lambda path: False)
    found = blocks_of(model, (X,), lambda path: True)[0] if found is None else found
    groups, refusals = accept_modules(ModelProof(model, (X,), seen), found, [])
    return {g.name: [(b.path, b.closed) for b in g.blocks] for g in groups}, {r.name: r for r in refusals}


def test_blocks_and_their_branches_are_groups():
    groups, refusals = accepted(Net(in_turn))
    paths = ["layers.0", "layers.1", "layers.2"]
    assert groups == {
        "layers": [(path, "removed") for path in paths],
        "layers.*.a": [(f"{path}.a", "zero") for path in paths],
        "layers.*.b": [(f"{path}.b", "zero") for path in paths],
    }
    assert refusals == {}


def test_blocks_that_are_called_by_number_stay_as_modules_that_pass_on():
    groups, refusals = accepted(Net(by_number))
    assert groups["layers"] == [(f"layers.{number}", "identity") for number in range(3)] and refusals == {}


def test_one_that_cannot_be_closed_leaves_the_others_their_gates():
    groups, refusals = accepted(Net(second_matters))
    assert [path for path, _ in groups["layers"]] == ["layers.0", "layers.2"]
    assert "reads into it, past its call" in refusals["layers.1"].reason
    assert set(refusals["layers.1"].tensors) == {
        f"layers.1.{leaf}.{end}" for leaf in "ab" for end in ("weight", "bias")
    }


def test_a_single_block_is_never_closed():
    groups, refusals = accepted(Net(in_turn, count=1))
    assert groups == {} and set(refusals) == {"layers.0", "layers.0.a", "layers.0.b"}
    assert all("one single block" in refusal.reason for refusal in refusals.values())


def test_what_is_no_block_after_all_is_refuted():
    class Bad(nn.Module):
        """Its linears are told apart by name; a stand-in has none."""

        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))

        def forward(self, x):
            return self.layers(x) * self.layers[0].out_features * self.layers[2].in_features

    blocks = [Block(path, "identity", (f"{path}.weight", f"{path}.bias")) for path in ("layers.0", "layers.2")]
    found = [Found(block, "Linear", ()) for block in blocks]
    groups, refusals = accepted(Bad(), found)
    assert groups == {} and set(refusals) == {"layers.0", "layers.2"}
    assert all("'LeftOut' object has no attribute" in refusal.reason for refusal in refusals.values())
