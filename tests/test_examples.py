"""The examples: each ends at its budget, beside the dense network, with a figure, and says so in the same words."""

import re
import runpy
import warnings
from pathlib import Path

import pytest
import side_by_side
import torch
from torch.utils.data import TensorDataset

import lzero

FOLDER = Path(__file__).parent.parent / "examples"
EXAMPLES = [path for path in sorted(FOLDER.glob("*.py")) if path.stem != "side_by_side"]
EACH = pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
NEEDS = {  # frameworks of integrations, beside those of the extra dev
    "accelerate_digits": ("accelerate",),
    "fabric_digits": ("lightning",),
    "lightning_digits": ("lightning",),
    "peft_digits": ("peft",),
    "transformers_digits": ("transformers", "accelerate"),
}
ERRORS = re.compile(r"^(dense|purged): test error ([0-9.]+)%, ([0-9,]+) parameters$", re.MULTILINE)


def check(stem, names, said):
    """What holds of every example, whatever its length."""
    certificate = names["result"].certificate
    asked, shipped = certificate.asked["params"], certificate.deployed["params"]
    assert asked == names["DENSITY"] and 0 <= asked - shipped < 0.01
    assert f"asked {asked:.2%}" in said
    found = {name: (float(error), int(size.replace(",", ""))) for name, error, size in ERRORS.findall(said)}
    assert [*found] == ["dense", "purged"] and found["purged"][1] < found["dense"][1]
    figure = Path("runs", "examples", f"{stem}.png")
    assert f"figure: {figure}\n" in said and figure.read_bytes().startswith(b"\x89PNG")
    return found


@pytest.mark.slow
@EACH
def test_an_example_trains_to_what_it_asks_for_and_ships_it(example, tmp_path, monkeypatch, capsys, recwarn):
    for package in NEEDS.get(example.stem, ()):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path(str(example))
    said = capsys.readouterr().out
    found = check(example.stem, names, said)
    certificate = names["result"].certificate
    assert abs(certificate.before_settling["params"] - names["DENSITY"]) < 0.01
    assert not certificate.warnings and not [w for w in recwarn if issubclass(w.category, lzero.LzeroWarning)]
    (dense, _), (purged, _) = found.values()
    assert dense < 6 and purged < dense + 2.5
    assert example.stem != "transformers_digits" or "the same logits to the bit" in said


@pytest.mark.parametrize("stem", ["plain_loop", "cooper_roll"])
def test_two_epochs_end_at_the_budget_too(stem, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = (FOLDER / f"{stem}.py").read_text(encoding="utf-8")
    short = source.replace("EPOCHS = 0.10, 40", "EPOCHS = 0.10, 2")
    assert short != source
    names = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lzero.LzeroWarning)  # two epochs are few
        exec(compile(short, stem, "exec"), names)
    check(stem, names, capsys.readouterr().out)


@EACH
def test_an_example_has_one_density_and_ends_in_the_same_comparison(example):
    text = example.read_text(encoding="utf-8")
    assert len(re.findall(r"^DENSITY, ", text, re.MULTILINE)) == 1 and not re.search(r"density=0|Budget\(0", text)
    assert f'show("{example.stem}", dense' in text
    assert len(text.splitlines()) <= 90


def test_the_plain_loop_is_the_dense_one_and_four_numbered_lines():
    text = (FOLDER / "plain_loop.py").read_text(encoding="utf-8")
    dense, gated = text.split("\n\n")[-3:-1]
    lines = [line for line in gated.splitlines() if not re.search(r"  # \d$", line)]
    assert "\n".join(lines) == dense.replace("dense", "model")
    assert re.findall(r"  # (\d)$", text, re.MULTILINE) == ["1", "2", "3", "4"]
    assert len(text.splitlines()) < 40


def test_the_data_of_the_examples_are_all_digits_once_and_its_error_is_counted():
    train, test = side_by_side.TRAIN, side_by_side.TEST
    assert (len(train), len(test)) == (1400, 397) and len(side_by_side.IMAGES) == 1797
    assert torch.equal(torch.cat([train.tensors[1], test.tensors[1]]), side_by_side.LABELS)
    four = TensorDataset(torch.eye(4), torch.tensor([0, 1, 2, 0]))
    assert side_by_side.error(torch.nn.Identity(), four) == 0.25
    assert side_by_side.error(torch.nn.Identity(), four, lambda model, x: -model(x)) > 0.5


def test_a_network_of_a_seed_is_drawn_again_alike():
    first, again, other = side_by_side.network(), side_by_side.network(0), side_by_side.network(1)
    assert torch.equal(first.fc1.weight, again.fc1.weight) and not torch.equal(first.fc1.weight, other.fc1.weight)
    assert sum(parameter.numel() for parameter in first.parameters()) == 50_610
