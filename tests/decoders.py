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
    ends = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    if name == "t5":
        config = library.T5Config(vocab_size=50, d_model=32, d_kv=8, d_ff=20, num_layers=1, num_heads=4, **ends)
        return library.T5ForConditionalGeneration(config)  # type: ignore[no-any-return]
    if name == "bart":
        sides = {f"{side}_{what}": n for side in ("encoder", "decoder")
                 for what, n in (("layers", 1), ("attention_heads", 4), ("ffn_dim", 20))}  # fmt: skip
        config = library.BartConfig(vocab_size=50, d_model=32, max_position_embeddings=16, **sides, **ends)
        return library.BartForConditionalGeneration(config)  # type: ignore[no-any-return]
    if name == "mamba":
        config = library.MambaConfig(vocab_size=50, hidden_size=16, state_size=4, num_hidden_layers=1, time_step_rank=4)
        return library.MambaForCausalLM(config)  # type: ignore[no-any-return]
    common = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
              "intermediate_size": 20, "max_position_embeddings": 16}  # fmt: skip
    return library.LlamaForCausalLM(library.LlamaConfig(**common))  # type: ignore[no-any-return]
