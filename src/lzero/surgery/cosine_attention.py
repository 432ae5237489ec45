"""Cosine attention of windows that are cut already, with fewer heads than its stream has room for."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lzero.surgery.replacements import replaces

_HOTTEST = math.log(100.0)  # of a head's logit_scale
_LARGEST = 16.0  # bias that ``cpb_mlp`` may make


@replaces("timm.models.swin_transformer_v2.WindowAttention")
class CosineAttention(nn.Module):
    """The ``WindowAttention`` of timm's Swin Transformer V2, whose heads may make less than the width C of the stream.

    For every head ``softmax(s cos(q, k) + bias) v``, then ``proj``; ``qkv.weight`` is [3 * heads * d, C] and
    ``proj.weight`` [C, heads * d].
    """

    qkv: nn.Linear
    proj: nn.Linear
    attn_drop: nn.Module
    proj_drop: nn.Module
    logit_scale: Tensor
    cpb_mlp: nn.Module
    relative_coords_table: Tensor
    relative_position_index: Tensor
    q_bias: Tensor | None
    k_bias: Tensor | None
    v_bias: Tensor | None

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Of windows ``x`` [B * windows, n, C], the same; ``mask`` [windows, n, n] is added to the scores of each."""
        made = F.linear(x, self.qkv.weight, self._qkv_bias())
        heads = self.logit_scale.shape[0]
        q, k, v = made.view(*x.shape[:2], 3, heads, -1).permute(2, 0, 3, 1, 4).unbind()
        scale = self.logit_scale.view(heads, 1, 1).clamp(max=_HOTTEST).exp()
        scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT * scale + self._bias()
        if mask is not None:
            scores = (scores.view(-1, len(mask), *scores.shape[1:]) + mask[:, None]).flatten(0, 1)
        attended = self.attn_drop(scores.softmax(-1)) @ v
        out: Tensor = self.proj_drop(self.proj(attended.transpose(1, 2).flatten(2)))
        return out

    def _qkv_bias(self) -> Tensor | None:
        if self.q_bias is None or self.k_bias is None or self.v_bias is None:
            return None
        return torch.cat([self.q_bias, self.k_bias, self.v_bias])

    def _bias(self) -> Tensor:
        """Of every head, [heads, n, n]."""
        table = self.cpb_mlp(self.relative_coords_table).flatten(0, -2)  # [distances, heads]
        made: Tensor = table[self.relative_position_index].permute(2, 0, 1).sigmoid() * _LARGEST
        return made


@replaces("timm.models.swin_transformer_v2_cr.WindowMultiHeadAttention")
class LogCosineAttention(CosineAttention):
    """The same of ``swin_transformer_v2_cr``: its bias is what ``meta_mlp`` makes of every pair of positions."""

    meta_mlp: nn.Module
    relative_coordinates_log: Tensor

    def _qkv_bias(self) -> Tensor | None:
        return self.qkv.bias

    def _bias(self) -> Tensor:
        made: Tensor = self.meta_mlp(self.relative_coordinates_log)  # [n * n, heads]
        n = math.isqrt(len(made))
        return made.T.reshape(-1, n, n)
