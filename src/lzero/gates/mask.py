"""Gates that are set and not trained: the masks of the pruning baselines."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lzero.gates.estimator import Estimator, logit


@dataclass(frozen=True)
class Mask(Estimator):
    """Gates without noise or gradient, for :class:`lzero.baselines.Magnitude` to open and close:

        z = 1[sigmoid(log_alpha) > 1/2]

    sigmoid(log_alpha) ranks the gates, for settling, and is no chance: train and eval mode see the same network, and
    the random generators of torch are not used. A gate counts 1 wherever its mean is asked for, open or closed:
    attaching rescales no weight, and a gate that settling opens lets its unit pass as it is.

    Example:
        >>> z, slope = Mask().sample(torch.tensor([-1.0, 0.0, 1.0]), torch.zeros(3))
        >>> z.tolist(), slope.tolist()
        ([0.0, 0.0, 1.0], [0.0, 0.0, 0.0])
    """

    def noise(self, like: Tensor) -> Tensor:
        """Zeros, shaped as ``like``: nothing is drawn."""
        return torch.zeros_like(like)

    def sample(self, log_alpha: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """z, shaped as ``noise``, and its slope 0."""
        z = self.evaluation(log_alpha)[0].expand_as(noise)
        return z, torch.zeros_like(z)

    def probability(self, log_alpha: Tensor) -> Tensor:
        """sigmoid(log_alpha), [G]."""
        return torch.sigmoid(log_alpha)

    def probability_slope(self, log_alpha: Tensor) -> Tensor:
        """p (1 - p), [G]."""
        p = self.probability(log_alpha)
        return p * (1 - p)

    def evaluation(self, log_alpha: Tensor) -> tuple[Tensor, Tensor]:
        """z, [G], and its slope 0."""
        z = (self.probability(log_alpha) > 0.5).to(log_alpha.dtype)
        return z, torch.zeros_like(z)

    def mean(self, log_alpha: Tensor) -> Tensor:
        """1, [G]: what a unit is worth where its gate is open."""
        return torch.ones_like(log_alpha)

    def initial(self, open_probability: float) -> tuple[float]:
        """The log_alpha of that rank: open above 1/2."""
        return (logit(open_probability),)
