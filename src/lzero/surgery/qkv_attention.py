"""Self-attention of timm behind one fused projection, with fewer heads than its stream has room for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lzero.surgery.replacements import replaces
from lzero.surgery.window_attention import image, windows


@replaces("timm.models.davit.WindowAttention")
class QkvAttention(nn.Module):
    """``softmax(scale q k^T) v`` for every head, then ``proj``: [..., n, C] to the same.

    ``qkv.weight`` is [3 * heads * d, C] and ``proj.weight`` [C, heads * d].
    """

    qkv: nn.Linear
    proj: nn.Linear
    num_heads: int
    scale: float

    def forward(self, x: Tensor) -> Tensor:
        """Of ``x`` [..., n, C], the same."""
        return self._attended(x, None)

    def _attended(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """With a ``bias`` [heads, n, n] of the scores."""
        q, k, v = self._heads(x)
        scores = self._scores(q, k)
        attended = self._dropped("attn_drop", (scores if bias is None else scores + bias).softmax(-1)) @ v
        return self._dropped("proj_drop", self.proj(self._joined(attended)))

    def _heads(self, x: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values, each [..., heads, n, d]."""
        made = F.linear(x, self.qkv.weight, self._qkv_bias())
        return tuple(part.view(*x.shape[:-1], self.num_heads, -1).transpose(-3, -2) for part in made.chunk(3, -1))

    def _qkv_bias(self) -> Tensor | None:
        return self.qkv.bias

    def _scores(self, q: Tensor, k: Tensor) -> Tensor:
        return q * self.scale @ k.mT

    def _joined(self, attended: Tensor) -> Tensor:
        """[..., heads, n, d] to [..., n, heads * d]."""
        return attended.transpose(-3, -2).flatten(-2)

    def _dropped(self, name: str, x: Tensor) -> Tensor:
        drop = getattr(self, name, None)
        return x if drop is None else drop(x)


@replaces("timm.models.beit.Attention")
class BiasedAttention(QkvAttention):
    """The same with biases of its own for queries and values, and one of the scores by distance, as BEiT has them."""

    q_bias: Tensor | None
    k_bias: Tensor | None
    v_bias: Tensor | None
    relative_position_bias_table: Tensor | None
    relative_position_index: Tensor

    def forward(self, x: Tensor, shared_rel_pos_bias: Tensor | None = None) -> Tensor:
        """Of ``x`` [B, n, C], the same; what all layers share, [1, heads, n, n], is added to the scores."""
        table, bias = self.relative_position_bias_table, shared_rel_pos_bias
        if table is not None:
            own = table[self.relative_position_index].permute(2, 0, 1)
            bias = own if bias is None else own + bias
        return self._attended(x, bias)

    def _qkv_bias(self) -> Tensor | None:
        if self.q_bias is None or self.k_bias is None or self.v_bias is None:
            return self.qkv.bias
        return torch.cat([self.q_bias, self.k_bias, self.v_bias])


@replaces("timm.models.nest.Attention")
class BlockAttention(QkvAttention):
    """The same of image blocks [B, blocks, n, C], as NesT has it: ``proj`` reads the heads of every feature in turn."""

    def _joined(self, attended: Tensor) -> Tensor:
        return attended.movedim(-3, -1).flatten(-2)


@replaces("timm.models.twins.LocallyGroupedAttn")
class GroupedAttention(QkvAttention):
    """The same within the windows of an image, as Twins has it."""

    ws: int

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:  # type: ignore[override]
        """Of an image ``x`` [B, H * W, C] of that ``size`` (H, W), the same."""
        height, width = size
        window = self.ws, self.ws
        right, below = -width % self.ws, -height % self.ws
        padded = F.pad(x.view(len(x), height, width, -1), (0, 0, 0, right, 0, below))
        made = image(self._attended(windows(padded, window), None), (height + below, width + right), window)
        return made[:, :height, :width].flatten(1, 2)


@replaces("timm.models.vision_transformer_relpos.RelPosAttention")
class RelativeAttention(QkvAttention):
    """The same with normed queries and keys, and with a bias that a module ``rel_pos`` makes, or one that is shared."""

    q_norm: nn.Module
    k_norm: nn.Module
    rel_pos: nn.Module | None

    def forward(self, x: Tensor, shared_rel_pos: Tensor | None = None) -> Tensor:
        """Of ``x`` [B, n, C], the same."""
        return self._attended(x, shared_rel_pos if self.rel_pos is None else self.rel_pos.get_bias())  # type: ignore[operator]

    def _scores(self, q: Tensor, k: Tensor) -> Tensor:
        return super()._scores(self.q_norm(q), self.k_norm(k))


@replaces("timm.models.xcit.XCA", "timm.models.edgenext.CrossCovarianceAttn")
class CovarianceAttention(QkvAttention):
    """Attention of the features of a head to each other, as XCiT has it, with a ``temperature`` [heads, 1, 1]."""

    temperature: Tensor

    def _attended(self, x: Tensor, bias: Tensor | None) -> Tensor:
        q, k, v = (part.mT for part in self._heads(x))  # [B, heads, d, n]
        scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT * self.temperature
        attended = self._dropped("attn_drop", scores.softmax(-1)) @ v
        return self._dropped("proj_drop", self.proj(attended.flatten(-3, -2).mT))


@replaces("timm.models.davit.ChannelAttention")
class ChannelAttention(QkvAttention):
    """Attention of the features of a head to each other, as DaViT has it: ``q softmax(scale k^T v)^T``."""

    def _attended(self, x: Tensor, bias: Tensor | None) -> Tensor:
        q, k, v = self._heads(x)
        attended = (k * self.scale).mT @ v
        return self._dropped("proj_drop", self.proj(self._joined(q @ attended.softmax(-1).mT)))
