"""Which modules of a forward are norms that units pass, and what is frozen where they are none."""

import pytest
import torch
from streams import MODELS, Add, HandRms, Length, OnePlus, built, given
from torch import nn
from torch.nn import functional as F

from lzero.tracing.tracer import trace


def sites(model, x, wanted=lambda path: True):
    return {site.path: site for site in trace(model.eval(), (x,), wanted).norms}


@pytest.mark.parametrize("name", MODELS)
def test_every_norm_of_a_stream_is_found(name):
    model = built(name)
    norms = [
        path
        for path, module in model.named_modules()
        if isinstance(module, HandRms | OnePlus | Length) or "Norm" in type(module).__name__
    ]
    assert sorted(sites(model, given(name, 2, 6))) == sorted(norms) and norms


def test_only_wanted_ones_are_looked_at():
    model, x = built("layer norm"), given("layer norm", 2, 6)
    assert list(sites(model, x, lambda path: path.startswith("1."))) == ["1.body.0"]
    assert not sites(model, x, lambda path: False)


def test_weights_biases_and_eps_by_hand_and_by_torch():
    found = sites(built("by hand, as Llama"), given("by hand, as Llama", 2, 6))["3"]
    assert (found.statistic, found.weight, found.bias, found.eps) == ("square", "weight", "", "variance_epsilon")
    found = sites(built("layer norm"), given("layer norm", 2, 6))["3"]
    assert (found.statistic, found.weight, found.bias, found.eps) == ("mean", "weight", "bias", "eps")
    found = sites(built("weight plus one"), given("weight plus one", 2, 6))["3"]
    assert (found.statistic, found.weight, found.bias, found.eps) == ("mean", "", "bias", "eps")
    found = sites(built("over channels, by hand"), given("over channels, by hand", 2, 6))["2"]
    assert (found.statistic, found.dim, found.weight, found.bias) == ("mean", -3, "weight", "bias")


class Center(nn.Module):
    def forward(self, x):
        return x - x.mean(-1, keepdim=True)


class Inside(Add):  # a norm in a forward that has modules of its own
    def forward(self, x):
        return F.layer_norm(self.body(x), (12,))


@pytest.mark.parametrize("module", [Center(), Inside(nn.Linear(12, 12))])
def test_what_is_no_norm_freezes_its_units(module):
    model = nn.Sequential(nn.Linear(5, 12), module, nn.Linear(12, 3))
    seen = trace(model.eval(), (torch.randn(2, 5),), lambda path: True)
    assert not seen.norms
    assert any("mixes all units" in reason.text or "normalises over" in reason.text for reason in seen.classes.reasons)


def test_one_norm_on_two_streams_ties_them():
    class Two(nn.Module):
        def __init__(self, second):
            super().__init__()
            self.a, self.b, self.norm = nn.Linear(5, 12), nn.Linear(5, second), nn.RMSNorm(12, elementwise_affine=False)
            self.c, self.d = nn.Linear(12, 3), nn.Linear(second, 3)

        def forward(self, x):
            return self.c(self.norm(self.a(x))) + self.d(self.norm(self.b(x)))

    class AnySize(nn.Module):
        def forward(self, x):
            return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)

    seen = trace(Two(12).eval(), (torch.randn(2, 5),), lambda path: True)
    slots = {slot.tensor: slot.start for slot in seen.classes.slots if slot.dim == 0}
    root = seen.classes.root
    assert root[slots["a.weight"]] == root[slots["b.weight"]] and len(seen.norms) == 1
    other = Two(7)
    other.norm = AnySize()
    seen = trace(other.eval(), (torch.randn(2, 5),), lambda path: True)
    assert any("streams of different sizes" in reason.text for reason in seen.classes.reasons)
