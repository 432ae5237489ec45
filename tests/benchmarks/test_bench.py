"""The pure parts of the benchmark: what it counts, what it writes, and the rows that it makes of a small network."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

FOLDER = str(Path(__file__).parents[2] / "benchmarks")


@pytest.fixture(autouse=True)
def beside_the_scripts(monkeypatch):
    """The scripts import each other by their own folder, and leave threads and seed as they were here."""
    monkeypatch.syspath_prepend(FOLDER)
    names = {path.stem for path in Path(FOLDER).glob("*.py")}
    hidden = {name: sys.modules.pop(name) for name in names & set(sys.modules)}
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    for name in names & set(sys.modules):
        del sys.modules[name]
    sys.modules.update(hidden)


def module(name):
    return importlib.import_module(name)


def test_operations_and_waits_are_counted():
    x = torch.ones(3)
    with module("operations").Operations() as found:
        y = x + 1
        _ = bool(y.sum() > 0)
    assert found.names == ["aten.add", "aten.sum", "aten.gt", "aten._local_scalar_dense"]
    assert found.waits == ["aten._local_scalar_dense"]


def test_bytes_count_every_storage_once_and_no_parameters():
    footprint = module("footprint")
    flat = torch.zeros(10)
    array = np.zeros(5)
    weight = nn.Parameter(torch.zeros(1000))
    things = footprint.tensors_behind({"a": flat, "views": (flat[2:], flat[:3].view(3, 1))}, [array, array[1:]], weight)
    assert footprint.bytes_of(things) == 40 + 40
    assert footprint.bytes_of(things, without=[flat[5:]]) == 40


def test_bytes_a_gate_have_the_gradient_and_the_draw():
    network = module("networks").Network(
        lambda: nn.Sequential(nn.Linear(40, 300), nn.ReLU(), nn.Linear(300, 10)), 4, (40,), ("weight",), {}
    )
    found = module("footprint").bytes_a_gate(module("training").Training(network, "weight"))
    assert 16 <= found <= 26


def test_quartiles_and_pairs():
    pairs = module("pairs")
    assert pairs.quartiles([3.0, 1.0, 2.0]) == (2.0, 1.5, 2.5)
    assert pairs.quartiles([4.0]) == (4.0, 4.0, 4.0)
    calls = []
    found = pairs.paired(lambda: calls.append("base"), lambda: calls.append("other"), 2, warm=1)
    assert len(found) == 2 and all(first > 0 and second > 0 for first, second in found)
    assert calls[:2] == ["base", "other"] and calls.count("base") == calls.count("other")
    assert calls[-1] == "base"  # the second pair begins with the other one


def rows(Row):
    return [
        Row("step", "MLP", "unit", 1.2345, 1.2, 1.3, "x", 1.25, 2.5, 40, "a machine, 2 cores"),
        Row("step", "MLP", "weight", 2.6, 2.5, 2.7, "x", 2.5, 2.5, 40, "a machine, 2 cores"),
        Row("operations", "MLP", "unit", 45, most=45, machine="a machine, 2 cores"),
        Row("compiled", "GPT", "unit", 1.01, 1.0, 1.02, "x", None, 150.0, 10, "a machine, 2 cores"),
    ]


def test_rows_go_to_csv_and_back(tmp_path):
    found = module("rows")
    written = rows(found.Row)
    found.write(written, tmp_path / "bench.csv")
    read = found.read(tmp_path / "bench.csv")
    assert read == written
    assert [row.met for row in read] == [True, False, True, None]
    assert found.markdown(read) == found.markdown(written)


def test_the_table_says_what_was_met():
    found = module("rows")
    page = found.markdown(rows(found.Row))
    assert "- a machine, 2 cores\n" in page and page.count("a machine") == 1
    assert "| MLP | unit | 1.23x (1.2 to 1.3) | 2.5 ms | met, 1.25 |" in page
    assert "| MLP | weight | 2.6x (2.5 to 2.7) | 2.5 ms | **missed**, 2.5 |" in page
    assert "| MLP | unit | 45 |  | met, 45 |" in page


def test_the_figure_has_a_dot_for_every_ratio():
    found = module("rows")
    axes = found.figure(rows(found.Row)).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["MLP, unit", "MLP, weight", "GPT, unit, compiled"]
    assert found.figure(rows(found.Row)[2:3]) is None


def test_a_part_of_the_benchmark_writes_its_files(tmp_path, capsys):
    module("bench").main(["--only", "operations", "bytes", "MLP", "--repeats", "3", "--out", str(tmp_path)])
    shown = capsys.readouterr().out
    assert "121 Linears" in shown and "waits" in shown
    read = module("rows").read(tmp_path / "bench.csv")
    assert {row.what for row in read} == {"operations", "waits", "bytes"}
    assert all(row.met for row in read if row.what == "waits")
    assert (tmp_path / "bench.md").read_text() == module("rows").markdown(read)


def test_an_unknown_part_is_refused(tmp_path):
    with pytest.raises(SystemExit):
        module("bench").main(["--only", "nothing", "--out", str(tmp_path)])


def test_the_check_of_a_device_says_in_one_line_where_there_is_none(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert module("gpu_check").main(["--out", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().out.count("\n") == 1
    assert not (tmp_path / "none").exists()


def test_the_check_of_a_device_fails_where_one_of_its_checks_does(monkeypatch, capsys, tmp_path):
    checks = module("gpu_check")

    def good(device):
        return "fine"

    def bad(device):
        raise AssertionError("it is wrong")

    monkeypatch.setattr(checks, "CHECKS", (good, bad, checks.no_waiting))
    assert checks.main(["--device", "cpu", "--repeats", "0", "--out", str(tmp_path)]) == 1
    lines = (tmp_path / "gpu-check.csv").read_text().splitlines()
    assert [line.split(",")[1] for line in lines] == ["outcome", "passed", "failed", "skipped"]
    monkeypatch.setattr(checks, "CHECKS", (good, checks.no_waiting))
    assert checks.main(["--device", "cpu", "--repeats", "0", "--out", str(tmp_path)]) == 0
    capsys.readouterr()
