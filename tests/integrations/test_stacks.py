"""The modules of frameworks are imported on first use, and say what is missing."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import lzero
from lzero import integrations


def test_importing_the_library_imports_no_framework():
    frameworks = ("lightning", "lightning_fabric", "pytorch_lightning", "transformers", "accelerate", "peft")
    code = f"import sys, lzero, lzero.integrations.request; assert not {set(frameworks)} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_framework_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(integrations.STACKS, "somebody", ("somebodys_trainer",))
    with pytest.raises(ImportError, match=r'needs somebodys_trainer, .* pip install "lzero\[somebody\]"'):
        _ = lzero.integrations.somebody


def test_every_extra_that_is_named_exists():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {name for name, packages in integrations.STACKS.items() if packages != ("torch",)}
    assert needed <= project["optional-dependencies"].keys()


def test_what_is_no_framework_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'keras'"):
        _ = lzero.integrations.keras
