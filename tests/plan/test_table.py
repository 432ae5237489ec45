"""The table of a plan: counts by numel and by hand, floors as the plan counts them, and a page that fits a window."""

import pytest
import torch
from plans import CASES
from torch import nn

import lzero
from lzero.plan.table import gates_on, layers_of
from lzero.recorder import Recorder
from lzero_lab.models import MLP, LeNet5


def test_counts_of_a_small_network_by_hand():
    table = lzero.discover(LeNet5(1, 8, (4, 6), 10, 3), torch.randn(1, 1, 8, 8)).table()
    model = LeNet5(1, 8, (4, 6), 10, 3)
    numel = {path: sum(p.numel() for p in layer.parameters()) for path, layer in model.named_children()}
    assert {row["layer"]: row["parameters"] for row in table.rows} == {n: c for n, c in numel.items() if c}
    first = table.layers[0]
    assert (first.name, first.units, first.inputs) == ("conv1", 4, None)
    assert first.macs % first.parameters != 0 and first.macs == model.conv1.weight.numel() * side(model, 8) ** 2
    # One channel of conv1 stays: its filter and its bias.
    assert first.parameters_floor == model.conv1.weight[0].numel() + 1


def side(model, size):
    """The height of what the first convolution makes."""
    return model.conv1(torch.zeros(1, 1, size, size)).shape[-1]


@pytest.mark.parametrize("name", CASES)
def test_every_plan_has_a_table_whose_sums_are_the_plans(name):
    _, plan = CASES[name]()
    table = plan.table()
    assert table.total("parameters") == plan.parameters
    assert table.total("parameters_floor") == pytest.approx(plan.floor() * plan.parameters, abs=0.5 * len(table.layers))
    whole = sum(count * torch.Size(plan.shapes[tensor]).numel() for tensor, count in plan.positions.items())
    assert table.total("macs") == pytest.approx(whole, abs=0.5 * len(table.layers))
    assert max(map(len, str(table).splitlines())) <= 100


def test_units_are_those_that_a_layer_makes_and_inputs_those_that_it_reads():
    plan = lzero.discover(MLP(12, (9, 7), 3), torch.randn(2, 12), granularity="input")
    rows = {row["layer"]: row for row in plan.table().rows}
    assert [(rows[name].get("units"), rows[name].get("inputs")) for name in ("fc1", "fc2", "fc3")] == [
        (9, 12),
        (7, None),
        (None, None),
    ] or rows["fc1"]["inputs"] == 12
    assert gates_on(plan.groups, "unit")["fc1"] == ["fc1"]
    assert layers_of(["w", "a.weight", "a.bias"]) == {"w": ["w"], "a": ["a.weight", "a.bias"]}


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(8), nn.Linear(8, 32), nn.Linear(32, 8)

    def forward(self, x):
        return x + self.down(self.up(self.norm(x)).relu())


def test_twelve_alike_blocks_are_told_once_and_their_reasons_too(tmp_path):
    plan = lzero.discover(nn.Sequential(*[Block() for _ in range(12)], nn.Linear(8, 2)), torch.randn(2, 8))
    lines = str(plan.table()).splitlines()
    assert "0-11 (12 alike)" in lines and len([line for line in lines if line.startswith("  ")]) <= 6
    assert len(plan.table().text(folded=False).splitlines()) > 36
    assert len(str(plan).splitlines()) < 16 and "0-11 (12 alike)" in str(plan)
    assert sum("left whole" in line for line in lines) == len({r.reason + r.advice for r in plan.refusals})
    plan.table().to_csv(tmp_path / "plan.csv")
    assert Recorder.from_csv(tmp_path / "plan.csv").rows == plan.table().rows
    assert "| 0-11.up (12 alike) | 32 | 288 |" in plan.table().to_markdown()


def test_a_model_without_parameters_has_an_empty_table():
    table = lzero.discover(nn.Sequential(nn.ReLU()), torch.randn(2, 8)).table()
    assert table.layers == () and str(table).splitlines()[-1].startswith("all")
