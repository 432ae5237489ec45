"""A Linear that reads some of the features that reach it."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class SelectedLinear(nn.Linear):
    """A Linear that reads only the features in its buffer ``columns``: what purging input gates leaves behind.

    ``y = x[..., columns] @ weight.T + bias`` with weight [out_features, len(columns)].
    """

    columns: Tensor  # long, [in_features]

    def forward(self, input: Tensor) -> Tensor:
        """``input`` [..., features before selection] -> [..., out_features]."""
        return F.linear(input.index_select(-1, self.columns), self.weight, self.bias)
