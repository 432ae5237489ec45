"""Formulas as MathML, which browsers draw themselves: the site opens from a disk, without a network."""

from docutils.nodes import SkipNode
from docutils.utils.math import latex2mathml
from sphinx.util import logging


def draw(translator, node, *, block):
    """Append a formula; one that cannot be read is a warning, and its source stands in the page."""
    try:
        translator.body.append(latex2mathml.tex2mathml(node.astext(), as_block=block))
    except Exception as problem:  # of several kinds, by the version of docutils
        logging.getLogger(__name__).warning("formula: %s in %s", problem, node.astext(), location=node)
        translator.body.append(f"<code>{translator.encode(node.astext())}</code>")


def inline(translator, node):
    draw(translator, node, block=False)
    raise SkipNode


def display(translator, node):
    translator.body.append(translator.starttag(node, "div", CLASS="formula"))
    draw(translator, node, block=True)
    translator.body.append("</div>\n")
    raise SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (inline, None), (display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
