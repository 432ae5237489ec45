"""The library runs on the oldest PyTorch that it says it does; and how that is found out."""

import os
import re
import sys
from pathlib import Path

import oldest_torch
import pytest
import torch
from oldest_torch import CACHE, READY, SUITE, VARIABLE, Source, Unavailable

VERSION = oldest_torch.oldest_version()
HERE = torch.__version__.partition("+")[0]


@pytest.mark.slow
def test_the_suite_passes_on_the_oldest_torch(tmp_path):
    try:
        source = oldest_torch.find_source(VERSION)
        folder = Path(os.environ.get(CACHE) or tmp_path) / f"torch-{VERSION}"
        python = oldest_torch.prepare(source, VERSION, folder)
    except Unavailable as reason:
        pytest.skip(str(reason))
    done = oldest_torch.run_suite(python, SUITE)
    assert done.returncode == 0, done.stdout[-20_000:]


def test_the_oldest_version_is_the_bound_of_pyproject():
    def project(line):
        return f'[project]\ndependencies = ["numpy>=1", "torch-like>=9", "{line}"]'

    assert oldest_torch.oldest_version(project("torch>=2.6")) == "2.6.0"
    assert oldest_torch.oldest_version(project("torch >= 2.7.1, <3")) == "2.7.1"
    assert VERSION == "2.6.0"


def test_the_suite_is_there():
    assert all((oldest_torch.ROOT / path).exists() for path in SUITE)
    assert not any("zoo" in path for path in SUITE)


def test_linux_needs_to_be_told_where_and_others_ask_pypi():
    with pytest.raises(Unavailable, match=rf"torch {VERSION} with CUDA only .* set {VARIABLE}"):
        oldest_torch.find_source(VERSION, {}, "linux")
    assert oldest_torch.find_source(VERSION, {}, "darwin") == Source((f"torch=={VERSION}",), asked=False)


def test_a_named_wheel_folder_index_or_python_is_taken(tmp_path):
    def find(value):
        return oldest_torch.find_source("2.6.0", {VARIABLE: str(value)}, "linux")

    wheel = tmp_path / "torch-2.6.0+cpu-cp311-cp311-linux_x86_64.whl"
    other = tmp_path / "torch-2.6.1-cp311-cp311-linux_x86_64.whl"
    for path in (wheel, other):
        path.touch()
    assert find(wheel) == Source((str(wheel),))
    assert find(tmp_path) == Source(("--no-index", "--find-links", str(tmp_path), "torch==2.6.0"))
    assert find("https://index.example/cpu").install == ("--index-url", "https://index.example/cpu", "torch==2.6.0")
    assert find(sys.executable) == Source(None, sys.executable)
    with pytest.raises(ValueError, match=r"a wheel of torch 2\.6\.0, found torch-2\.6\.1"):
        find(other)
    with pytest.raises(ValueError, match="expected a wheel, a folder, a URL or a Python, found"):
        find(tmp_path / "nothing")


def test_the_commands_install_torch_first_and_alone(tmp_path):
    source = Source(("wheel.whl",))
    made, alone, rest = oldest_torch.setup(source, "2.6.0", tmp_path)
    assert made[1:] == ["-m", "venv", "--clear", str(tmp_path)]
    assert alone[-2:] == ["--no-deps", "wheel.whl"]
    assert alone[0] == rest[0] == oldest_torch.environment_python(source, tmp_path)
    assert "torch==2.6.0" in rest and not any(part.startswith("torch>=") for part in rest)
    for name in ("numpy", "cooper-optim", "scikit-learn", "pytest", "hypothesis", "mpmath"):
        assert any(part.startswith(name) for part in rest), name
    (tmp_path / READY).touch()
    assert oldest_torch.setup(source, "2.6.0", tmp_path) == []
    assert oldest_torch.setup(Source(None, "python"), "2.6.0", tmp_path / "new") == []


@pytest.mark.parametrize(("asked", "kind"), [(True, RuntimeError), (False, Unavailable)])
def test_what_cannot_be_installed_is_an_error_if_it_was_asked_for(tmp_path, monkeypatch, asked, kind):
    failing = [[sys.executable, "-c", "print('no such version'); raise SystemExit(1)"]]
    monkeypatch.setattr(oldest_torch, "setup", lambda *_: failing)
    with pytest.raises(kind, match="no such version"):
        oldest_torch.prepare(Source(("torch",), asked=asked), "2.6.0", tmp_path)


@pytest.mark.slow
def test_another_version_than_asked_for_is_refused_and_the_right_one_runs_the_suite(tmp_path):
    source = Source(None, sys.executable)
    with pytest.raises(RuntimeError, match=r"expected torch 0\.1\.0, found"):
        oldest_torch.prepare(source, "0.1.0", tmp_path)
    python = oldest_torch.prepare(source, HERE, tmp_path)
    done = oldest_torch.run_suite(python, ["tests/surgery/test_gathered_linear.py"])
    assert done.returncode == 0 and re.search(r"\b[1-9][0-9]* passed", done.stdout)
    assert oldest_torch.run_suite(python, ["tests/nothing.py"]).returncode
