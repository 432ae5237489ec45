"""The comparison of units, width and depth: its rows are what is shipped, and its page is what the rows say."""

import importlib.util
import time
from dataclasses import replace
from pathlib import Path

import axes
import axes_data
import axes_page
import axes_training as training
import pytest
import torch
from axes_models import build, parameters, shape_of
from cifar import write_archive
from torch.nn import functional as F

import lzero
from lzero.recorder import Recorder
from lzero_lab.datasets import dataset
from lzero_lab.datasets.cifar10 import ARCHIVE

pytestmark = pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")  # trainings of a few steps, and of none
ROOT = Path(__file__).parents[2]
SMALL = training.PRESETS["small"]
CELL = training.Cell("small", "gpt", "width", 0.5, 4, 3e-3, 0)
SHIPPED = ("parameters", "share", "width", "blocks", "heads", "hidden", "test_loss")


@pytest.fixture(scope="module")
def text():
    return training.task_of("small", "gpt", "", "cpu")


def test_the_modules_of_the_library_lie_whole_in_one_part_each():
    found = axes_data.sources()
    sizes = {part: len(text) for part, text in found.items()}
    assert sizes == {part: len(text) for part, text in axes_data.sources().items()}
    assert all(0.03 < sizes[part] / sum(sizes.values()) < 0.2 for part in axes_data.PARTS)
    own = Path(importlib.util.__file__).read_bytes()
    assert sum(own in text for text in found.values()) == 1


@pytest.mark.parametrize(("task", "share"), [("gpt", 0.5), ("vit", 0.2)])
def test_a_dense_network_of_the_same_size_is_the_widest_that_fits(task, share):
    def count(shape):
        return parameters(build(task, shape, preset.context))

    preset = training.PRESETS["full"]
    shape = training.narrower(task, preset, share)
    wider = type(shape).regular(shape.width + 1, preset.blocks, preset.head_width)
    assert count(shape) <= share * count(preset.shape) < count(wider)


@pytest.mark.parametrize("task", ["gpt", "vit"])
def test_a_network_of_the_shape_of_a_purged_one_has_its_tensors(task):
    model = build(task, SMALL.shape, SMALL.context)
    gates = lzero.attach_gates(model, training.plan_of("small", task, "width+depth"))
    with torch.no_grad():
        gates.log_alpha.normal_(2, 3, generator=torch.Generator().manual_seed(0))
        for name in ("blocks", "blocks.*.attention", "blocks.*.mlp"):
            gates[name].fill_(5)
        gates["blocks"][0] = gates["blocks.*.attention"][2] = -9
    purged = lzero.purge(model).model
    shape = shape_of(purged, SMALL.head_width)
    assert len(shape.heads) == SMALL.blocks - 1 and shape.width < SMALL.width
    assert [bool(heads) for heads in shape.heads] == [True, False, True, True, True] and all(shape.hidden)
    plain = build(task, shape, SMALL.context)
    assert {name: p.shape for name, p in plain.named_parameters()} == {
        name: p.shape for name, p in purged.named_parameters()
    }


def test_a_row_is_of_what_is_shipped(text):
    row = training.train(CELL, "", "cpu", float("inf"))
    assert CELL.in_(row) and 0 <= 0.5 - row["share"] < 0.01
    plain = build("gpt", training.shape_in(row), SMALL.context)
    assert row["parameters"] == parameters(plain) == round(row["share"] * training.size("gpt", SMALL.shape, SMALL))
    again = training.train(CELL, "", "cpu", float("inf"))
    assert {name: row[name] for name in SHIPPED} == {name: again[name] for name in SHIPPED}


def test_losses_and_errors_are_means_over_all_predictions(text):
    model = build("gpt", SMALL.shape, SMALL.context).eval()
    loss, error = training.evaluate(model, text, "test")
    with torch.no_grad():
        outputs, y = model(text.held["test"][:, :-1]), text.held["test"][:, 1:]
    assert loss == pytest.approx(float(F.cross_entropy(outputs.transpose(1, 2), y)), rel=1e-5)
    assert error == pytest.approx(float((outputs.argmax(-1) != y).float().mean()), rel=1e-6)


def test_a_training_that_would_be_late_is_given_up(text, monkeypatch):
    monkeypatch.setattr(training, "LOOK", 2)
    assert training.train(replace(CELL, steps=1_000_000), "", "cpu", time.time() + training.SPARE + 5) is None
    assert training.train(CELL, "", "cpu", time.time() - 1) is None


def test_images_are_learned_from_a_decoded_archive(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "VALIDATION_IMAGES", 16)
    write_archive(tmp_path / ARCHIVE)
    file = axes_data.decoded(tmp_path, tmp_path / "cifar10.pt")
    row = training.train(replace(CELL, task="vit", granularity="dense"), str(file), "cpu", float("inf"))
    assert row["share"] <= 0.5 and row["data"] == "cifar10" and 0 <= row["test_error"] <= 1


def test_every_finished_training_is_a_row_and_none_is_repeated(text, tmp_path, capsys):
    out = tmp_path / "axes.csv"
    asked = ["--small", "--tasks", "gpt", "--shares", "0.5", "--seeds", "0", "--steps", "3", "--device", "cpu"]
    asked += ["--out", str(out), "--granularities", "width", "nonsense"]
    axes.main(asked)
    rows = Recorder.from_csv(out).rows
    assert [(row["granularity"], row["asked"]) for row in rows] == [("dense", 1), ("dense", 0.5), ("width", 0.5)]
    assert capsys.readouterr().out.count("StructureError: granularity") == 1  # what fails stops no other
    axes.main(asked)
    assert Recorder.from_csv(out).rows == rows
    axes.main(["--small", "--speed", "--pairs", "1", "--device", "cpu", "--out", str(out)])
    timed = Recorder.from_csv(out).rows
    assert all(row["cpu_1"] > 0 and row["cpu_32_ms"] > 0 for row in timed)
    assert out.with_suffix(".md").read_text(encoding="utf-8") == axes_page.page(timed)
    assert out.with_suffix(".png").stat().st_size > 10_000


def made(granularity, asked, loss, *, lr=1e-3, seed=0):
    """A row of a training of the ViT."""
    row = {
        "task": "vit",
        "granularity": granularity,
        "asked": asked,
        "lr": lr,
        "seed": seed,
        "steps": 9,
        "share": asked,
    }
    row |= {"width": 8, "blocks": 2, "heads": "2 1", "hidden": "5 0", "validation_loss": loss + 1, "test_error": 0.25}
    return row | {"test_loss": loss, "cpu_32": 1 / asked}


def test_the_page_says_which_kind_costs_least():
    rows = [made("dense", 1, 0.5), made("dense", 1, 0.4, lr=2e-3)]
    rows += [made("unit", 0.2, loss, lr=2e-3, seed=seed) for seed, loss in enumerate((0.7, 0.9))]
    rows += [made("width", 0.2, 0.75, lr=2e-3)]
    page = axes_page.page(rows)
    assert "by rate: rate 0.001: 1.500; rate 0.002: 1.400." in page
    assert "At 20% the least loss of what is gated: units and width; the most: units." in page
    assert "| 20% | units | 20.00% | 0.800 ± 0.141 | 25.0% ± 0.0% | 8 | 2.0 | 3.0 | 3 | 5 | 5.00 | 2 |" in page
    assert page.count("dense, whole") == 1  # at the rate that was chosen


def test_the_committed_page_is_what_its_rows_say():
    file = ROOT / "figures" / "axes.csv"
    if not file.exists():
        pytest.skip("no row yet")
    assert file.with_suffix(".md").read_text(encoding="utf-8") == axes_page.page(Recorder.from_csv(file).rows)


def test_the_length_of_trainings_follows_from_a_trial(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("gpu_session", ROOT / "benchmarks" / "gpu_session.py")
    session = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(session)

    def trial(script, *arguments):
        recorder = Recorder()
        for milliseconds in (10.0, 30.0):
            recorder.append(step_ms=milliseconds)
        recorder.to_csv(tmp_path / "trial.csv")

    monkeypatch.setattr(session, "run", trial)
    options = session.parse(["--jobs", "16", "--granularities", "unit", "--shares", "0.5", "--seeds", "0"])
    # 10 trainings (4 of a rate; of two tasks the whole, one of half the size, one with gates), 100 steps a second
    steps = session.planned([], options, tmp_path, 100 + session.STARTING + 1)
    assert steps == session.SPARE * 100 * 100 / 10
