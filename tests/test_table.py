"""Layer by layer: counts against the modules themselves, and a page that fits a window."""

import pytest
import torch
from plans import CASES, lenet
from purged import purge_anywhere
from purging import gated
from torch import nn
from torch.nn import functional as F

import lzero
from lzero.errors import StructureError
from lzero.gates.gates import Gates
from lzero.plan import block as plan_block
from lzero.plan.group import GateGroup, Member
from lzero.plan.plan import Plan
from lzero.purge import PurgeResult
from lzero.recorder import Recorder
from lzero.table import Table
from lzero_lab.models import MLP, LeNet5, ResNet

pytestmark = pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")  # of trainings that never were


def own_parameters(model):
    """Path -> parameters that the module there owns itself, tied ones where they come first; gathered ones by layer."""
    found = {}
    for name, parameter in model.named_parameters():
        path = name.rpartition(".")[0].removesuffix(".linear")
        found[path] = found.get(path, 0) + parameter.numel()
    return found


def macs(model, x):
    """Path -> multiply-accumulates of Linears and convolutions, by what goes in and comes out."""
    found = {}

    def count(path):
        def hook(module, args, out):
            found[path] = out.numel() * module.weight[0].numel()

        return hook

    hooks = [
        module.register_forward_hook(count(path.removesuffix(".linear")))
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ]
    model(x)
    for hook in hooks:
        hook.remove()
    return found


NETS = {
    "mlp, inputs": (lambda: MLP(12, (9, 7), 3), (4, 12), "input"),
    "lenet, units": (lambda: LeNet5(1, 8, (4, 6), 10, 3), (2, 1, 8, 8), "unit"),
    "lenet, inputs": (lambda: LeNet5(1, 8, (4, 6), 10, 3), (2, 1, 8, 8), "input"),
    "resnet, units": (lambda: ResNet(1, (4, 6), 1, 3), (2, 1, 8, 8), "unit"),
}


@pytest.mark.parametrize("case", NETS, ids=str)
def test_every_count_is_that_of_the_modules(case):
    build, shape, granularity = NETS[case]
    x = torch.randn(shape)
    result = purge_anywhere(build, x, granularity)
    table = result.table()
    for column, model in (("_before", build().eval()), ("", result.model.eval())):
        assert {str(row["layer"]): row[f"parameters{column}"] for row in table.rows} == own_parameters(model)
        products = macs(model, x)
        assert {row["layer"]: row[f"macs{column}"] for row in table.rows if row["macs_before"]} == products
        for row in table.rows:
            module = model.get_submodule(str(row["layer"]))
            made = module.weight.shape[0]
            assert row.get(f"units{column}", made) == made
            if "inputs" in row:
                assert column or row["inputs"] == module.in_features
    assert table.total("parameters") == result.certificate.parameters
    assert table.total("parameters_before") == result.certificate.parameters_before
    assert table.total("macs_before") > table.total("macs")
    sizes = [sum(t.nbytes for t in model.state_dict().values()) for model in (build(), result.model)]
    assert [table.size_before, table.size] == sizes


def test_weights_purged_to_zero_do_not_count():
    result = purge_anywhere(lambda: MLP(12, (9, 7), 3), torch.randn(4, 12), "weight")
    alive = {path: int((module.weight != 0).sum()) for path, module in result.model.named_children()}
    assert {row["layer"]: row["macs"] for row in result.table().rows} == {path: 4 * n for path, n in alive.items()}


@pytest.mark.parametrize("name", CASES)
def test_every_plan_has_its_table(name):
    model, gates, _ = gated(CASES[name])
    lzero.Solver(gates, 0.9, total_steps=1000)
    result = lzero.purge(model)
    table = result.table()
    assert table.total("parameters") == result.certificate.parameters
    assert table.recorder().rows == table.rows
    assert str(table) in str(result) and str(result.certificate).splitlines()[0] in str(result)


def test_what_was_left_whole_is_named_with_its_reason():
    result = purge_anywhere(lambda: LeNet5(1, 8, (4, 6), 10, 3), torch.randn(2, 1, 8, 8), "unit")
    rows = {row["layer"]: row for row in result.table().refused}
    assert rows["fc2"] == {"layer": "fc2", "units": 3, "reason": "it is an output of the model"}
    assert "left whole, it is an output of the model: fc2 (3)" in str(result).splitlines()


def test_layers_are_data_and_go_to_csv_and_markdown(tmp_path):
    table = purge_anywhere(lambda: MLP(12, (9, 7), 3), torch.randn(4, 12), "input").table()
    first = table.layers[0]
    assert first.name == table.rows[0]["layer"] == "fc1"
    assert first.pair("parameters") == (9 * 12 + 9, table.rows[0]["parameters"]) and first.pair("units")[0] == 9
    table.to_csv(tmp_path / "layers.csv")
    assert Recorder.from_csv(tmp_path / "layers.csv").rows == table.rows
    head, rule, *lines = table.to_markdown().splitlines()
    assert head == "| layer | units | inputs | parameters | MACs |" and rule == "|---|---:|---:|---:|---:|"
    assert [line.split("|")[1].strip() for line in lines] == ["fc1", "fc2", "fc3", "all"]
    left, all_ = table.total("parameters"), table.total("parameters_before")
    assert lines[-1].endswith(f"| {all_} -> {left} {left / all_:.1%} | {lines[-1].split('|')[-2].strip()} |")


def stack(width, depth):
    """A perceptron of alike layers."""
    return nn.Sequential(nn.Linear(4, width), *(nn.Linear(width, width) for _ in range(depth)), nn.Linear(width, 2))


@pytest.mark.parametrize(("depth", "said"), [(3, "alike"), (70, "least to most")])
def test_blocks_that_are_alike_share_a_line_and_in_long_models_those_that_were(depth, said):
    model = stack(6, depth)
    gates = lzero.attach_gates(model, torch.randn(3, 4))
    kept = [3] * (depth + 1) if depth == 3 else [1 + layer % 3 for layer in range(depth + 1)]
    open_ = torch.cat([torch.arange(6) < units for units in kept])
    table = Table.of(gates, open_, 1, 1)
    text = table.text()
    assert f"({depth}, {said})" in text if depth == 70 else f"({depth} {said})" in text
    assert len(text.splitlines()) < 12
    assert len(table.text(folded=False).splitlines()) > depth
    if depth == 70:
        line = next(line for line in text.splitlines() if said in line)
        assert " ".join(line.split()).startswith(f"1-70 (70, {said}) 6 -> 1-3")


def test_the_page_of_a_small_network():
    model, gates, _ = gated(lenet)
    lzero.Solver(gates, 0.9, total_steps=1000)
    result = lzero.purge(model)
    first = {row["layer"]: row for row in result.table().rows}["conv1"]
    line = next(line for line in str(result).splitlines() if line.startswith("conv1"))
    for noun in ("units", "parameters", "macs"):
        before, after = first[f"{noun}_before"], first[noun]
        assert f"{before:,} -> {after:,} {after / before:.1%}" in " ".join(line.split())
    *_, all_ = (line for line in str(result.table()).splitlines() if " -> " in line and "tensors" not in line)
    assert f"{result.certificate.parameters_before:,} -> " in all_


class Block(nn.Module):
    """A layer of attention and a perceptron under names as long as those of Hugging Face."""

    def __init__(self):
        super().__init__()
        self.attention_with_a_long_name, self.norm = nn.Linear(8, 24), nn.LayerNorm(8)
        self.intermediate_dense, self.output_dense = nn.Linear(8, 4000), nn.Linear(4000, 8)

    def forward(self, x):
        q, k, v = self.attention_with_a_long_name(x).view(*x.shape[:2], 3, 2, 4).permute(2, 0, 3, 1, 4)
        x = x + F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return x + self.output_dense(F.gelu(self.intermediate_dense(self.norm(x))))


def test_lines_fit_a_window_of_100_columns():
    def build():
        inside = nn.ModuleDict({"encoder": nn.Sequential(*[Block() for _ in range(2)])})
        return nn.Sequential(nn.Sequential(inside["encoder"]), nn.Linear(8, 2))

    text = str(purge_anywhere(build, torch.randn(50, 30, 8), "unit"))
    assert max(map(len, text.splitlines())) <= 100
    assert "48,000,000 ->" in text or "48 M ->" in text
    assert any(line.startswith("0.0.") for line in text.splitlines())  # blocks under a heading


def test_a_result_without_gates_has_no_table():
    certificate = purge_anywhere(lambda: MLP(12, (9, 7), 3), torch.randn(4, 12)).certificate
    result = PurgeResult(nn.Linear(2, 2), certificate, {})
    assert str(result).startswith("params: ")
    with pytest.raises(StructureError, match="no gates were purged"):
        result.table()


def test_what_has_left_with_a_block_is_a_row_of_zeros():
    member = Member("net.0.w", 0, torch.arange(4)[:, None], "producer")
    blocks = tuple(plan_block.Block(f"net.{n}", "removed", (f"net.{n}.w",)) for n in range(2))
    groups = (GateGroup("net", 2, "depth", (), blocks=blocks), GateGroup("units", 4, "unit", (member,)))
    gates = Gates(Plan(groups, (), {"net.0.w": (4, 3), "net.1.w": (2, 5)}, {"net.0.w": 2, "net.1.w": 2}))
    table = Table.of(gates, torch.tensor([False, True, True, True, False, False]), 1, 1)
    gone, left = (dict(row) for row in table.rows)
    assert (gone.pop("layer"), left.pop("layer")) == ("net.0", "net.1")
    before = {"units_before": 4, "parameters_before": 12, "macs_before": 24}
    assert gone == {**before, "units": 0, "parameters": 0, "macs": 0}
    assert left == {"parameters_before": 10, "parameters": 10, "macs_before": 20, "macs": 20}
    assert table.total("parameters") == 10
