"""Examples in docstrings: what they show is what happens."""

import doctest
import importlib
from pathlib import Path

import pytest
import torch
from public import PUBLIC

import lzero

SOURCE = Path(lzero.__file__).parent
WITH_EXAMPLES = [
    ".".join(("lzero", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
    for path in sorted(SOURCE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]
RETURNED = ("Front", "Gates", "Plan", "PurgeResult")  # nobody builds one; the verbs that return them show them
VERBS = [f"lzero.{name}" for name in lzero.__all__ if not name.endswith(("Error", "Warning")) and name not in RETURNED]


@pytest.fixture(autouse=True)
def apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
@pytest.mark.parametrize("module", WITH_EXAMPLES)
def test_the_examples_of_a_module(module):
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as missing:
        pytest.skip(str(missing))
    result = doctest.testmod(found, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.attempted and not result.failed


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
@pytest.mark.parametrize("name", VERBS)
def test_every_verb_and_noun_has_an_example_that_can_be_pasted(name):
    """As a reader runs it: with nothing imported but what the example imports."""
    parser = doctest.DocTestParser()
    text = PUBLIC[name].docstring
    test = parser.get_doctest(text, {}, name, None, None)
    assert test.examples, f"{name}: no example"
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert not runner.run(test).failed
