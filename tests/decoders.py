"""Small decoders of transformers that return keys and values by default."""

from __future__ import annotations

import pytest
import torch
from torch import nn

IDS = {"input_ids": torch.randint(0, 50, (2, 7))}


def decoder(name: str) -> nn.Module:
    library = pytest.importorskip("transformers")
    if name == "gpt2":
        options = {"bos_token_id": 0, "eos_token_id": 0, "n_inner": 20}
        config = library.GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=4, n_positions=16, **options)
        return library.GPT2LMHeadModel(config)  # type: ignore[no-any-return]
    common = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
              "intermediate_size": 20, "max_position_embeddings": 16}  # fmt: skip
    return library.LlamaForCausalLM(library.LlamaConfig(**common))  # type: ignore[no-any-return]
