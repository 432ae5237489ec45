"""The attention of Hugging Face: its heads, their sizes, and what stays."""

from __future__ import annotations

import pytest
from surgery.numbers.classes import HEADS, WIDTH, check_heads, of_class, role
from torch import Tensor, nn

from lzero.surgery.numbers import Role

PLACE = "transformers.models.some.modeling_some.SomeAttention"
ROLES = {
    "num_heads": Role.HEADS, "num_attention_heads": Role.HEADS, "num_key_value_heads": Role.HEADS,
    "head_dim": Role.HEAD_SIZE, "attention_head_size": Role.HEAD_SIZE, "qk_rope_head_dim": Role.HEAD_SIZE,
    "all_head_size": Role.INNER, "embed_dim": Role.INNER, "hidden_size": Role.INNER, "d_model": Role.SIZE,
    "num_key_value_groups": Role.STAYS, "window_size": Role.STAYS,
}  # fmt: skip


@pytest.mark.parametrize("name", ROLES)
def test_names_that_its_files_use(name: str) -> None:
    assert role(of_class(PLACE), name) is role(of_class("transformers_modules.x.OwnAttention"), name) is ROLES[name]


def test_the_class_tells_before_the_words() -> None:
    attention = of_class("transformers.models.some.modeling_some.SomeAttention")
    assert role(attention, "embed_dim") is Role.INNER
    assert role(attention, "num_key_value_heads") is Role.HEADS
    assert role(attention, "num_key_value_groups") is Role.STAYS
    assert role(attention, "out_channels") is Role.SIZE  # a name that the family does not know
    assert role(of_class("transformers.models.some.modeling_some.SomeMLP"), "embed_dim") is Role.SIZE
    assert role(of_class("mine.Own", type(attention)), "embed_dim") is Role.INNER


def internvl() -> nn.Module:
    """A layer of Hugging Face that joins its heads by ``embed_dim``, which is the stream's width too."""
    library = pytest.importorskip("transformers.models.internvl.modeling_internvl")
    config = library.InternVLVisionConfig(hidden_size=WIDTH, num_attention_heads=HEADS)
    config._attn_implementation = "eager"
    return Joined(library.InternVLVisionAttention(config).eval())


class Joined(nn.Module):
    """What it makes, without the attention weights."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)[0]


@pytest.mark.filterwarnings("ignore:.*no budget was given")
def test_heads_are_found_purged_and_reloaded() -> None:
    check_heads(internvl())
