"""Studies: what their files say, cut short and continued, and the tables and figures drawn from their rows."""

import itertools

import pytest
from inline import Inline

from lzero.errors import DataError
from lzero.recorder import Recorder
from lzero_lab import cells as cells_module
from lzero_lab import workers
from lzero_lab.cells import EPOCHS, Cell, run_cells
from lzero_lab.cli import main
from lzero_lab.recipe import Recipe
from lzero_lab.report import CELLS, TABLE, architecture, published, table, write_report
from lzero_lab.study import Study, names

TEXT = """
data = "digits"
seeds = [0, 1]
[networks.mlp]
steps = 12
batch_size = 64
[budgets.half]
model = "mlp"
target = 0.5
[budgets.third]
model = "mlp"
target = 0.33
[methods.constrained]
[methods.binary]
estimator = "arm"
on.mlp = { gate_lr = 0.1 }
at.third = { steps = 9 }
[methods.once]
gate_lr = 0.01
only = ["third"]
"""


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(TEXT, encoding="utf-8")
    return Study.read(path)


def test_every_method_meets_every_budget_seed_by_seed(study):
    cells = study.cells("somewhere")
    assert [dict(cell.labels)["label"] for cell in cells[:5]] == [
        "constrained",
        "binary",
        "constrained",
        "binary",
        "once",
    ]
    assert [cell.recipe.seed for cell in cells] == [0] * 5 + [1] * 5
    assert {cell.data_dir for cell in cells} == {"somewhere"}
    binary = cells[3].recipe
    assert (binary.estimator, binary.gate_lr, binary.steps, binary.batch_size, binary.target) == (
        "arm",
        0.1,
        9,
        64,
        0.33,
    )
    assert cells[1].recipe.steps == 12
    assert len({cell.key for cell in cells}) == len(cells)


def test_a_part_can_be_chosen(study):
    part = study.choose(methods=["binary"], seeds=[7])
    assert [(cell.recipe.seed, cell.recipe.target) for cell in part.cells()] == [(7, 0.5), (7, 0.33)]
    with pytest.raises(DataError, match="no method is called 'no'; there are: constrained, binary, once"):
        study.choose(methods=["no"])
    with pytest.raises(DataError, match="no budget is called 'no'"):
        study.choose(budgets=["no"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data = ", "not readable as TOML"),
        ("data = 'digits'", "expected budgets, data, methods, networks, seeds, found data"),
        (TEXT.replace("gate_lr = 0.01", "gate_rate = 0.01"), "method 'once' at 'third'.*gate_rate"),
        (TEXT.replace('"digits"', '"digitz"'), "data: no data set is called 'digitz'; there are: digits"),
        (TEXT.replace("[0, 1]", "0"), "seeds: expected a list of whole numbers"),
        (TEXT.replace("[0, 1]", "[true]"), "seeds: expected a list of whole numbers"),
        (TEXT.replace("[0, 1]", "[]"), "seeds: expected a list of whole numbers"),
        (TEXT.replace("[0, 1]", f"[{2**64}]"), "seed: expected a whole number from"),
        (TEXT.replace("networks.mlp", "networks.mpl"), "networks: no budget has the model 'mpl'; there are: mlp"),
        (TEXT.replace('model = "mlp"', 'model = "mpl"'), "budgets: no network is called 'mpl'"),
        (TEXT.replace("on.mlp", "on.lenet"), "methods, 'binary', on: no budget has the model 'lenet'"),
        (
            TEXT.replace("at.third", "at.thrid"),
            "methods, 'binary', at: no budget is called 'thrid'; there are: half, t",
        ),
        (TEXT.replace("at.third = { steps = 9 }", "at.third = 9"), "at, 'third': expected a table of fields, found 9"),
        (TEXT.replace('["third"]', '["thrid"]'), "methods, 'once', only: no budget is called 'thrid'"),
        (TEXT.replace('["third"]', '"third"'), "only: expected a list of budgets, found 'third'"),
        (TEXT.replace("[methods.once]", "[methods]\nhc = 3\n[methods.once]"), "methods, 'hc': expected a table"),
        (
            TEXT.replace('estimator = "arm"', 'estimator = "arms"'),
            "'binary' at 'half': estimator: no 'arms'; there are",
        ),
        (TEXT.replace('estimator = "arm"', 'method = "constrain"'), "method: expected one of constrained, penalized"),
        (TEXT.replace('estimator = "arm"', 'optimizer = "adamw"'), "optimizer: expected one of adam, sgd"),
        (TEXT.replace('estimator = "arm"', "batch_size = 0"), "batch_size: expected at least 1, found 0"),
        (TEXT.replace('estimator = "arm"', 'lr = "fast"'), "lr: expected a finite number, found 'fast'"),
        (TEXT.replace('estimator = "arm"', "solver = 3"), "solver: expected a table of arguments, found 3"),
        (TEXT.replace('estimator = "arm"', "solver = { step = 1 }"), "no argument 'step'; it takes anneal_steps"),
        (TEXT.replace('estimator = "arm"', 'solver = { anneal_steps = "x" }'), "anneal_steps: expected a whole number"),
        (
            TEXT.replace('estimator = "arm"', 'method = "penalized"\nsolver = { dual_lr = 1.0 }'),
            "solver: 'penalized' has no argument 'dual_lr'; it takes nothing",
        ),
    ],
)
def test_a_file_that_is_no_study_is_refused_with_its_place(tmp_path, text, message):
    path = tmp_path / "wrong.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        Study.read(path).cells()


def test_a_file_that_is_not_utf_8_is_refused(tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"wrong\.toml: no study \(not UTF-8\); there are: .*mnist"):
        Study.read(path)


def test_a_seed_counts_once(study):
    assert [cell.recipe.seed for cell in study.choose(methods=["once"], seeds=[2, 2, 1]).cells()] == [2, 1]


def test_an_unknown_study_names_those_that_exist():
    with pytest.raises(DataError, match=r"there are: .*mnist"):
        Study.read("nothing")


@pytest.mark.parametrize("name", names())
def test_the_studies_of_the_library_are_plans_of_different_trainings(name):
    cells = Study.read(name).cells()
    assert len({cell.key for cell in cells}) == len(cells) > 10


def test_a_study_that_was_killed_goes_on_from_its_last_epoch(tmp_path, monkeypatch):
    cell = Cell("digits", Recipe(target=0.5, steps=40, batch_size=128))
    whole = run_cells([cell], tmp_path / "whole.csv").rows[0]

    now = itertools.count(step=1800)  # half an hour a look at the clock: time for one epoch
    monkeypatch.setattr(workers, "ProcessPoolExecutor", Inline)
    monkeypatch.setattr(cells_module.time, "time", lambda: float(next(now)))
    rows = run_cells([cell], tmp_path / CELLS, folder=tmp_path, hours=1.1).rows
    assert rows == [] and len(list(tmp_path.glob("*.pt"))) == 1
    while not rows:
        rows = run_cells([cell], tmp_path / CELLS, folder=tmp_path, hours=1.1).rows
    timed = {"seconds"}
    assert {k: v for k, v in rows[0].items() if k not in timed} == {k: v for k, v in whole.items() if k not in timed}
    assert not list(tmp_path.glob("*.pt"))
    epochs = Recorder.from_csv(tmp_path / EPOCHS).rows
    assert [row["epoch"] for row in epochs] == [1, 2, 3, 4, 5] and {row["cell"] for row in epochs} == {cell.key}
    assert "p_00" not in epochs[0] and 0 < epochs[-1]["deployed"] <= 1


SHARED = {"data": "mnist", "budget": "mlp 7.6 % params", "shipped_macs": 0.1, "epochs": 3}
KEPT = "fc1=3/9 fc2=2/4 fc1.input=5/6"
ROWS = [
    SHARED
    | {"label": "a", "error": 0.02, "validation_error": 0.01, "shipped_params": 0.07, "seconds": 1.0, "kept": KEPT},
    SHARED
    | {"label": "a", "error": 0.04, "validation_error": 0.02, "shipped_params": 0.06, "seconds": 3.0, "kept": KEPT},
    SHARED | {"label": "b", "error": 0.01, "validation_error": 0.03, "shipped_params": 0.07, "seconds": 1.0},
]


def test_the_table_has_means_over_seeds_least_error_first_and_published_rows_marked():
    lines = table(ROWS).splitlines()
    assert lines[0] == "**mlp 7.6 % params**"
    assert lines[4] == "| b | 7.00% | 10.00% | – | 3 | 1 | 3.00% | 1.00% | 1 |"
    assert lines[5] == "| a | 7.00% | 10.00% | 5-3-2 | 3 | 2 | 1.50% | 3.00% ± 1.41% | 2 |"
    assert (
        lines[6].startswith("| *constrained per layer (NeurIPS), published* | 7.6% |") and "2.19% ± 0.12%" in lines[6]
    )
    assert "published (recalled)*" in lines[7]


def test_architectures_read_in_the_order_of_the_data():
    assert architecture("conv1=9/20 conv2=18/50 fc1=25/500 fc1.input=65/800") == "9-18-65-25"


def test_published_numbers_say_where_they_come_from():
    rows = published(["mlp 26.6 % params", "lenet5 2.3 % params"], "mnist")
    assert rows and all(row["source"] and row["published"] == 1 for row in rows)
    assert published(["mlp 26.6 % params"], "fashion-mnist") == []


def test_a_report_is_a_table_and_a_figure_of_what_the_study_plans(tmp_path, study):
    recorder = Recorder()
    labels = ("constrained", "binary", "constrained", "binary", "once")
    for cell, label, row in zip(study.cells(), labels, ROWS + ROWS, strict=False):
        assert dict(cell.labels)["label"] == label
        recorder.append(**(row | {"cell": cell.key, "label": label, "seed": 0}))
    recorder.append(**(ROWS[0] | {"cell": "of a recipe that was changed", "label": "stale", "seed": 0}))
    recorder.append(cell="x", problem="failed")
    recorder.to_csv(tmp_path / CELLS)
    files = write_report(tmp_path, study)
    assert [path.name for path in files] == [TABLE, "methods.png"] and all(path.stat().st_size > 300 for path in files)
    assert "| binary |" in files[0].read_text() and "stale" not in files[0].read_text()
    assert write_report(tmp_path / "empty", study) == []


def test_the_command_trains_a_part_of_a_study_tells_how_much_there_is_and_goes_on(tmp_path, capsys):
    path, out = tmp_path / "study.toml", tmp_path / "out"
    path.write_text(TEXT.replace("digits", "mnist"), encoding="utf-8")
    command = ["study", str(path), "--data", "digits", "--budgets", "half", "--seeds", "3", "--out", str(out)]
    assert main([*command, "--methods", "constrained"]) == 0
    first = capsys.readouterr().out
    assert "constrained, half, seed 3: shipped" in first and "1 of 1 trainings finished, 0 failed" in first
    assert main(command) == 0
    second = capsys.readouterr().out
    assert "constrained, half, seed 3" not in second and "binary, half, seed 3: shipped" in second
    assert "2 of 2 trainings finished" in second and "methods.png" in second
    assert main([*command, "--report"]) == 0 and "2 of 2" in capsys.readouterr().out
    assert main([*command, "--methods", "no"]) == 1
    assert main(["study", str(path), "--hours", "1e-9", "--out", str(tmp_path / "none"), "--data", "digits"]) == 1
    assert "no training has finished; give the study more --hours" in capsys.readouterr().err
    assert main(["study", str(path), "--report", "--out", str(tmp_path / "none"), "--data", "digits"]) == 1
    assert "no training has finished; leave out --report" in capsys.readouterr().err


def test_a_study_in_which_all_failed_says_how_many_and_why(tmp_path, monkeypatch, capsys):
    path, out = tmp_path / "study.toml", tmp_path / "out"
    path.write_text(TEXT.replace("0.5", "1e-6"), encoding="utf-8")
    monkeypatch.setattr(workers, "ProcessPoolExecutor", Inline)
    command = ["study", str(path), "--budgets", "half", "--out", str(out)]
    assert main(command) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "no training has finished, 4 failed; the first is " in line and ": params: a density of 1e-06" in line
    assert main(command) == 1
    assert len(Recorder.from_csv(out / CELLS)) == 4


def test_missing_data_is_one_line_and_no_training_fails_by_it(tmp_path, monkeypatch, capsys):
    path, out = tmp_path / "study.toml", tmp_path / "out"
    path.write_text(TEXT, encoding="utf-8")
    monkeypatch.setattr(workers, "ProcessPoolExecutor", Inline)
    assert main(["study", str(path), "--data", "mnist", "--data-dir", str(tmp_path), "--out", str(out)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lzero: error: mnist: missing train-images-idx3-ubyte")
    assert not (out / CELLS).exists()
