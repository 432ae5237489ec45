"""What the numbers of classes that nobody knows stand for: the words in their names tell."""

from __future__ import annotations

import pytest
from surgery.numbers.classes import of_class, role
from torch import nn

from lzero.surgery.numbers import Role

WORDS = {
    "num_heads": Role.HEADS, "h": Role.HEADS, "n_head": Role.HEADS, "head_dim": Role.HEAD_SIZE, "d_k": Role.HEAD_SIZE,
    "key_size": Role.HEAD_SIZE, "all_head_size": Role.INNER, "split_size": Role.INNER, "hidden_size": Role.INNER,
    "attn_dim": Role.INNER, "embed_dim": Role.SIZE, "channels": Role.SIZE, "n": Role.SIZE, "num_layers": Role.STAYS,
    "patch_size": Role.STAYS, "head_groups": Role.STAYS, "vocab_size": Role.STAYS, "answer": Role.STAYS,
}  # fmt: skip


@pytest.mark.parametrize("name", WORDS)
def test_words_tell_of_what_nobody_knows(name: str) -> None:
    assert role(nn.Module(), name) is WORDS[name]


@pytest.mark.parametrize("name", WORDS)
def test_a_class_of_ones_own_goes_by_the_words(name: str) -> None:
    assert role(of_class("mine.Attention"), name) is WORDS[name]
