"""Putting a table together: what forwards take is what the table says, where it can be known exactly."""

import numpy as np
import pytest

from lzero.latency.assembly import Forward, Grid, assemble
from lzero.latency.place import Spans

SIDES = {
    "a": ((("a.weight", 0, 8),), (("a.weight", 1, 4),)),
    "b": ((("b.weight", 0, 2),), (("b.weight", 1, 8),)),
    "c": ((("c.weight", 0, 6), ("c.weight", 1, 2)), ()),
}
WIDTHS = [{"a": (n, 4), "b": (2, n), "c": (n, 0)} for n in (8, 4, 2)]


def alone(rows, columns):
    return 1e-3 * rows * columns


def grid(path):
    rows, columns = SIDES[path]
    down, across = range(1, rows[0][2] + 1), range(1, columns[0][2] + 1)
    seconds = np.array([[alone(r, c) for c in across] for r in down])
    return Grid(tuple(down), tuple(across), seconds)


def forward(widths, factor=1.0, stations=0.0, whole=1.0):
    """A forward in which layers take ``factor`` times what they take alone, with a norm behind a, and c in place."""
    inside = {path: factor * alone(*widths[path]) + stations for path in "ab"} | {"c": 2e-3 * widths["c"][0] + stations}
    behind = {"a": 5e-4 * widths["a"][0] + stations, "b": stations, "c": stations}
    spans = Spans(1e-3, inside, behind, dict.fromkeys("abc", 1))
    return Forward(widths["a"][0] / 8, widths, spans, whole * (spans.total - 6 * stations))


@pytest.mark.parametrize("stations", [0.0, 2e-4])
@pytest.mark.parametrize("factor", [1.0, 1.7])
def test_what_is_timed_alone_and_in_place_is_recovered(factor, stations):
    forwards = [forward(widths, factor, stations) for widths in WIDTHS]
    before, layers, checks = assemble(SIDES, {path: grid(path) for path in "ab"}, forwards)
    assert before == pytest.approx(1.0)
    a, b, c = layers
    assert [layer.path for layer in layers] == ["a", "b", "c"]
    for rows in range(2, 9):
        for columns in range(1, 5):
            expected = 1e3 * (factor * alone(rows, columns) + 5e-4 * rows)
            assert a.predict(rows, columns) == pytest.approx(expected, rel=1e-3)
    assert [b.predict(2, n) for n in (1, 3, 8)] == pytest.approx(
        [1e3 * factor * alone(2, n) for n in (1, 3, 8)], rel=1e-3
    )
    assert (c.row_widths, c.column_widths) == ((2, 4, 8), (0,))
    assert [c.predict(n, 0) for n in (1, 2, 3, 8)] == pytest.approx([4.0, 4.0, 6.0, 16.0], rel=1e-3)
    for (share, measured, predicted), one in zip(checks, forwards, strict=True):
        assert (share, measured) == (one.share, pytest.approx(1e3 * one.seconds, rel=1e-3))
        assert predicted == pytest.approx(measured, rel=1e-3)


def test_all_is_brought_to_the_forward_without_stations():
    forwards = [forward(widths, whole=0.8) for widths in WIDTHS]
    before, layers, checks = assemble(SIDES, {path: grid(path) for path in "ab"}, forwards)
    # 20 % of it are what the stations take, as much a call, of which layers alone are freed
    total = before + sum(layer.total for layer in layers)
    assert total == pytest.approx(1e3 * forwards[0].seconds, rel=1e-3)
    assert checks[0][1] == pytest.approx(checks[0][2], rel=1e-3)


def test_a_factor_that_grows_with_the_size_is_followed():
    """In place a wide layer is twice as slow as alone, and a narrow one as fast: the caches."""
    forwards = []
    for widths in WIDTHS:
        one = forward(widths)
        one.spans.inside["a"] *= 1 + (widths["a"][0] == 8)
        forwards.append(Forward(one.share, widths, one.spans, one.spans.total))
    _, layers, _ = assemble(SIDES, {path: grid(path) for path in "ab"}, forwards)
    assert layers[0].predict(8, 4) == pytest.approx(64 + 4, rel=1e-3)
    assert layers[0].predict(4, 4) == pytest.approx(16 + 2, rel=1e-3)
    assert layers[0].predict(8, 2) == pytest.approx(16 + 4, rel=1e-3)  # as long alone as half of the rows


def test_noise_leaves_a_table_that_never_falls():
    generator = np.random.default_rng(0)
    noisy = {
        p: Grid(grid(p).row_widths, grid(p).column_widths, grid(p).seconds * (1 + generator.random())) for p in "ab"
    }
    noisy = {
        p: Grid(g.row_widths, g.column_widths, g.seconds + 2e-3 * generator.random(g.seconds.shape))
        for p, g in noisy.items()
    }
    assemble(SIDES, noisy, [forward(widths) for widths in reversed(WIDTHS)])  # a Layer checks itself
