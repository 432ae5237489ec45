"""Surfaces of many layers: those of each one alone, with the slopes that they have."""

import random

import pytest
import torch
from hand_tables import layer_of, plain
from plans import lenet, mlp

from lzero.cost.surface import Surfaces
from lzero.latency import Layer

PLAN, OTHER = mlp((7, 20, 12, 2))[1], lenet(3, 4, 5)[1]
FLAT = Layer("flat", (("x", 0, 3),), (), (3,), (0,), ((0.7,),))
STEPS = Layer(
    "steps", (("x", 0, 33),), (("x", 1, 5),), (1, 8, 9, 16, 17, 33), (1, 5), tuple((n, 2 * n) for n in range(6))
)
LAYERS = [layer_of(PLAN, "fc1.weight"), layer_of(OTHER, "fc1.weight", plain), FLAT, layer_of(PLAN, "fc3.weight"), STEPS]


def at(surfaces, pairs):
    rows, columns = zip(*pairs, strict=True)
    value, slopes = surfaces.at(torch.tensor([*rows, *columns], dtype=torch.float64)[:, None])
    return [value[:, 0], *slopes[:, 0].chunk(2)]


def places(seed):
    generator = random.Random(seed)
    return [
        (generator.uniform(0, layer.row_widths[-1]), generator.uniform(0, layer.column_widths[-1])) for layer in LAYERS
    ]


@pytest.mark.parametrize("seed", range(5))
def test_they_are_those_of_each_layer(seed):
    pairs = places(seed)
    value, _, _ = at(Surfaces(LAYERS, smooth=False), pairs)
    expected = [layer.predict(*pair) for layer, pair in zip(LAYERS, pairs, strict=True)]
    torch.testing.assert_close(value, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)
    whole = [(r, c) for r in range(2, 6) for c in range(2, 3)]
    for pair in whole:
        value, _, _ = at(Surfaces(LAYERS, smooth=False), [pair] * len(LAYERS))
        assert value.tolist() == [layer.predict(*pair) for layer in LAYERS]


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_slopes_are_those_of_finite_differences(seed, smooth):
    surfaces, pairs, step = Surfaces(LAYERS, smooth=smooth), places(seed), 1e-6
    _, by_rows, by_columns = at(surfaces, pairs)
    for found, shift in ((by_rows, (step, 0)), (by_columns, (0, step))):
        ahead = at(surfaces, [(r + shift[0], c + shift[1]) for r, c in pairs])[0]
        behind = at(surfaces, [(r - shift[0], c - shift[1]) for r, c in pairs])[0]
        torch.testing.assert_close(found, (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-6)


def test_smooth_ones_go_through_the_edges_of_steps_alone():
    smooth = Surfaces([STEPS], smooth=True)
    for width, ms in ((1, 0), (8, 1), (16, 3), (33, 5), (12, 2)):
        assert float(at(smooth, [(width, 1)])[0]) == pytest.approx(ms)


def test_at_the_whole_width_there_is_a_slope():
    for smooth in (True, False):
        pairs = [(layer.row_widths[-1], layer.column_widths[-1]) for layer in LAYERS]
        value, by_rows, by_columns = at(Surfaces(LAYERS, smooth=smooth), pairs)
        assert value.tolist() == [layer.total for layer in LAYERS]
        assert by_rows[1] > 0 and by_columns[1] > 0 and by_rows[2] == by_columns[2] == 0
