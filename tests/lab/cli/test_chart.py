"""A curve of characters: which dots are set, by hand."""

import math

from lzero_lab.cli.chart import Chart


def text(chart, plain=False):
    return ["".join(character for character, _ in line) for line in chart.lines(plain=plain)]


def test_a_diagonal_fills_the_dots_that_it_passes():
    chart = Chart(2, 1, 0.0, 3.0)
    chart.draw([(0.0, 0.0), (1.0, 3.0)])  # four dots wide and high: one a column
    assert text(chart) == [chr(0x2800 + 0x40 + 0x20) + chr(0x2800 + 0x02 + 0x08)]
    assert text(chart, plain=True) == ["**"]


def test_a_level_is_dotted_and_told_from_the_curve():
    chart = Chart(3, 2, 0.0, 7.0)
    chart.draw([(0.0, 7.0), (1.0, 7.0)])
    chart.mark(0.0)
    top, bottom = chart.lines(plain=True)
    assert top == [("*", True)] * 3 and bottom == [("-", False)] * 3
    chart.mark(9.0)  # outside
    assert chart.lines(plain=True) == [top, bottom]


def test_logarithmic_charts_have_a_decade_as_high_as_another_and_nan_is_a_gap():
    chart = Chart(3, 2, 1.0, 1e7, log=True)
    chart.draw([(0.0, 1.0), (0.5, math.nan), (1.0, 1e4)])
    assert text(chart, plain=True) == ["  *", "*  "]
    chart.draw([(0.5, 0.0)])  # not above zero: at the bottom
    assert text(chart, plain=True) == ["  *", "** "]


def test_values_outside_stay_within():
    chart = Chart(1, 1, 0.0, 1.0)
    chart.draw([(0.0, 5.0), (1.0, -5.0)])
    assert len(text(chart)) == 1 and len(text(chart)[0]) == 1
