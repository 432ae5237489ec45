"""A sparse matrix with a fixed pattern: the gradient of several costs with respect to all gates."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class SparseRows:
    """A [K, G] matrix: ``values`` [S] at (``part``, ``gate``), each pair at most once.

    Attributes:
        part: long, [S], the row.
        gate: long, [S], the column.
        values: float64, [S].
        shape: (K, G).
    """

    part: Tensor
    gate: Tensor
    values: Tensor
    shape: tuple[int, int]

    def norms(self, weight: Tensor) -> Tensor:
        """Euclidean norm of every row times ``weight`` [G] elementwise, [K]."""
        return self._by_row((self.values * weight[self.gate]) ** 2).sqrt()

    def restricted_norms(self, vector: Tensor) -> Tensor:
        """For every row the Euclidean norm of ``vector`` [G] over the row's own columns, [K]."""
        return self._by_row(vector[self.gate] ** 2).sqrt()

    def pull(self, coefficients: Tensor) -> Tensor:
        """``coefficients`` [K] times the matrix, [G]."""
        terms = self.values * coefficients[self.part]
        return terms.new_zeros(self.shape[1]).index_add_(0, self.gate, terms)

    def rows(self, gates: Tensor) -> Tensor:
        """The columns ``gates`` (long, [n]) as a dense [K, n]."""
        dense = self.values.new_zeros(self.shape)
        dense[self.part, self.gate] = self.values
        return dense[:, gates]

    def _by_row(self, values: Tensor) -> Tensor:
        return values.new_zeros(self.shape[0]).index_add_(0, self.part, values)
