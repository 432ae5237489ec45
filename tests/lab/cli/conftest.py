"""One finished training for all tests of the command line; none of them may change it for good."""

import pytest
from commands import TRAIN

from lzero_lab.cli import main


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert main([*TRAIN, "--out", str(folder)]) == 0
    return folder
