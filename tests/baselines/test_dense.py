"""Dense networks of the same size against hand counts and all shares."""

import math

import pytest
import torch
from plans import lenet, mlp, same, snapshot
from torch import nn

import lzero
from lzero.baselines import same_size
from lzero.cost import Cost
from lzero.errors import BudgetError, StructureError
from lzero.gates import Mask


def parameters(model):
    return sum(p.numel() for p in model.parameters())


def widths(share, sizes):
    return [max(1, math.floor(share * size + 1e-9)) for size in sizes]


def mlp_cost(a, b, inputs=12, outputs=3):
    return (inputs + 1) * a + (a + 1) * b + (b + 1) * outputs


@pytest.mark.parametrize("density", [0.05, 0.1, 0.25, 0.5, 0.9, 1.0])
def test_the_widths_are_those_of_the_largest_share_that_fits(density):
    model = mlp((12, 30, 20, 3))[0]
    shares = sorted({c / s for s in (30, 20) for c in range(1, s + 1)})
    fitting = [w for w in (widths(s, (30, 20)) for s in shares) if mlp_cost(*w) <= density * mlp_cost(30, 20)]
    small = same_size(model, torch.randn(2, 12), density)
    assert [small.fc1.out_features, small.fc2.out_features] == fitting[-1]
    assert parameters(small) == mlp_cost(*fitting[-1]) <= density * parameters(model)
    assert small(torch.randn(4, 12)).shape == (4, 3)


@pytest.mark.parametrize("measure", ["params", "macs"])
def test_convolutions_shrink_to_the_measure(measure):
    model = lenet(6, 8, 10)[0]
    x = torch.randn(2, 1, 6, 6)
    small = same_size(model, x, 0.3, measure)
    kept = [small.conv1.out_channels, small.conv2.out_channels, small.fc1.out_features]
    assert small.fc1.in_features == 4 * kept[1] and small(x).shape == (2, 3)

    def cost(a, b, c):
        if measure == "params":
            return 10 * a + (9 * a + 1) * b + (4 * b + 1) * c + 3 * (c + 1)
        return 16 * 9 * a + 4 * 9 * a * b + 4 * b * c + 3 * c

    sizes = (6, 8, 10)
    shares = sorted({c / s for s in sizes for c in range(1, s + 1)})
    assert kept == [w for w in (widths(s, sizes) for s in shares) if cost(*w) <= 0.3 * cost(*sizes)][-1]


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.body, self.head = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 4)

    def forward(self, x):
        x = torch.relu(self.norm(self.stem(x)))
        return self.head((x + self.body(x)).mean((2, 3)))


def test_weights_are_drawn_anew_and_the_model_is_left_as_it_was():
    torch.manual_seed(0)
    model, x = Residual(), torch.randn(4, 3, 6, 6)
    model(x)  # moves the statistics of the normalisation
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(100.0)
    before = snapshot(model)
    torch.manual_seed(1)
    one = same_size(model, x, 0.4)
    torch.manual_seed(1)
    two = same_size(model, x, 0.4)
    three = same_size(model, x, 0.4)
    torch.set_rng_state(before["random"])
    same(before, snapshot(model))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    assert not torch.equal(one.stem.weight, three.stem.weight)
    channels = one.stem.out_channels
    assert channels < 8 and not (one.norm.running_mean != 0).any() and (one.norm.weight == 1).all()
    assert float(one.body.weight.detach().abs().max()) <= 1 / math.sqrt(channels * 9)  # drawn for the small fan-in
    lzero.attach_gates(one, x)  # a plain model as any other


def test_a_share_of_everything_has_the_original_shapes():
    model = mlp()[0]
    small = same_size(model, torch.randn(1, 5), 1.0)
    expected = {name: p.shape for name, p in model.named_parameters()}
    assert {name: p.shape for name, p in small.named_parameters()} == expected
    assert not torch.equal(small.fc1.weight, model.fc1.weight)


def test_recurrent_and_attention_layers_are_drawn_anew():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.attention = nn.LSTM(6, 10, batch_first=True), nn.MultiheadAttention(12, 4, batch_first=True)
            self.read, self.out = nn.Linear(10, 12), nn.Linear(12, 3)

        def forward(self, x):
            x = self.read(self.rnn(x)[0])
            return self.out(self.attention(x, x, x, need_weights=False)[0])

    model, x = Mixed(), torch.randn(2, 5, 6)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(100.0)
    small = same_size(model, x, 0.5)
    assert all(float(p.detach().abs().max()) < 2 for p in small.parameters())
    assert not small.attention.in_proj_bias.any() and not small.attention.out_proj.bias.any()
    assert 0 < parameters(small) <= 0.5 * parameters(model)
    assert small(x).shape == (2, 5, 3)


def test_modules_that_cannot_draw_their_parameters_are_named():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(16))

        def forward(self, x):
            return x * self.weight

    model = nn.Sequential(nn.Linear(8, 16), Scale(), nn.ReLU(), nn.Linear(16, 2))
    x, before = torch.zeros(1, 8), snapshot(model)
    with pytest.raises(StructureError, match=r"no reset_parameters\(\) on 1 \(Scale\), which own parameters"):
        same_size(model, x, 0.5)
    same(before, snapshot(model))
    with pytest.raises(StructureError, match=r"on the model itself \(Scale\)"):
        same_size(Scale(), torch.randn(1, 16), 0.5)


def test_densities_that_cannot_be_met_and_gated_models_are_refused():
    model = mlp()[0]
    x = torch.randn(1, 5)
    with pytest.raises(BudgetError, match=r"a density of 0\.01 cannot be met"):
        same_size(model, x, 0.01)
    with pytest.raises(BudgetError, match=r"target: expected a density in \(0, 1\]"):
        same_size(model, x, 1.5)
    lzero.attach_gates(model, x)
    with pytest.raises(StructureError):
        same_size(model, x, 0.5)


def test_it_is_as_large_as_what_pruning_ships():
    torch.manual_seed(0)
    model = mlp((20, 60, 40, 3))[0]
    x = torch.randn(2, 20)
    small = same_size(model, x, 0.2)
    gates = lzero.attach_gates(model, x, estimator=Mask())
    assert 0.17 * float(Cost(gates).total) < parameters(small) <= 0.2 * float(Cost(gates).total)
