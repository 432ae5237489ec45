"""Inputs that the configuration of a model tells: of the right shapes, and different from each other."""

import pytest
import torch

transformers = pytest.importorskip("transformers")

from integrations.transformers.tiny import MODELS, build  # noqa: E402

import lzero  # noqa: E402
from lzero.errors import StructureError  # noqa: E402
from lzero.integrations.transformers.inputs import inputs_of  # noqa: E402

SMALL = {"num_hidden_layers": 1, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 20}
OTHERS = {
    "Wav2Vec2ForCTC": (
        "Wav2Vec2Config",
        {**SMALL, "conv_dim": (8, 8), "conv_kernel": (10, 3), "conv_stride": (5, 2), "num_feat_extract_layers": 2,
         "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "vocab_size": 12},
    ),
    "ASTForAudioClassification": ("ASTConfig", {**SMALL, "max_length": 32, "num_mel_bins": 16}),
    "WhisperForConditionalGeneration": (
        "WhisperConfig",
        {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "vocab_size": 60,
         "decoder_attention_heads": 2, "encoder_ffn_dim": 20, "decoder_ffn_dim": 20, "max_source_positions": 20,
         "num_mel_bins": 8, "max_target_positions": 12, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
         "decoder_start_token_id": 1},
    ),
    "ResNetForImageClassification": (
        "ResNetConfig", {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "num_labels": 3}
    ),
    "T5ForSequenceClassification": ("T5Config", MODELS["T5"][2]),
    "BartForSequenceClassification": (
        "BartConfig",
        {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "vocab_size": 60,
         "decoder_attention_heads": 2, "encoder_ffn_dim": 20, "decoder_ffn_dim": 20, "max_position_embeddings": 6},
    ),
    "BartForConditionalGeneration": (
        "BartConfig",
        {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "vocab_size": 60,
         "decoder_attention_heads": 2, "encoder_ffn_dim": 20, "decoder_ffn_dim": 20, "max_position_embeddings": 6},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_the_model_runs_on_them(name):
    model = build(name)
    before = torch.random.get_rng_state()
    made = inputs_of(model)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert model(**made).logits.shape[0] == 2
    assert all(not torch.equal(value[0], value[1]) for value in made.values())


@pytest.mark.parametrize("name", OTHERS)
def test_other_kinds_of_inputs(name):
    config, sizes = OTHERS[name]
    model = getattr(transformers, name)(getattr(transformers, config)(**sizes))
    assert model.eval()(**inputs_of(model)).logits.shape[0] == 2


def test_words_are_in_the_vocabulary_and_only_the_last_is_special():
    model = build("GPT-2", pad_token_id=3, eos_token_id=5, bos_token_id=7, vocab_size=9, n_positions=4)
    words = inputs_of(model)["input_ids"]
    assert words.shape == (2, 4) and set(words[:, :3].flatten().tolist()) <= {0, 1, 2, 4, 6, 8}
    assert words[:, 3].tolist() == [5, 5]


def test_precision_follows_the_model():
    assert inputs_of(build("ViT").double())["pixel_values"].dtype == torch.float64


def test_what_the_configuration_does_not_tell_is_asked_for():
    model = build("ViT")
    model.main_input_name = "voxels"
    with pytest.raises(StructureError, match=r"nothing is known of an input 'voxels'; pass Budget\(\.\.\., example_"):
        inputs_of(model)
    model.main_input_name = "input_ids"  # of a model without a vocabulary
    with pytest.raises(StructureError, match="does not tell how large 'input_ids' is"):
        inputs_of(model)
    with pytest.raises(lzero.StructureError, match="nothing is known of an input None"):
        inputs_of(torch.nn.Linear(2, 2))
