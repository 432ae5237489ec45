"""Figures from rows of plain numbers: an old CSV plots without a model, and without torch.

Every function takes rows (a :class:`lzero.recorder.Recorder` or a list of dicts) and returns the figure and its
axes; pass your own axes to draw into a figure of yours. Nothing here touches pyplot or its global state.
"""

from lzero.plots.densities import control, trade_off
from lzero.plots.files import save
from lzero.plots.front import front
from lzero.plots.layers import architecture
from lzero.plots.methods import methods
from lzero.plots.panels import dynamics
from lzero.plots.probabilities import gate_histogram

__all__ = ["architecture", "control", "dynamics", "front", "gate_histogram", "methods", "save", "trade_off"]
