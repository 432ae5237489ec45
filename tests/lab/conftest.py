"""Few digits: small networks learn them in a second."""

from dataclasses import replace

import pytest
from small_study import TEXT

from lzero_lab import datasets
from lzero_lab.studies.study import Study


@pytest.fixture(scope="session")
def data():
    """The digits with 300 images for training; no test may change it."""
    digits = datasets.load("digits")
    return replace(digits, train_x=digits.train_x[:300], train_y=digits.train_y[:300])


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(TEXT, encoding="utf-8")
    return Study.read(path)
