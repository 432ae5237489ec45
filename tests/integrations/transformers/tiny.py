"""Small random models of Hugging Face, data to train them on, and the Trainer for both."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import transformers

import lzero

COMMON = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
TEXT = {"vocab_size": 50, "max_position_embeddings": 16, **COMMON}
_SPECIAL = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
_GPT = {"vocab_size": 50, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 16, **_SPECIAL}
_T5 = {"vocab_size": 50, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
_T5 |= {"decoder_start_token_id": 0}
_VIT = {**COMMON, "image_size": 8, "patch_size": 2, "num_channels": 1, "num_labels": 10}

MODELS = {
    "BERT": ("BertForSequenceClassification", "BertConfig", TEXT),
    "GPT-2": ("GPT2LMHeadModel", "GPT2Config", _GPT),
    "Llama": ("LlamaForCausalLM", "LlamaConfig", {**TEXT, "tie_word_embeddings": True}),
    "Llama, grouped queries": ("LlamaForCausalLM", "LlamaConfig", {**TEXT, "num_key_value_heads": 2}),
    "ViT": ("ViTForImageClassification", "ViTConfig", _VIT),
    "T5": ("T5ForConditionalGeneration", "T5Config", _T5),
}


def build(name: str, seed: int = 0, **options: Any) -> Any:
    """A model of that kind with random weights."""
    model, config, sizes = MODELS[name]
    torch.manual_seed(seed)
    return getattr(transformers, model)(getattr(transformers, config)(**{**sizes, **options}))


def inputs(name: str, batch: int = 3, seed: int = 1) -> dict[str, torch.Tensor]:
    """Keyword arguments of one forward."""
    generator = torch.Generator().manual_seed(seed)
    if name == "ViT":
        return {"pixel_values": torch.randn(batch, 1, 8, 8, generator=generator)}
    words = {"input_ids": torch.randint(1, 50, (batch, 7), generator=generator)}
    if name == "T5":
        words["decoder_input_ids"] = torch.randint(1, 50, (batch, 5), generator=generator)
    return words


def close(gates: lzero.Gates, keep: Any) -> None:
    """Leave ``keep(number of the group, its size)`` gates of every group open, the last ones of it."""
    with torch.no_grad():
        gates.log_alpha.fill_(9.0)
        for number, name in enumerate(gates.slices):
            size = gates[name].shape[-1]
            gates[name][..., : size - keep(number, size)] = -9.0


def ragged(number: int, size: int) -> int:
    """Another share of every group."""
    return max(1, size // 2 - (number % 3 > 0) - number % 2)


def half(number: int, size: int) -> int:
    """The same share of all groups."""
    return size // 2


@cache
def plan(name: str) -> lzero.Plan:
    """What can be gated in that kind."""
    return lzero.discover(build(name), inputs(name))


def gated(name: str, seed: int = 0) -> Any:
    """A model of that kind with gates, all open."""
    model = build(name, seed)
    lzero.attach_gates(model, plan(name))
    return model


@cache
def purged(name: str, keep: Any = ragged) -> Any:
    """The purged model of that kind, and the gated one; to look at only."""
    model = gated(name).eval()
    close(lzero.gates_of(model), keep)
    return lzero.purge(model, settle=False).model, model


def same(one: Any, two: Any, name: str) -> bool:
    """Whether two models give the same logits to the bit on inputs that neither has seen."""
    x = inputs(name, batch=4, seed=7)
    return torch.equal(one.eval()(**x).logits, two.eval()(**x).logits)


def halved(model: Any) -> Any:
    """``model`` with its parameters in bfloat16; buffers of no file keep their precision, as where one is loaded."""
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16()
    return model
