"""Multi-head attention with fewer heads than its embedding has room for."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class HeadedAttention(nn.MultiheadAttention):
    """A ``nn.MultiheadAttention`` whose ``num_heads * head_dim`` may be less than ``embed_dim``.

    ``softmax(q k^T / sqrt(head_dim)) v`` for each head, then ``out_proj``, with weights [num_heads * head_dim, ...] and
    ``out_proj.weight`` [embed_dim, num_heads * head_dim]. Arguments and results are those of the PyTorch module.
    """

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attended values [N, L, E] (or [L, N, E], or [L, E] for one sequence) and, if wanted, the weights."""
        batched = query.dim() == 3
        if not batched:
            query, key, value = query[None], key[None], value[None]
        elif not self.batch_first:
            query, key, value = query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1)
        q, k, v = self._project(query, key, value)  # [N, H, L, D], [N, H, S, D]
        mask = self._mask(query, key_padding_mask, attn_mask)
        if mask is not None and k.shape[2] > mask.shape[-1]:
            mask = F.pad(mask, (0, k.shape[2] - mask.shape[-1]))
        dropout = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
            weights = F.dropout((scores if mask is None else scores + mask).softmax(-1), dropout)
            attended = weights @ v
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            attended = F.scaled_dot_product_attention(q, k, v, mask, dropout)
        out = self.out_proj(attended.transpose(1, 2).flatten(2))
        if not batched:
            return out[0], None if weights is None else weights[0]
        return out if self.batch_first else out.transpose(0, 1), weights

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> list[Tensor]:
        """Queries, keys and values by head, with the learned and zero positions that the module appends."""
        fused, separate = self.in_proj_weight, (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        weights = separate if fused is None else fused.chunk(3)
        biases = (None, None, None) if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        read = [F.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True)]
        for position, extra in ((1, self.bias_k), (2, self.bias_v)):
            if extra is not None:
                read[position] = torch.cat([read[position], extra.expand(len(key), -1, -1)], 1)
            if self.add_zero_attn:
                read[position] = F.pad(read[position], (0, 0, 0, 1))
        return [x.view(*x.shape[:2], self.num_heads, self.head_dim).transpose(1, 2) for x in read]

    def _mask(self, query: Tensor, padding: Tensor | None, mask: Tensor | None) -> Tensor | None:
        """Both masks as one that is added to scores [N, H, L, S]; True means "do not look"."""
        added = None
        if mask is not None:
            added = _to_add(mask, query.dtype)
            added = added.view(len(query), -1, *added.shape[1:]) if added.dim() == 3 else added
        if padding is not None:
            padding = _to_add(padding, query.dtype).view(len(query), 1, 1, -1)
            added = padding if added is None else added + padding
        return added


def _to_add(mask: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, -torch.inf) if mask.dtype == torch.bool else mask
