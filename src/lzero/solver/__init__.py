"""The seam to a training loop: one line between ``backward()`` and ``optimizer.step()``."""

from lzero.solver.elbo import Elbo
from lzero.solver.penalty import Penalty
from lzero.solver.solver import Solver

__all__ = ["Elbo", "Penalty", "Solver"]
