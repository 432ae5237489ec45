"""The attention of timm: its heads, their sizes, and what stays."""

from __future__ import annotations

import pytest
from surgery.numbers.classes import HEADS, WIDTH, check_heads, of_class, role
from torch import Tensor, nn
from torch.nn import functional as F

from lzero.surgery.numbers import Role

ROLES = {
    "num_heads": Role.HEADS, "head_dim": Role.HEAD_SIZE, "key_dim": Role.HEAD_SIZE, "attn_dim": Role.INNER,
    "dim": Role.SIZE, "dim_out": Role.SIZE, "num_prefix_tokens": Role.STAYS, "window_area": Role.STAYS,
}  # fmt: skip


@pytest.mark.parametrize("name", ROLES)
def test_names_that_its_layers_use(name: str) -> None:
    assert role(of_class("timm.models.swin_transformer.WindowAttention"), name) is ROLES[name]


def test_other_modules_of_it_go_by_the_words() -> None:
    assert role(of_class("timm.layers.mlp.Mlp"), "key_dim") is role(of_class("mine.Mlp"), "key_dim")
    assert role(of_class("timm.layers.mlp.Mlp"), "window_area") is Role.STAYS


class Attention(nn.Module):
    """As timm has it, its heads behind one projection, and as wide together as the stream."""

    __module__ = "timm.layers.attention"

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.attn_dim = HEADS, WIDTH // HEADS, WIDTH
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        x = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, self.attn_dim)
        return self.proj(x)


@pytest.mark.filterwarnings("ignore:.*no budget was given")
def test_heads_are_found_purged_and_reloaded() -> None:
    check_heads(Attention())
