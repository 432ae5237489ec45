"""Timing in place: every second of a forward is in a layer, behind one, or before the first."""

import pytest
import torch
from ticking import Ticking
from torch import nn

from lzero.discover import discover
from lzero.latency.place import Stations, layers_in
from lzero.latency.timer import Timer


class Outer(nn.Module):
    """A layer in which another lies, with something before and behind it."""

    def __init__(self):
        super().__init__()
        self.weight, self.tanh, self.inner = nn.Parameter(torch.ones(3, 3)), nn.Tanh(), nn.Linear(3, 3)

    def forward(self, x):
        return self.tanh(self.inner(self.tanh(x @ self.weight)))


TIMES = {
    nn.Linear: lambda layer, x: 10.0,
    nn.ReLU: lambda layer, x: 2.0,
    nn.Tanh: lambda layer, x: 0.5,
}


def spans_of(model, paths, x):
    clock = Ticking(TIMES)
    stations = Stations(model, paths, Timer(torch.device("cpu"), clock))
    with clock.running():
        found = stations.spans(lambda: model(x))
    stations.remove()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    return found, clock.seconds


def test_time_goes_to_the_layer_or_behind_it():
    shared = nn.ReLU()
    model = nn.Sequential(shared, nn.Linear(3, 3), shared, nn.Tanh(), nn.Linear(3, 3), Outer(), shared)
    found, seconds = spans_of(model, ["1", "4", "5", "5.inner"], torch.ones(2, 3))
    assert found.before == 2.0
    # a global hook runs before those of a module: its own time lies in it
    assert found.inside == {"1": 10.0, "4": 10.0, "5": 1.0, "5.inner": 10.0}
    assert found.behind == {"1": 2.5, "4": 0.0, "5": 2.0}
    assert found.total == seconds and set(found.calls.values()) == {1}


def test_a_layer_that_runs_twice_adds_up():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x):
            return self.fc(torch.relu(self.fc(x)))

    found, _ = spans_of(Twice(), ["fc"], torch.ones(2, 3))
    assert found.inside == {"fc": 20.0} and found.calls == {"fc": 2}


def test_layers_are_the_modules_that_compute_with_weights():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.LayerNorm(6), nn.Linear(6, 2))
    plan = discover(model, torch.randn(2, 4))
    assert layers_in(model, plan, lambda: model(torch.randn(2, 4))) == {"0": ("0.weight",), "3": ("3.weight",)}


def test_a_part_that_is_never_called_belongs_to_what_is_around_it():
    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 2)

        def forward(self, x):
            return self.head(self.attention(x, x, x, need_weights=False)[0])

    model, x = Attending().eval(), torch.randn(2, 3, 8)
    plan = discover(model, x)
    found = layers_in(model, plan, lambda: model(x))
    assert found["attention"] == ("attention.in_proj_weight", "attention.out_proj.weight")
    assert found["head"] == ("head.weight",) and len(found) == 2


@pytest.mark.parametrize("tied", [False, True])
def test_a_table_of_words_is_no_layer(tied):
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.fc, self.head = nn.Embedding(7, 4), nn.Linear(4, 4), nn.Linear(4, 7, bias=False)
            if tied:
                self.head.weight = self.words.weight

        def forward(self, x):
            return self.head(torch.relu(self.fc(self.words(x))))

    model, x = Words(), torch.tensor([[1, 2, 3]])
    found = layers_in(model, discover(model, x), lambda: model(x))
    assert found == {"fc": ("fc.weight",), "head": ("words.weight" if tied else "head.weight",)}
