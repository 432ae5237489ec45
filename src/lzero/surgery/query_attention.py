"""Attention of timm with a projection of its own for queries, with fewer heads than its stream has room for."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from lzero.surgery.replacements import replaces


class QueryAttention(nn.Module):
    """``softmax(scale q k^T) v`` for every head, then ``proj``, whose weight is [C, heads * d]."""

    proj: nn.Linear
    attn_drop: nn.Module
    proj_drop: nn.Module
    num_heads: int
    scale: float

    def attended(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """What queries [B, m, heads * d] find among keys and values [B, n, heads * d]: [B, m, C]."""
        q, k, v = (x.view(*x.shape[:2], self.num_heads, -1).transpose(1, 2) for x in (q, k, v))
        found = self.attn_drop((q * self.scale @ k.mT).softmax(-1)) @ v
        out: Tensor = self.proj_drop(self.proj(found.transpose(1, 2).flatten(2)))
        return out


@replaces("timm.models.cait.ClassAttn")
class ClassAttention(QueryAttention):
    """The same of the first token alone, as CaiT has it: [B, n, C] to [B, 1, C]."""

    q: nn.Linear
    k: nn.Linear
    v: nn.Linear

    def forward(self, x: Tensor) -> Tensor:
        """What the first token of ``x`` finds among all."""
        return self.attended(self.q(x[:, :1]), self.k(x), self.v(x))


@replaces("timm.models.crossvit.CrossAttention")
class CrossAttention(QueryAttention):
    """The same under the names of CrossViT."""

    wq: nn.Linear
    wk: nn.Linear
    wv: nn.Linear

    def forward(self, x: Tensor) -> Tensor:
        """What the first token of ``x`` [B, n, C] finds among all, [B, 1, C]."""
        return self.attended(self.wq(x[:, :1]), self.wk(x), self.wv(x))


@replaces("timm.models.pvt_v2.Attention", "timm.models.twins.GlobalSubSampleAttn")
class ReducedAttention(QueryAttention):
    """The same, where keys and values are of a smaller image, as PVT v2 and Twins have it."""

    q: nn.Linear
    kv: nn.Linear
    sr: nn.Module | None
    norm: nn.Module | None

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """Of an image ``x`` [B, H * W, C] of that ``size`` (H, W), the same."""
        pool, act = getattr(self, "pool", None), getattr(self, "act", None)
        less = x
        if self.sr is not None:
            image = x.mT.reshape(len(x), -1, *size)
            less = self.sr(image if pool is None else pool(image)).flatten(2).mT
            less = less if self.norm is None else self.norm(less)
            less = less if pool is None or act is None else act(less)
        return self.attended(self.q(x), *self.kv(less).chunk(2, -1))
