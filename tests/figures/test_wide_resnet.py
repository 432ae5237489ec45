"""The study of wide residual networks, a few steps of it: rows, resumption, the network that it ships."""

import importlib.util
import itertools
from pathlib import Path

import pytest
import torch
from cifar import write_archive

import lzero
from lzero.recorder import Recorder
from lzero_lab import datasets
from lzero_lab.datasets import dataset
from lzero_lab.datasets.cifar10 import ARCHIVE
from lzero_lab.models.wide_resnet import WideResNet

SCRIPT = Path(__file__).parents[2] / "figures" / "wide_resnet.py"
STEPS = 8  # of batches of 8 of 44 images: an epoch of 6 and a part of one


@pytest.fixture(scope="module")
def study():
    spec = importlib.util.spec_from_file_location("wide_resnet_study", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "VALIDATION_IMAGES", 16)
    write_archive(tmp_path / ARCHIVE)
    small = ["--depth", "10", "--width", "1", "--batch-size", "8", "--device", "cpu", "--gate-lr", "0.1"]

    def made(*methods, out="study.csv", **further):
        extra = [text for key, value in further.items() for text in (f"--{key}", str(value))]
        folder = tmp_path / Path(out).stem
        return [*small, "--steps", str(STEPS), "--data-dir", str(tmp_path), "--out", str(tmp_path / out),
                "--folder", str(folder), *extra, "--methods", *methods]  # fmt: skip

    return made


def test_every_finished_training_is_a_row_and_none_is_repeated(study, arguments, tmp_path, capsys):
    methods = ("dense", "constrained-0.5", "penalized-0.001", "arm-penalized-0.001")
    study.main(arguments(*methods))
    rows = Recorder.from_csv(tmp_path / "study.csv").rows
    assert [row["method"] for row in rows] == list(methods)
    assert "constrained-0.5, seed 0, epoch 2: loss" in capsys.readouterr().out
    dense, constrained, penalized, arm = rows
    ten_classes = dense["parameters"] + 7 * 65  # the archive of this test has three
    assert dense["parameters_share"] == dense["macs_share"] == 1 and "asked" not in dense
    assert 0 < constrained["asked"] - constrained["parameters_share"] < 0.02 and constrained["macs_share"] < 0.8
    assert penalized["coefficient"] == arm["coefficient"] == pytest.approx(0.001 * ten_classes / 50_000)
    assert all(row["largest_difference"] < 1e-4 for row in rows)
    epochs = [Recorder.from_csv(path) for path in (tmp_path / "study").glob("*-epochs.csv")]
    assert len(epochs) == 4 and sum("deployed" in table.columns for table in epochs) == 3
    assert all(table.column("step") == [6, 8] and "error" in table.columns for table in epochs)

    study.main(arguments(*methods))
    assert capsys.readouterr().out == "" and Recorder.from_csv(tmp_path / "study.csv").rows == rows


@pytest.mark.parametrize("method", ["constrained-0.2", "arm-constrained-0.5"])
def test_a_study_that_was_stopped_goes_on_to_the_same_numbers(study, arguments, tmp_path, monkeypatch, method):
    study.main(arguments(method, out="whole.csv"))
    clock = itertools.count(step=1800)  # half an hour a look: time for one epoch
    with monkeypatch.context() as patch:
        patch.setattr(study.time, "time", lambda: float(next(clock)))
        study.main(arguments(method, hours=0.6))
    assert not (tmp_path / "study.csv").exists()
    (saved,) = (tmp_path / "study").glob("*.pt")
    study.main(arguments(method))
    assert not saved.exists()
    (row,), (whole,) = (Recorder.from_csv(tmp_path / name).rows for name in ("study.csv", "whole.csv"))
    assert row | {"seconds": 0} == whole | {"seconds": 0}


def test_what_is_shipped_is_the_gated_network(study, arguments, tmp_path):
    options = study.parse(arguments("constrained-0.5"))
    data = datasets.load("cifar10", tmp_path)
    training = study.train(study.recipe(options, "constrained-0.5", 0), data)
    row = study.shipped(training, tmp_path / "purged.pt")
    result = lzero.purge(training.model)
    assert set(result.kept) == {f"stages.{stage}.0.conv1" for stage in range(3)}  # no residual stream
    open_ = torch.cat([result.kept[name] for name in training.gates.slices])
    training.model.eval()
    with training.gates.fixed(training.gates.evaluate(open_)), torch.no_grad():
        gated = training.model(data.test_x)
    with torch.no_grad():
        torch.testing.assert_close(result.model.eval()(data.test_x), gated, rtol=1e-4, atol=1e-4)
        small = lzero.load_purged(
            WideResNet(10, 1, classes=3).to(memory_format=torch.channels_last),
            torch.load(tmp_path / "purged.pt", weights_only=True),
        ).eval()
        assert small(data.test_x).equal(result.model(data.test_x))
    assert row["parameters"] == sum(parameter.numel() for parameter in small.parameters())
    widths = [int(result.kept[f"stages.{stage}.0.conv1"].sum()) for stage in range(3)]
    inner = zip((16, 16, 32), (16, 32, 64), (32, 16, 8), widths, strict=True)  # read, made, resolution, kept between
    macs = 9 * 3 * 16 * 32**2 + 64 * 3 + 16 * 32 * 16**2 + 32 * 64 * 8**2
    assert row["macs"] == macs + sum(9 * kept * (read + made) * side**2 for read, made, side, kept in inner)


def test_a_missing_archive_ends_it_with_the_way_out(study, arguments, tmp_path):
    (tmp_path / ARCHIVE).unlink()
    with pytest.raises(SystemExit, match="put the archive there"):
        study.main(arguments("dense"))


def test_a_published_lambda_is_per_parameter_and_example(study):
    assert study.coefficient(28, 10, 0.001) == pytest.approx(0.001 * 36_479_194 / 50_000)  # 0.73
