"""Reports: a table of means and a figure, of what a study plans, beside published numbers."""

from dataclasses import replace

from lzero.recorder import Recorder
from lzero_lab.studies.report import CELLS, TABLE, architecture, published, remarks, said, table, write_report

SHARED = {"data": "mnist", "model": "mlp", "budget": "mlp 7.6 % params", "shipped_macs": 0.1, "epochs": 3}


KEPT = "fc1=3/9 fc2=2/4 fc1.input=5/6"


ROWS = [
    SHARED
    | {"label": "a", "error": 0.02, "validation_error": 0.01, "shipped_params": 0.07, "seconds": 1.0, "kept": KEPT},
    SHARED
    | {"label": "a", "error": 0.04, "validation_error": 0.02, "shipped_params": 0.06, "seconds": 3.0, "kept": KEPT},
    SHARED | {"label": "b", "error": 0.01, "validation_error": 0.03, "shipped_params": 0.07, "seconds": 1.0},
]


def test_the_table_has_means_over_seeds_least_error_first_and_published_rows_marked():
    title, _, legend, _, *lines = table(ROWS).splitlines()
    assert "largest share over the seeds; architecture: of the first seed." in legend
    assert title == f"# Methods side by side: {ROWS[0]['data']}"
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
    assert [path.name for path in files] == [TABLE, "methods-mlp.png"] and all(
        path.stat().st_size > 300 for path in files
    )
    assert "| binary |" in files[0].read_text() and "stale" not in files[0].read_text()
    assert write_report(tmp_path / "empty", study) == []


def test_where_rows_count_gates_by_their_probability_the_table_says_who_has_decided():
    gates = [{"gates": "10 0 0 0 0 0 0 0 0 0 5 0 0 0 0 0 0 0 0 5"}, {"gates": "0 20" + " 0" * 18}, {}]
    lines = table([row | more for row, more in zip(ROWS, gates, strict=True)]).splitlines()[4:]
    assert lines[2].endswith("| seconds | gates closed / undecided / open |") and lines[3].endswith("|---:| ---: |")
    assert lines[4].endswith("| 1 | – |") and lines[5].endswith("| 2 | 75% / 12% / 12% |")
    assert lines[6].count("|") == lines[5].count("|")


def test_a_report_says_the_note_and_the_devices_and_draws_the_curves_that_are_asked_for(tmp_path, study):
    cell = study.cells()[0]
    budget = dict(cell.labels)["budget"]
    row = ROWS[0] | {"cell": cell.key, "seed": 0, "budget": budget, "device": "a GPU", "asked": 0.5}
    for name, rows in (
        ("cells.csv", [row]),
        ("epochs.csv", [{"cell": cell.key, "epoch": e, "loss": 1 / e, "error": 0.1, "deployed": 0.5} for e in (1, 2)]),
    ):
        recorder = Recorder()
        for one in rows:
            recorder.append(**one)
        recorder.to_csv(tmp_path / name)
    files = write_report(tmp_path, replace(study, note="A note.", curves={budget: ["b", "a"], "third": ["a"]}))
    assert [path.name for path in files] == [TABLE, "methods-mlp.png", "curves-half.png"]
    head = files[0].read_text().split("\n\n")
    assert head[0] == "# Methods side by side: mnist" and head[2] == "A note. Trained on a GPU."
    assert head[3].startswith("**half**")


def test_below_a_budget_stands_what_has_no_number_and_why(tmp_path, study):
    cells = [cell for cell in study.cells() if dict(cell.labels)["budget"] == "half"]
    (done, failed, *open_), labels = cells, [dict(cell.labels)["label"] for cell in cells]
    rows = Recorder([ROWS[0] | {"cell": done.key, "label": labels[0], "budget": "half", "seed": 0}])
    rows.append(cell=failed.key, problem="the loss is nan")
    rows.to_csv(tmp_path / CELLS)
    assert open_ and remarks(tmp_path, study) == {
        "half": f"Not trained: seed 1 of every method.\n\nFailed: {labels[1]}: the loss is nan.",
        "third": "Not trained: seeds 0, 1 of every method.",
    }
    more = Recorder([*rows, ROWS[0] | {"cell": open_[0].key, "seed": 1}])
    more.to_csv(tmp_path / CELLS)
    assert remarks(tmp_path, study)["half"].startswith(f"Not trained: seed 1 of {labels[1]}.\n\n")
    others = {"third": "Not there.", "fourth": "Failed: a: b.", "last": "Not there."}
    text = table([*rows.rows[:1]], remarks={"half": "Not here.", **others})
    assert text.endswith("\nNot here.\n\n**third; last**\n\nNot there.\n\n**fourth**\n\nFailed: a: b.\n")


def test_above_all_stands_which_methods_are_at_some_budgets_alone(study):
    methods = dict(study.methods) | {"elsewhere": {"why": "a control"}, "there": {"why": "a control"}}
    assert said(ROWS, replace(study, methods=methods)) == "Not at every budget:\n\n- elsewhere; there: a control\n\n"
    assert said(ROWS, study) == ""
