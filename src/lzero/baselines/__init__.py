"""What a budget is compared with: pruning by magnitude, a search for the penalty, a dense network of the same size."""

from lzero.baselines.bisection import Bisection, bisect_coefficient
from lzero.baselines.dense import same_size
from lzero.baselines.magnitude import Magnitude
from lzero.baselines.scores import lamp_scores, magnitude_scores, random_scores

__all__ = [
    "Bisection",
    "Magnitude",
    "bisect_coefficient",
    "lamp_scores",
    "magnitude_scores",
    "random_scores",
    "same_size",
]
