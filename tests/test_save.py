"""A purged model through its folder: the same to the bit, both files or none, and tied tensors once."""

import copy
import json

import pytest
import safetensors.torch
import torch
from decoders import IDS, decoder
from plans import same, snapshot
from purged import CASES, purge_anywhere
from torch import nn

import lzero
from lzero.errors import StructureError
from lzero.purge import PurgeResult
from lzero_lab.models import MLP, LeNet5

pytestmark = pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")  # of trainings that never were
FILES = {"model.safetensors", "lzero.json"}


def equal(one, two):
    """Every tensor, also those that no state dict has, under the same names."""
    tables = [{**dict(m.named_parameters(remove_duplicate=False)), **dict(m.named_buffers())} for m in (one, two)]
    assert tables[0].keys() == tables[1].keys()
    for name, tensor in tables[0].items():
        other = tables[1][name]
        assert (tensor.dtype, tensor.shape) == (other.dtype, other.shape) and tensor.equal(other), name
    assert list(one.state_dict()) == list(two.state_dict())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_purged_model_comes_back_to_the_bit(case, tmp_path):
    build, shape, granularity = CASES[case]
    x = torch.randn(shape)
    result = purge_anywhere(build, x, granularity)
    lzero.save_purged(result, tmp_path / "small")
    assert {path.name for path in (tmp_path / "small").iterdir()} == FILES
    fresh = build()
    again = lzero.load_purged(fresh, tmp_path / "small")
    assert again is fresh and again.eval()(x).equal(result.model.eval()(x))
    equal(again, result.model)
    said = json.loads((tmp_path / "small" / "lzero.json").read_text())
    assert said["class"] == type(fresh).__name__ and said["granularity"] == {"": granularity}
    assert said["certificate"] == result.certificate.to_dict()
    assert said["before"] == {name: list(tensor.shape) for name, tensor in build().state_dict().items()}
    assert {name: total for name, (total, _) in said["kept"].items()} == {k: len(m) for k, m in result.kept.items()}


def test_other_libraries_read_the_weights(tmp_path):
    result = purge_anywhere(*CASES["mlp, inputs"][:1], torch.randn(4, 12), "input")
    lzero.save_purged(result, tmp_path)
    state = safetensors.torch.load_file(tmp_path / "model.safetensors")
    equal(lzero.load_purged(MLP(12, (9, 7), 3), state), result.model)
    plain = copy.deepcopy(result.model)
    plain.load_state_dict(state)


class Odd(nn.Module):
    """Buffers of every kind, one that is not saved, one of no dims; tied weights; a convolution in channels_last."""

    def __init__(self):
        super().__init__()
        self.conv, self.mix = nn.Conv2d(1, 6, 3).to(memory_format=torch.channels_last), nn.Conv2d(6, 4, 1)
        self.one, self.two = nn.Linear(4, 5, bias=False), nn.Linear(4, 5)
        self.two.weight = self.one.weight
        self.register_buffer("halves", torch.randn(3).half())
        self.register_buffer("brain", torch.randn(3).bfloat16())
        self.register_buffer("wide", torch.randn(3).double())
        self.register_buffer("phase", torch.randn(3, dtype=torch.complex64))
        self.register_buffer("bytes", torch.arange(3, dtype=torch.int8))
        self.register_buffer("flags", torch.tensor([True, False]))
        self.register_buffer("temperature", torch.tensor(0.5))
        self.register_buffer("shift", torch.randn(6, 1, 1), persistent=False)

    def forward(self, x):
        x = self.mix(torch.relu(self.conv(x)) + self.shift).mean((2, 3))
        return self.one(x) + self.two(x) * self.temperature


def test_buffers_of_any_kind_and_tied_weights_come_back(tmp_path):
    x = torch.randn(2, 1, 5, 5)
    result = purge_anywhere(Odd, x, "unit")
    assert result.model.shift.shape[0] < 6  # saved from now on: nothing else knows which channels are left
    lzero.save_purged(result, tmp_path)
    assert "two.weight" not in safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert json.loads((tmp_path / "lzero.json").read_text())["tied"] == [["one.weight", "two.weight"]]
    again = lzero.load_purged(Odd(), tmp_path)
    equal(again, result.model)
    assert again.one.weight is again.two.weight and again.eval()(x).equal(result.model.eval()(x))
    assert again.conv.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_saved_precision_is_loaded(dtype, tmp_path):
    result = purge_anywhere(lambda: MLP(12, (9, 7), 3).to(dtype), torch.randn(4, 12, dtype=dtype), "input")
    lzero.save_purged(result, tmp_path)
    equal(lzero.load_purged(MLP(12, (9, 7), 3), tmp_path), result.model)


def test_a_decoder_with_tied_embeddings_comes_back_by_the_folder_and_by_a_state_of_any_one_name(tmp_path):
    result = purge_anywhere(lambda: decoder("gpt2"), IDS, "unit", target=0.6)
    expected = result.model.eval()(**IDS).logits
    lzero.save_purged(result, tmp_path)
    state = result.model.state_dict()
    names = ["lm_head.weight", "transformer.wte.weight"]
    assert state[names[0]].data_ptr() == state[names[1]].data_ptr()
    saved = [tmp_path, safetensors.torch.load_file(tmp_path / "model.safetensors"), state]
    for way in [*saved, *({key: value for key, value in state.items() if key != name} for name in names)]:
        again = lzero.load_purged(decoder("gpt2"), way).eval()
        assert again(**IDS).logits.equal(expected)
        assert again.lm_head.weight is again.transformer.wte.weight


def test_a_model_that_was_not_purged_comes_back_too(tmp_path):
    whole = purge_anywhere(*CASES["mlp, units"][:1], torch.randn(4, 12), "unit")
    dense = PurgeResult(MLP(12, (4, 3), 3), whole.certificate, {})
    lzero.save_purged(dense, tmp_path)
    equal(lzero.load_purged(MLP(12, (4, 3), 3), tmp_path), dense.model)
    with pytest.raises(StructureError, match=r"fc1\.weight: .* purged from a model with shape \[4, 12\]"):
        lzero.load_purged(MLP(12, (9, 7), 3), tmp_path)


@pytest.fixture(scope="module")
def result():
    return purge_anywhere(lambda: LeNet5(1, 8, (4, 6), 10, 3), torch.randn(2, 1, 8, 8), "input")


def test_saving_changes_nothing(result, tmp_path):
    before = snapshot(result.model)
    lzero.save_purged(result, tmp_path)
    same(before, snapshot(result.model))


@pytest.mark.parametrize("step", ["write_weights", "digest", "Description"])
def test_a_fault_leaves_the_older_save_as_it_was(step, result, tmp_path, monkeypatch):
    folder = tmp_path / "small"
    other = purge_anywhere(*CASES["mlp, units"][:1], torch.randn(4, 12), "unit")

    def fails(*_, **__):
        raise OSError(28, "No space left on device")

    for older in (False, True):
        if older:
            lzero.save_purged(result, folder)
            (folder / "notes.txt").write_text("mine")
        content = {path.name: path.read_bytes() for path in folder.iterdir()} if older else {}
        with monkeypatch.context() as patch:
            patch.setattr(f"lzero.save.{step}", fails)
            with pytest.raises(StructureError, match=r"small: cannot be written .*No space left.*a folder of yours"):
                lzero.save_purged(other, folder)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == content
    lzero.save_purged(other, folder)
    assert {path.name for path in folder.iterdir()} == {*FILES, "notes.txt"}
    equal(lzero.load_purged(MLP(12, (9, 7), 3), str(folder)), other.model)


def test_what_cannot_be_saved_is_refused(result, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StructureError, match=r"file: cannot be written"):
        lzero.save_purged(result, tmp_path / "file")
    with pytest.raises(StructureError, match="folder: expected the name of a folder, found 3"):
        lzero.save_purged(result, 3)
    with pytest.raises(StructureError, match="cannot be written"):
        lzero.save_purged(result, "a\0b")
    with pytest.raises(StructureError, match=r"expected what lzero\.purge returned, found LeNet5"):
        lzero.save_purged(result.model, tmp_path)
    odd = copy.deepcopy(result.model)
    odd.register_buffer("phase", torch.ones(2, dtype=torch.complex128))
    with pytest.raises(StructureError, match="phase: safetensors has no complex128"):
        lzero.save_purged(PurgeResult(odd, result.certificate, {}), tmp_path / "odd")
    assert not list((tmp_path / "odd").iterdir())
    monkeypatch.chdir(tmp_path / "odd")
    lzero.save_purged(result, ".")
    equal(lzero.load_purged(LeNet5(1, 8, (4, 6), 10, 3), "."), result.model)
