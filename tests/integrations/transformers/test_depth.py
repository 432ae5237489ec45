"""Blocks of Hugging Face's models leave: configurations, caches, files and generation follow."""

from dataclasses import replace
from functools import cache

import pytest
import torch

transformers = pytest.importorskip("transformers")

import lzero  # noqa: E402
from lzero.integrations.transformers import from_pretrained  # noqa: E402
from lzero.integrations.transformers.classes import class_of  # noqa: E402

pytestmark = [pytest.mark.filterwarnings("ignore::lzero.LzeroWarning"), pytest.mark.slow]

_SIZES = {"hidden_size": 16, "num_hidden_layers": 4, "intermediate_size": 12}
_TEXT = {**_SIZES, "vocab_size": 64, "max_position_embeddings": 32}
_ENDS = {"bos_token_id": 1, "eos_token_id": None, "pad_token_id": 0}
_GEMMA = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4, "sliding_window": 4, **_ENDS}
_KINDS = ["sliding_attention", "full_attention", "sliding_attention", "full_attention"]
_WHISPER = {
    "vocab_size": 64, "d_model": 16, "encoder_layers": 3, "decoder_layers": 4, "encoder_attention_heads": 2,
    "decoder_attention_heads": 2, "encoder_ffn_dim": 12, "decoder_ffn_dim": 12, "num_mel_bins": 4,
    "max_source_positions": 8, "max_target_positions": 16, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "decoder_start_token_id": 1,
}  # fmt: skip
_T5 = {"vocab_size": 64, "d_model": 16, "d_kv": 4, "d_ff": 12, "num_layers": 3, "num_decoder_layers": 4, "num_heads": 2}
_IMAGE = {"image_size": 8, "patch_size": 4, "num_attention_heads": 2}

MODELS = {  # name -> class, configuration, and the count that follows each container
    "BERT": (
        "BertForMaskedLM",
        "BertConfig",
        {**_TEXT, "num_attention_heads": 2},
        {"bert.encoder.layer": "num_hidden_layers"},
    ),
    "GPT-2": (
        "GPT2LMHeadModel",
        "GPT2Config",
        {"vocab_size": 64, "n_embd": 16, "n_layer": 4, "n_head": 2, "n_positions": 32, **_ENDS},
        {"transformer.h": "n_layer"},
    ),
    "Llama": (
        "LlamaForCausalLM",
        "LlamaConfig",
        {**_TEXT, "num_attention_heads": 4, "num_key_value_heads": 2, **_ENDS},
        {"model.layers": "num_hidden_layers"},
    ),
    "Gemma 3": (
        "Gemma3ForCausalLM",
        "Gemma3TextConfig",
        {**_TEXT, **_GEMMA, "layer_types": _KINDS},
        {"model.layers": "num_hidden_layers"},
    ),
    "T5": (
        "T5ForConditionalGeneration",
        "T5Config",
        {**_T5, "decoder_start_token_id": 0},
        {"encoder.block": "num_layers", "decoder.block": "num_decoder_layers"},
    ),
    "Whisper": (
        "WhisperForConditionalGeneration",
        "WhisperConfig",
        _WHISPER,
        {"model.encoder.layers": "encoder_layers", "model.decoder.layers": "decoder_layers"},
    ),
    "ViT": ("ViTForImageClassification", "ViTConfig", {**_SIZES, **_IMAGE}, {"vit.layers": "num_hidden_layers"}),
    "ConvNeXt": (
        "ConvNextForImageClassification",
        "ConvNextConfig",
        {"num_channels": 3, "hidden_sizes": [4, 6, 8, 10], "depths": [2, 3, 4, 2], "layer_scale_init_value": 0.5},
        {},
    ),
}
SPEAKING = ["GPT-2", "Llama", "Gemma 3"]


def build(name):
    model, config, sizes, _ = MODELS[name]
    torch.manual_seed(0)
    return getattr(transformers, model)(getattr(transformers, config)(**sizes)).eval()


def inputs(name, batch=2, length=5):
    generator = torch.Generator().manual_seed(batch)
    if name in ("ViT", "ConvNeXt"):
        size = 8 if name == "ViT" else 32
        return {"pixel_values": torch.randn(batch, 3, size, size, generator=generator)}
    words = torch.randint(3, 60, (batch, length), generator=generator)
    if name == "Whisper":
        return {"input_features": torch.randn(batch, 4, 16, generator=generator), "decoder_input_ids": words}
    return {"input_ids": words, "decoder_input_ids": words} if name == "T5" else {"input_ids": words}


@cache
def plan(name):
    return lzero.discover(build(name), inputs(name), granularity="depth")


def gated(name, seed, share=0.45, only_blocks=False):
    """A gated model of which some gates are closed, and the purged one."""
    model = build(name)
    gates = lzero.attach_gates(model, plan(name))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for group in plan(name):
            leaves = group.blocks and all(block.closed == "removed" for block in group.blocks)
            closed = torch.rand(group.size, generator=generator) < share * (leaves or not only_blocks)
            gates[group.name].copy_(torch.where(closed, -9.0, 2.0 + torch.rand(group.size, generator=generator)))
    return model, lzero.purge(model).model.eval()


def logits(model, name):
    with torch.no_grad():
        return model(**inputs(name, 3, 7)).logits


@pytest.mark.parametrize("name", MODELS)
def test_purged_is_gated_and_numbers_follow(name):
    assert any(group.blocks and group.blocks[0].closed == "removed" for group in plan(name))
    for seed in range(2):
        model, small = gated(name, seed)
        torch.testing.assert_close(logits(small, name), logits(model, name), rtol=1e-4, atol=1e-5)
        for path, count in MODELS[name][3].items():
            assert getattr(small.config, count) == len(small.get_submodule(path))
        assert model.config.to_dict() == build(name).config.to_dict()
        if name == "ConvNeXt":
            assert small.config.depths == [len(stage.layers) for stage in small.convnext.encoder.stages]
            assert small.config.num_hidden_layers == 4
        if name == "Gemma 3":
            for kind, layer in zip(small.config.layer_types, small.model.layers, strict=True):
                assert getattr(layer.self_attn, "layer_type", kind) == kind  # of one that is left out nothing is known


@pytest.mark.parametrize("name", ["GPT-2", "Llama", "BERT"])
def test_layers_know_their_place_in_the_cache(name):
    _, small = gated(name, 2, only_blocks=True)
    places = [module.layer_idx for module in small.modules() if isinstance(getattr(module, "layer_idx", None), int)]
    assert sorted(set(places)) == list(range(len(small.get_submodule(next(iter(MODELS[name][3]))))))


@pytest.mark.parametrize("only_blocks", [False, True])
@pytest.mark.parametrize("name", SPEAKING)
def test_it_generates_with_a_cache_what_the_gated_model_does(name, only_blocks):
    model, small = gated(name, 3, only_blocks=only_blocks)
    words, options = inputs(name, 3, 7)["input_ids"], {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    found = small.generate(words, use_cache=True, **options)
    assert torch.equal(found, model.generate(words, use_cache=True, **options))
    assert torch.equal(found, small.generate(words, use_cache=False, **options)) and found.shape == (3, 15)


@pytest.mark.parametrize("name", MODELS)
def test_saved_by_its_library_it_comes_back_to_the_bit(name, tmp_path):
    for seed in range(2):
        _, small = gated(name, seed)
        small.save_pretrained(tmp_path / str(seed))
        back = from_pretrained(tmp_path / str(seed)).eval()
        assert torch.equal(logits(back, name), logits(small, name)) and type(back) is type(small)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "T5"])
def test_where_blocks_alone_have_left_its_library_needs_nothing_of_lzero(name, tmp_path):
    _, small = gated(name, 1, only_blocks=True)
    assert sum(parameter.numel() for parameter in small.parameters()) < plan(name).parameters
    small.save_pretrained(tmp_path)
    stock = class_of(small.config, None).from_pretrained(tmp_path).eval()
    assert torch.equal(logits(stock, name), logits(small, name))


def test_a_uniform_budget_with_depth_needs_nothing_of_lzero_either(tmp_path):
    model = build("Llama")
    found = plan("Llama")
    kept = tuple(group for group in found if not any(block.closed == "zero" for block in group.blocks))
    gates = lzero.attach_gates(model, replace(found, groups=kept))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        gates.log_alpha.copy_(torch.randn(len(gates), generator=generator) * 3)
    small = lzero.purge(model, constraints=[lzero.Constraint(0.6, uniform=True)]).model.eval()
    small.save_pretrained(tmp_path)
    stock = type(small).from_pretrained(tmp_path).eval()
    assert getattr(small.config, "lzero", None) is None
    assert torch.equal(logits(stock, "Llama"), logits(small, "Llama"))
