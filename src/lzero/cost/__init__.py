"""What the model that will be shipped costs: expected over the gates, and counted for a deployed set."""

from lzero.cost.cost import COUNTED, MEASURES, Cost, Measure
from lzero.cost.parts import check_paths, layers
from lzero.cost.point import Point

__all__ = ["COUNTED", "MEASURES", "Cost", "Measure", "Point", "check_paths", "layers"]
