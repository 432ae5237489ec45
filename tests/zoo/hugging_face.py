"""Models of Hugging Face's ``transformers`` from small random configurations; empty where it is not installed."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import Tensor, nn
from zoo.blocks import Entry

COMMON = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
TEXT = {"vocab_size": 50, "max_position_embeddings": 16, **COMMON}
SPECIAL = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0, "use_cache": False}


def _build(model: str, config: str, **options: Any) -> nn.Module:
    import transformers

    built: nn.Module = getattr(transformers, model)(getattr(transformers, config)(**options))
    return built


def _words() -> dict[str, Tensor]:
    return {"input_ids": torch.randint(1, 50, (2, 7)), "attention_mask": torch.ones(2, 7, dtype=torch.long)}


def _both() -> dict[str, Tensor]:
    return {"input_ids": torch.randint(1, 50, (2, 7)), "decoder_input_ids": torch.randint(1, 50, (2, 5))}


def _images() -> dict[str, Tensor]:
    return {"pixel_values": torch.randn(2, 3, 16, 16)}


FAMILY = "Hugging Face"
_GPT = {"vocab_size": 50, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 16, **SPECIAL}
_T5 = {"vocab_size": 50, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "use_cache": False}
_VIT = {**COMMON, "image_size": 16, "patch_size": 4}
_LATENT = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 4, "qk_nope_head_dim": 8, "v_head_dim": 12,
           "head_dim": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "n_group": 2,
           "topk_group": 1, "first_k_dense_replace": 1, "num_key_value_heads": 4}  # fmt: skip
_ENTRIES: dict[str, Entry] = {
    "BERT": Entry(FAMILY, lambda: _build("BertModel", "BertConfig", **TEXT), _words, 0.7),
    "RoBERTa": Entry(FAMILY, lambda: _build("RobertaModel", "RobertaConfig", **TEXT, pad_token_id=0), _words, 0.7),
    "GPT-2": Entry(FAMILY, lambda: _build("GPT2LMHeadModel", "GPT2Config", **_GPT), _words, 0.7),
    "Llama (MHA)": Entry(
        FAMILY, lambda: _build("LlamaForCausalLM", "LlamaConfig", **TEXT, use_cache=False), _words, 0.7
    ),
    "Llama (grouped queries)": Entry(
        FAMILY,
        lambda: _build("LlamaForCausalLM", "LlamaConfig", **TEXT, use_cache=False, num_key_value_heads=2), _words, 0.7,
    ),
    "ViT (Hugging Face)": Entry(FAMILY, lambda: _build("ViTModel", "ViTConfig", **_VIT), _images, 0.7),
    "T5": Entry(FAMILY, lambda: _build("T5ForConditionalGeneration", "T5Config", **_T5), _both, 0.7),
    "T5, gated": Entry(
        FAMILY, lambda: _build("T5ForConditionalGeneration", "T5Config", **_T5, feed_forward_proj="gated-gelu"),
        _both, 0.7,
    ),
    "Falcon (one key)": Entry(
        FAMILY, lambda: _build("FalconForCausalLM", "FalconConfig", vocab_size=50, hidden_size=32, num_hidden_layers=2,
                               num_attention_heads=4, **SPECIAL), _words, 0.7,
    ),
    "Mixtral": Entry(
        FAMILY, lambda: _build("MixtralForCausalLM", "MixtralConfig", **TEXT, **SPECIAL, num_key_value_heads=2,
                               num_local_experts=4), _words, 0.85,
    ),
    "DeepSeek V3": Entry(
        FAMILY, lambda: _build("DeepseekV3ForCausalLM", "DeepseekV3Config", **TEXT, **SPECIAL, **_LATENT), _words, 0.7,
    ),
}  # fmt: skip
HUGGING_FACE = _ENTRIES if importlib.util.find_spec("transformers") else {}
