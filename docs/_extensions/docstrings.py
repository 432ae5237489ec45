"""Docstrings as they are written here: Google-style sections, sentences with colons, signatures that can be read."""

from inspect import Signature

from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.util import inspect
from sphinx.util.inspect import stringify_signature

STYLE = Config(
    napoleon_use_param=False,  # a list: "gate_lr, optimizer, fresh: as for Solver" is one entry
    napoleon_custom_sections=[("Attributes", "params_style"), ("Source", "notes_style")],
)


class Docstring(GoogleDocstring):
    """With sentences where there may be colons: what is returned has its type in the signature."""

    def _consume_returns_section(self, preprocess_types=False):
        lines = self._dedent(self._consume_to_next_section())
        return [("", "", lines)] if lines else []


def literal(lines):
    """The same lines where what is indented between paragraphs, a formula or code, is shown as it stands."""
    made, before = [], ""
    for line in lines:
        if (
            line.startswith("    ")
            and made
            and not made[-1]
            and before
            and before[0] not in " -*"
            and before[-2:] != "::"
        ):
            made += ["::", ""]
        made.append(line)
        before = line or before
    return made


def process(app, what, name, obj, options, lines):
    """Replace the lines of a docstring; what stands before a colon in that of a property is no type."""
    what = "method" if what == "property" else what
    lines[:] = Docstring(literal(lines), STYLE, app, what, name, obj, options).lines()


def sign(app, what, name, obj, options, signature, returns):
    """What a class takes where its base is a stand-in, which takes anything; and defaults that are made anew."""
    if not signature:
        return None
    if what == "class" and "__init__" in vars(obj) and signature.startswith("(*args"):
        taken = inspect.signature(obj.__init__, bound_method=True).replace(return_annotation=Signature.empty)
        signature = stringify_signature(taken, unqualified_typehints=True)
    return signature.replace("<factory>", "..."), returns


def setup(app):
    app.connect("autodoc-process-signature", sign)
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
