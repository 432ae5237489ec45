"""Figures as parts of a web page: SVG that takes the colours and fonts of the page, in the light and in the dark."""

from __future__ import annotations

import io
import re
from typing import Any
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure as Figure

from lzero.plots.style import CARD, COLOURS, FEASIBLE, GRID, INK, MUTED

# Colour of a figure -> the custom property of the page that stands in its place.
VARIABLES = {
    CARD: "card",
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    FEASIBLE: "feasible",
    **{colour: f"series-{number}" for number, colour in enumerate(COLOURS)},
}
_DOTS = 144  # an inch, of what is drawn as an image
_FONT = re.compile(r"(?:(?P<weight>bold|\d{3}) )?(?P<size>[\d.]+px)")
_FRACTION = re.compile(r"-?\d+\.\d{3,}")
_SIZES = ("width", "height")


def inline(figure: Figure, name: str, description: str) -> str:
    """The text of one ``<svg>`` element, with ``description`` in the place of an image's alt text.

    It refers to nothing outside it, scales to the width that it is given, and its text is text. Colours of the common
    style are ``var(--ink)``, ``var(--series-0)``, ... (:data:`VARIABLES`), which the page defines.

    Args:
        figure: it is drawn without a background.
        name: of the figure on its page; two of the same name would share the identifiers of their parts.
        description: what one sees.
    """
    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": name, "svg.image_inline": True}
    file = io.BytesIO()
    with matplotlib.rc_context(settings):
        figure.savefig(file, format="svg", dpi=_DOTS, transparent=False, facecolor="none")
    root = ElementTree.fromstring(file.getvalue())
    _clean(root)
    for size in _SIZES:
        root.attrib.pop(size, None)
    root.attrib |= {"role": "img", "aria-label": description}
    return ElementTree.tostring(root, encoding="unicode")


def _clean(element: ElementTree.Element) -> None:
    """Names without namespaces, which HTML does not need; no metadata, no identifiers that nothing refers to."""
    element.tag = _local(element.tag)
    element.attrib = {_local(name): value for name, value in element.attrib.items()}
    if element.tag == "g":
        element.attrib.pop("id", None)
    if "style" in element.attrib:
        element.attrib["style"] = _restyled(element.attrib["style"])
    for name in ("d", "x", "y"):
        if name in element.attrib:
            element.attrib[name] = _FRACTION.sub(lambda found: f"{float(found[0]):.2f}", element.attrib[name])
    for child in list(element):
        if _local(child.tag) in ("metadata", "style"):
            element.remove(child)
        else:
            _clean(child)


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _restyled(style: str) -> str:
    """The declarations with colours of the page, and with its fonts."""
    said = []
    for declaration in style.split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        font = _FONT.match(value) if name == "font" else None
        if name == "font-family":
            continue
        if font is not None:
            said += [f"font-size: {font['size']}", *([f"font-weight: {font['weight']}"] if font["weight"] else [])]
        elif name:
            said.append(f"{name}: {f'var(--{VARIABLES[value]})' if value in VARIABLES else value}")
    return "; ".join(said)
