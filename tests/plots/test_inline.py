"""Figures within a page: they take its colours and fonts, and bring nothing with them that it does not need."""

import re
from xml.etree import ElementTree

import pytest
from plots.rows import FIGURES, LAYERS, RUNS

from lzero import plots
from lzero.plots import style
from lzero.plots.inline import VARIABLES, inline


@pytest.fixture(params=FIGURES, scope="module")
def svg(request):
    return inline(FIGURES[request.param]()[0], request.param, 'what one sees, "&" <b>')


def test_it_is_one_closed_element_with_an_alt_text(svg):
    root = ElementTree.fromstring(svg)
    assert root.tag == "svg" and root.get("role") == "img" and root.get("aria-label") == 'what one sees, "&" <b>'
    assert "viewBox" in root.attrib and not {"width", "height"} & root.attrib.keys()
    assert "http" not in svg and "metadata" not in svg and "<style" not in svg and ":href" not in svg
    named = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(named) == len(set(named))
    assert set(re.findall(r"url\(#([^)]+)\)", svg)) <= set(named)
    assert {use.get("href")[1:] for use in root.iter("use")} <= set(named)


def test_colours_are_those_of_the_page_and_text_is_text(svg):
    for colour in VARIABLES:
        assert colour not in svg.lower()
    assert "var(--ink)" in svg and "DejaVu" not in svg
    assert len(ElementTree.fromstring(svg).findall(".//text")) > 5
    assert "font-size: 10px" in svg


def test_every_colour_of_the_style_has_a_name_of_its_own():
    assert {style.CARD, style.INK, style.MUTED, style.GRID, style.FEASIBLE, *style.COLOURS} == set(VARIABLES)
    assert len(set(VARIABLES.values())) == len(VARIABLES)


def test_two_figures_of_two_names_share_no_identifier():
    first, second = (inline(plots.architecture(LAYERS)[0], name, "a figure of two") for name in ("one", "two"))
    ids = [set(re.findall(r'id="([^"]+)"', text)) for text in (first, second)]
    assert ids[0] and not ids[0] & ids[1]
    assert inline(plots.architecture(LAYERS)[0], "one", "a figure of two") == first


def test_names_of_runs_are_escaped():
    text = inline(plots.dynamics({"<script>alert(1)</script>": RUNS["constrained"]}, 0.1)[0], "evil", "alert")
    assert "<script" not in text and "&lt;script&gt;" in text
