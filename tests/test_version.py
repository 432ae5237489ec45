"""One version, wherever it is written."""

import re
from pathlib import Path

import lzero
from lzero.version import __version__

ROOT = Path(__file__).parent.parent


def test_the_version_is_that_of_the_project():
    project, citation = (ROOT / "pyproject.toml").read_text(), (ROOT / "CITATION.cff").read_text()
    assert re.search(r'^version = "(.*)"$', project, re.MULTILINE)[1] == __version__ == lzero.__version__
    assert re.search(r"^version: (.*)$", citation, re.MULTILINE)[1] == __version__
