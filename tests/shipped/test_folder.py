"""The folder of a purged model when it is damaged: an error that says so, and a model that stays as it was."""

import json
import os
import shutil

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plans import same, snapshot
from purged import CASES, purge_anywhere

import lzero
from lzero.errors import StructureError
from lzero.shipped.description import _digest
from lzero.shipped.folder import read_saved
from lzero.shipped.weights import digest
from lzero_lab.models import MLP

pytestmark = pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")  # of trainings that never were
BUILD = CASES["mlp, inputs"][0]


@pytest.fixture(scope="module")
def result():
    return purge_anywhere(BUILD, torch.randn(4, 12), "input")


@pytest.fixture(scope="module")
def good(result, tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    lzero.save_purged(result, folder)
    return folder


@pytest.fixture
def folder(good, tmp_path):
    return shutil.copytree(good, tmp_path / "saved")


def refused(folder, message, model=None):
    model = BUILD() if model is None else model
    before = snapshot(model)
    with pytest.raises(StructureError, match=message):
        lzero.load_purged(model, folder)
    same(before, snapshot(model))


def tampered(folder, change):
    """The description after ``change``, with a checksum that is right again."""
    values = json.loads((folder / "lzero.json").read_text())
    del values["sha256"]
    change(values)
    (folder / "lzero.json").write_text(json.dumps(values | {"sha256": _digest(values)}))


def test_it_is_read_with_all_names(result, good):
    description, state = read_saved(good)
    assert description.origin == result.origin and description.library == lzero.__version__
    assert state.keys() == result.model.state_dict().keys()
    assert all(state[name].equal(tensor) for name, tensor in result.model.state_dict().items())


def test_missing_files_are_named(folder):
    refused(folder / "nowhere", r"nowhere: not readable as a purged model \(no such folder\); name a folder that lzero")
    refused(folder / "lzero.json", r"lzero\.json: not readable as a purged model \(no such folder\)")
    refused("a\0b", "not readable as a purged model")
    refused("x" * 5000, "not readable as a purged model")
    refused("", "folder: expected the name of a folder, found ''")
    for name in ("model.safetensors", "lzero.json"):
        (folder / name).rename(folder / "away")
        refused(folder, rf"not readable as a purged model .*{name}")
        (folder / "away").rename(folder / name)
    assert lzero.load_purged(BUILD(), folder)


def test_a_mix_of_two_saves_is_noticed(folder, tmp_path):
    other = purge_anywhere(BUILD, torch.randn(4, 12), "input", target=0.5)
    lzero.save_purged(other, tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.safetensors", folder)
    refused(folder, r"model\.safetensors: expected the [\d,]+ bytes that lzero\.json is written for, found")


def test_a_save_that_breaks_off_between_its_files_is_noticed_and_can_be_done_again(folder, monkeypatch):
    other = purge_anywhere(BUILD, torch.randn(4, 12), "input", target=0.5)
    replace, calls = os.replace, []

    def breaks(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("lzero.files.os.replace", breaks)
        with pytest.raises(StructureError, match=r"cannot be written .*Input/output error"):
            lzero.save_purged(other, folder)
    assert [path.name for path in calls] == ["model.safetensors", "lzero.json"]
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "lzero.json"}
    refused(folder, "damaged, or of another save")
    lzero.save_purged(other, folder)
    lzero.load_purged(BUILD(), folder)


@pytest.mark.parametrize("length", [0, 7, 100, -3])
def test_truncated_files_are_noticed(length, folder):
    for name, message in (
        ("model.safetensors", "bytes that lzero.json is written for"),
        ("lzero.json", r"lzero\.json: (not readable|damaged)"),
    ):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:length])
        refused(folder, message)
        (folder / name).write_bytes(whole)


def test_bytes_that_are_no_words_are_noticed(folder):
    (folder / "lzero.json").write_bytes(b"\xff\xfe\x00")
    refused(folder, "not readable as a purged model .*utf-8")


def test_another_model_is_refused_by_its_class_and_by_its_shapes(folder):
    refused(folder, r"saved: holds a purged MLP, found a Linear", torch.nn.Linear(12, 3))
    refused(folder, r"fc1\.weight: .*from a model with shape \[9, 12\], found \[9, 13\]", MLP(13, (9, 7), 3))
    refused(folder, r"fc4\.weight: .*no such tensor, found", MLP(12, (9, 7, 3), 3))


def rename(table, old, new):
    table[new] = table.pop(old)


TAMPERED = {
    "a shape": (lambda v: v["tensors"]["fc2.bias"][1].append(1), r"fc2\.bias: .* has float32 .*lzero\.json says"),
    "a dtype": (lambda v: v["tensors"]["fc2.bias"].__setitem__(0, "float64"), r"fc2\.bias: .*says float64"),
    "a name": (lambda v: rename(v["tensors"], "fc2.bias", "fc9.bias"), r"fc9\.bias: .* has none"),
    "one less": (lambda v: v["tensors"].pop("fc2.bias"), r"fc2\.bias: .*lzero\.json says none"),
    "a tie": (lambda v: v["tied"].append(["fc1.linear.bias", "fc2.bias"]), r"tied to fc2\.bias, but not saved once"),
    "a tie to nothing": (lambda v: v["tied"].append(["fc9.bias", "x"]), r"fc9\.bias: tied to x, but not saved once"),
    "one name more": (lambda v: v["tied"].append(["fc2.bias", "fc9.bias"]), r"unknown fc9\.bias"),
    "what it was": (lambda v: v["before"].update({"fc1.weight": [9, 13]}), r"fc1\.weight: .* with shape \[9, 13\]"),
    "its class": (lambda v: v.update({"class": "LeNet5"}), "holds a purged LeNet5, found a MLP"),
    "the weights": (lambda v: v["weights"].__setitem__(0, 5), "expected the 5 bytes"),
}


@pytest.mark.parametrize("case", TAMPERED, ids=str)
def test_a_description_of_something_else_is_refused(case, folder):
    change, message = TAMPERED[case]
    tampered(folder, change)
    refused(folder, message)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_are_an_error_and_never_another_model(data, good, tmp_path):
    """Bytes replaced, removed, inserted or cut off in either file."""
    folder = tmp_path / "fuzzed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder)
    path = folder / data.draw(st.sampled_from(["model.safetensors", "lzero.json"]))
    whole = path.read_bytes()
    start = data.draw(st.integers(0, len(whole)))
    end = min(start + data.draw(st.integers(0, 20)), len(whole))
    spoilt = whole[:start] + data.draw(st.binary(max_size=20)) + whole[end:]
    path.write_bytes(spoilt)
    unharmed(folder, good, spoilt == whole or _same_json(spoilt, whole))


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_weights_that_somebody_made_up_are_an_error_or_numbers(data, good, tmp_path):
    """Damaged weights with a description that says they are right: other numbers at the most, of the same shapes."""
    folder = tmp_path / "fuzzed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder)
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    start = data.draw(st.integers(0, len(whole)))
    end = min(start + data.draw(st.integers(0, 8)), len(whole))
    path.write_bytes(whole[:start] + data.draw(st.binary(max_size=8)) + whole[end:])
    tampered(folder, lambda values: values.update(weights=[path.stat().st_size, digest(path)]))
    model = BUILD()
    before = snapshot(model)
    try:
        lzero.load_purged(model, folder)
    except lzero.LzeroError:
        same(before, snapshot(model))
    else:
        wanted = lzero.load_purged(BUILD(), good)
        assert {n: t.shape for n, t in model.state_dict().items()} == {
            n: t.shape for n, t in wanted.state_dict().items()
        }
        assert model(torch.randn(4, 12)).shape == (4, 3)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=4), inside, max_size=3),
    max_leaves=6,
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_anywhere_in_the_description_is_an_error_and_never_another_model(data, good, tmp_path):
    """With a checksum that is right, so that what is read has to be looked at."""
    folder = tmp_path / "fuzzed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder)

    def change(values):
        table, place = values, data.draw(st.sampled_from(sorted(values)))
        while isinstance(table[place], dict | list) and table[place] and data.draw(st.booleans()):
            table = table[place]
            keys = sorted(table) if isinstance(table, dict) else range(len(table))
            place = data.draw(st.sampled_from(keys))
        table[place] = data.draw(VALUES)

    tampered(folder, change)
    unharmed(folder, good, None)


def unharmed(folder, good, loads):
    """Loading ``folder`` fails without a trace, or gives what ``good`` does; ``loads`` says which, None either."""
    model = BUILD()
    before = snapshot(model)
    try:
        lzero.load_purged(model, folder)
    except lzero.LzeroError:
        assert not loads
        same(before, snapshot(model))
    else:
        assert loads is not False
        wanted = lzero.load_purged(BUILD(), good).state_dict()
        assert list(model.state_dict()) == list(wanted)
        assert all(tensor.equal(wanted[name]) for name, tensor in model.state_dict().items())


def _same_json(one, two):
    try:
        return json.loads(one.decode("utf-8")) == json.loads(two)
    except ValueError:
        return False
