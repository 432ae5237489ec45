"""Measuring with a clock that follows a formula: the table says what the formula does."""

import pytest
import torch
from plans import lenet
from ticking import Ticking
from torch import nn

import lzero
from lzero.errors import BudgetError, StructureError
from lzero.latency import measure

TIMES = {
    nn.Linear: lambda layer, x: 1e-5 * layer.in_features * layer.out_features + 1e-4,
    nn.Conv2d: lambda layer, x: 1e-5 * layer.weight.numel() * x.shape[-1],
    nn.ReLU: lambda layer, x: 1e-5 * x.shape[1],
}


def network():
    torch.manual_seed(0)
    return cut_to(12, 20, 9)


def cut_to(a, b, c):
    return nn.Sequential(
        *(nn.Conv2d(1, a, 3), nn.ReLU(), nn.Conv2d(a, b, 3), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(4 * b, c), nn.ReLU(), nn.Linear(c, 3)),
    )


X = torch.randn(4, 1, 6, 6)


def measured(model, inputs=X, times=TIMES, **options):
    clock = Ticking(times)
    with clock.running():
        return measure(model, inputs, clock=clock, **{"repeats": 1, "warmup": 0, **options})


def truth(model):
    """Milliseconds of a forward, by the formula."""
    clock = Ticking(TIMES)
    with clock.running():
        model(X)
    return 1e3 * clock.seconds


@pytest.mark.parametrize("gated", [False, True])
def test_a_table_says_what_forwards_take(gated):
    model = network()
    gates = lzero.attach_gates(network(), X)
    if gated:
        model = network()
        gates = lzero.attach_gates(model, X)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    table = measured(model, threads=1)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [layer.path for layer in table.layers] == ["0", "2", "5", "7"]
    assert (table.batch, table.threads, table.shapes) == (4, 1, ((4, 1, 6, 6),))
    assert table.total == pytest.approx(truth(network()), rel=1e-3)
    for _, seconds, predicted in table.checks:
        assert predicted == pytest.approx(seconds, rel=0.02)
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        a, b, c = (int(torch.randint(1, group.size + 1, (), generator=generator)) for group in gates.plan)
        widths = {"0": (a, 1), "2": (b, a), "5": (c, 4 * b), "7": (3, c)}
        assert table.predict(widths) == pytest.approx(truth(cut_to(a, b, c)), rel=0.02)


def test_equal_layers_are_timed_once():
    class Counting(nn.Sequential):
        pass

    calls = []
    times = {nn.Linear: lambda layer, x: calls.append(tuple(layer.weight.shape)) or 1e-3}
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8))
    measured(model, torch.randn(2, 8), times, grid=2)
    once = len(calls)
    calls.clear()
    longer = nn.Sequential(*(nn.Linear(8, 8) if i % 2 == 0 else nn.Tanh() for i in range(11)))
    measured(longer, torch.randn(2, 8), times, grid=2)
    assert len(calls) / once < 11 / 5  # forwards in place alone have grown


def test_attention_is_timed_in_place():
    class Attending(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention, self.head = nn.MultiheadAttention(8, 4, batch_first=True), nn.Linear(8, 2)

        def forward(self, x):
            return self.head(self.attention(x, x, x, need_weights=False)[0])

    model = Attending().eval()
    times = {nn.MultiheadAttention: lambda layer, x: 1e-3 * layer.in_proj_weight.shape[0]}
    table = measured(model, torch.randn(2, 3, 8), times)
    attention, _ = table.layers
    assert attention.columns == () and attention.total == pytest.approx(24.0, rel=1e-3)
    assert sum(length for *_, length in attention.rows) == 24 + 8 + 8 + 8
    assert len(attention.row_widths) > 1 and attention.ms[0][0] < 20.0
    gates = lzero.attach_gates(model, torch.randn(2, 3, 8))
    assert float(lzero.constraints.Cost(gates, "latency", tables=table).total) == pytest.approx(24.0, rel=1e-3)


def test_a_fresh_batch_may_be_larger_than_the_example():
    model, plan = lenet()
    lzero.attach_gates(model, plan)
    assert measured(model, None).batch == 3
    assert measured(model, torch.randn(7, 1, 6, 6)).batch == 7


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": 3}, StructureError, "latency.measure: expected an nn.Module, found 3"),
        ({"inputs": None}, StructureError, "inputs are needed for a model without gates"),
        ({"grid": 1}, BudgetError, "grid: expected a whole number >= 2, found 1"),
        ({"repeats": 0}, BudgetError, "repeats: expected a whole number >= 1, found 0"),
        ({"warmup": -1}, BudgetError, "warmup: expected a whole number >= 0"),
        ({"threads": 0}, BudgetError, "threads: expected a whole number >= 1, or None"),
        ({"model": nn.Sequential(nn.ReLU())}, BudgetError, "Sequential: no layer computes with weights"),
    ],
)
def test_what_cannot_be_measured_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        measure(**{"model": network(), "inputs": X, **options})


def test_a_transposed_linear_has_its_rows_where_it_makes_features():
    conv1d = pytest.importorskip("transformers.pytorch_utils").Conv1D
    model = nn.Sequential(conv1d(12, 6), nn.ReLU(), conv1d(3, 12))
    times = {conv1d: lambda layer, x: 1e-4 * layer.nf + 1e-5 * layer.nx}
    gates = lzero.attach_gates(model, torch.randn(2, 6))
    table = measured(model, torch.randn(2, 6), times)
    assert table.layers[0].rows == (("0.weight", 1, 12),) and table.layers[0].columns == (("0.weight", 0, 6),)
    assert table.predict({"0": (4, 6), "2": (3, 4)}) == pytest.approx(1e3 * (7e-4 + 1e-4), rel=0.02)
    cost = lzero.constraints.Cost(gates, "latency", tables=table)
    open_ = torch.arange(12) < 4
    assert float(cost.value(open_)) == pytest.approx(table.predict({"0": (4, 6), "2": (3, 4)}), rel=1e-9)


@pytest.mark.parametrize("device", ["nowhere", "cuda:99", 3.5], ids=repr)
def test_a_device_that_is_not_here_is_told_with_the_way_out(device):
    with pytest.raises(StructureError, match=r"latency\.measure: device: .* cannot be used .* pass one that is here"):
        measure(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.randn(3, 4), device)
