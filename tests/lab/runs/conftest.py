"""One finished run, which is read by many tests."""

import pytest

from lzero_lab.runs.folder import RunFolder
from lzero_lab.runs.run import complete
from lzero_lab.training.recipe import Recipe


@pytest.fixture(scope="session")
def recipe():
    return Recipe(target=0.3, epochs=2, granularity="input")


@pytest.fixture(scope="session")
def finished(recipe, data, tmp_path_factory):
    """The run of ``recipe`` on the digits; no test may change its folder."""
    with RunFolder(tmp_path_factory.mktemp("run")).claim({"epochs": 2}) as folder:
        return complete(folder, recipe, data)
