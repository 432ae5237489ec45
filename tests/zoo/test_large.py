"""What discovery and proof cost on models of real size, with random weights."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from lzero import discover

LIMIT = 30.0  # seconds each; under ten on one idle core


def _built(name: str) -> tuple[Any, dict[str, torch.Tensor]]:
    library = pytest.importorskip("transformers")
    words = {"input_ids": torch.randint(0, 1000, (1, 8))}
    build: dict[str, Callable[[], tuple[Any, dict[str, torch.Tensor]]]] = {
        "BERT-base": lambda: (library.BertModel(library.BertConfig()), words),
        "GPT-2 small": lambda: (library.GPT2LMHeadModel(library.GPT2Config(use_cache=False)), words),
        "ViT-B/16": lambda: (
            library.ViTModel(library.ViTConfig()), {"pixel_values": torch.randn(1, 3, 224, 224)}
        ),
    }  # fmt: skip
    return build[name]()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["BERT-base", "GPT-2 small", "ViT-B/16"])
def test_a_large_transformer_is_proved_in_seconds(name: str) -> None:
    model, inputs = _built(name)
    start = time.perf_counter()
    plan = discover(model, inputs)
    assert time.perf_counter() - start < LIMIT
    assert sorted({group.size for group in plan.groups}) == [12, 3072]
    assert len(plan.groups) == 24
