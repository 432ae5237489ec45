"""The random variables: distributions of one gate, and all gates of a model."""

from lzero.gates.bernoulli import AR, ARM, StraightThrough
from lzero.gates.deterministic import Deterministic
from lzero.gates.estimator import Estimator
from lzero.gates.gates import Gates
from lzero.gates.hard_concrete import HardConcrete
from lzero.gates.log_normal import LogNormal
from lzero.gates.mask import Mask

__all__ = ["AR", "ARM", "Deterministic", "Estimator", "Gates", "HardConcrete", "LogNormal", "Mask", "StraightThrough"]
