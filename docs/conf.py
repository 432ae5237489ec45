"""The site: the pages of docs/, and those of figures/ and benchmarks/ that they lead to, as `make docs` builds it.

The whole repository is the source, so that a link between two files is the same on the site as it is in a checkout.
"""

import sys
from pathlib import Path

from pygments.lexers.special import TextLexer

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

import lzero

project = "lzero"
version = release = lzero.__version__
language = "en"
root_doc = "docs/index"
include_patterns = ["docs/**", "figures/**.md", "benchmarks/*.md", "CHANGELOG.md", "CONTRIBUTING.md"]
exclude_patterns = [".*", "build", "data", "dist", "runs", "shared", "src", "tests", "**/_*"]
needs_sphinx = "8.1"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "commands",  # this and the next lie in _extensions
    "docstrings",
    "folders",
    "mathml",
]

myst_enable_extensions = ["amsmath", "dollarmath"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 4

# Frameworks are stood in for, whether they are installed or not: the pages are the same everywhere.
autodoc_mock_imports = ["accelerate", "lightning", "lightning_fabric", "peft", "pytorch_lightning", "transformers"]
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100

nitpicky = True
nitpick_ignore_regex = [
    # Other people's classes, and types that are words within the library: nothing on the site has them.
    ("py:class", r"(torch|np|numpy|npt|nn|matplotlib|collections|os|pathlib|contextlib|argparse|typing)\..*"),
    ("py:class", r"lzero\.[a-z_]+\..*"),  # in annotations: the rooms of the library, where a page shows none of it
]

html_math_renderer = "mathml"
html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = f"lzero {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["_root"]  # index.html, which leads to that of docs/
html_show_sphinx = html_show_copyright = html_copy_source = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#005a8f", "color-brand-content": "#0067a3"},
    "dark_css_variables": {"color-brand-primary": "#7cc0ee", "color-brand-content": "#8ccaf2"},
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def setup(app):
    app.add_lexer("layers", TextLexer)  # the block of architecture.md that the tests read
