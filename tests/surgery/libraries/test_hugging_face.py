"""A gated model in files that stock loading refuses; a purged one whose configuration says what was kept."""

import copy

import pytest
import torch

transformers = pytest.importorskip("transformers")

from integrations.transformers.tiny import MODELS, build, close, gated, half, inputs, purged, ragged, same  # noqa: E402

import lzero  # noqa: E402


@pytest.mark.parametrize("name", MODELS)
def test_stock_loading_refuses_a_gated_model(name, tmp_path):
    model = gated(name)
    model.save_pretrained(tmp_path)
    with pytest.raises(RuntimeError, match="mismatch"):
        type(model).from_pretrained(tmp_path)


@pytest.mark.parametrize("name", MODELS)
def test_a_gated_model_loads_what_its_files_call_otherwise(name, tmp_path):
    from safetensors.torch import load_file

    model, other = gated(name), gated(name, seed=3)
    model.load_state_dict(model.state_dict())  # strict
    model.save_pretrained(tmp_path)
    found = other.load_state_dict(load_file(tmp_path / "model.safetensors"), strict=False)
    tied = {"lm_head.weight", "model.embed_tokens.weight", "transformer.wte.weight", "shared.weight"}
    assert not found.unexpected_keys and {key for key in found.missing_keys if "embed" not in key} <= tied
    assert same(other, model, name)


def test_plain_checkpoints_load_by_the_names_of_their_files(tmp_path):
    from safetensors.torch import load_file

    plain, model = build("ViT", seed=4), gated("ViT")
    plain.save_pretrained(tmp_path)
    found = model.load_state_dict(load_file(tmp_path / "model.safetensors"), strict=False)
    assert not found.missing_keys and not found.unexpected_keys
    x = inputs("ViT", seed=9)
    torch.testing.assert_close(model.eval()(**x).logits, plain.eval()(**x).logits)


def test_the_configuration_of_the_users_model_is_left_alone():
    for keep in (half, ragged):
        model = gated("ViT")
        before, config = copy.deepcopy(model.config.to_dict()), model.config
        close(lzero.gates_of(model), keep)
        small = lzero.purge(model, settle=False).model
        assert model.config is config and config.to_dict() == before and small.config is not config


def test_what_was_kept_is_plain_json(tmp_path):
    import json

    small, _ = purged("BERT")
    small.save_pretrained(tmp_path)
    entry = json.loads((tmp_path / "config.json").read_text())["lzero"]
    assert entry == small.config.lzero and entry["format"] == 1
    state = small.state_dict()
    assert all(list(state[name].shape) == shape for name, shape in entry["shapes"].items())
    assert all(int(state[name]) == number for name, number in entry["numbers"].items())
    path = "bert.encoder.layer.0.attention.self"
    assert entry["numbers"][f"{path}.purged_num_attention_heads"] == small.get_submodule(path).num_attention_heads
    assert "classifier.weight" in entry["shapes"] and "bert.embeddings.word_embeddings.weight" not in entry["shapes"]


class Halves(transformers.PreTrainedModel):
    """A layer whose result is cut at sizes that the module keeps together."""

    config_class = transformers.PretrainedConfig

    def __init__(self, config):
        super().__init__(config)
        self.up, self.down, self.parts = torch.nn.Linear(6, 8), torch.nn.Linear(4, 2), (4, 4)
        self.post_init()

    def forward(self, x):
        one, two = self.up(x).split(self.parts, -1)
        return self.down(one * two)


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
def test_the_reason_names_what_no_configuration_tells():
    model = Halves(transformers.PretrainedConfig())
    gates = lzero.attach_gates(model, torch.rand(3, 6))
    with torch.no_grad():
        gates.log_alpha[0] = -9.0
    small = lzero.purge(model, settle=False).model
    assert small.parts == (3, 3)
    assert small.config.lzero["reason"] == (
        "purged_parts: sizes that a module keeps together, which no single number of a configuration tells"
    )
    gates = lzero.attach_gates(stream := build("Llama"), inputs("Llama"), granularity="width")
    with torch.no_grad():
        gates.log_alpha[::3] = -9.0
    reason = lzero.purge(stream, settle=False).model.config.lzero["reason"]
    assert reason.startswith("num_attention_heads: one number for all layers")
