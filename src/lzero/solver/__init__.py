"""What trains the gates of a model: one line, ``step()``, between ``backward()`` and the next forward."""

from lzero.solver.descent import Descent
from lzero.solver.elbo import Elbo
from lzero.solver.penalty import Penalty
from lzero.solver.solver import Solver

__all__ = ["Descent", "Elbo", "Penalty", "Solver"]
