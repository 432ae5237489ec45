"""The suite on the oldest PyTorch that pyproject admits: where that comes from, and the commands that run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent

VARIABLE = "LZERO_OLDEST_TORCH"
"""Names a wheel, a folder of wheels, the URL of a package index, or a Python that has that version already."""

CACHE = "LZERO_OLDEST_CACHE"
"""Names a folder where the environment stays for the next run; without it, it lies in a temporary folder."""

SUITE = [
    *(f"tests/{room}" for room in ("plan", "gates", "surgery", "tracing", "proving", "cost", "solver")),
    "tests/test_purge.py",
    "tests/test_verify.py",
    "tests/test_reload.py",
    "tests/test__torch.py",
]

READY = "ready"  # a file in the environment: everything has been installed


class Unavailable(Exception):
    """This machine cannot have that version, and why."""


@dataclass(frozen=True)
class Source:
    """Where the oldest PyTorch comes from.

    Attributes:
        install: arguments of ``pip install`` that bring it, without what it depends on; None if it is there.
        python: the interpreter that has it, if it is there.
        asked: whether somebody named it, so that a failure to install it is an error.
    """

    install: tuple[str, ...] | None
    python: str | None = None
    asked: bool = True


def requirements(extra: tuple[str, ...] = ("lab",)) -> list[str]:
    """What the library, these extras of it and its tests need, without torch."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"]]
    for name in extra:
        wanted += project["optional-dependencies"][name]
    tests = ("pytest", "hypothesis", "mpmath")
    wanted += [line for line in project["optional-dependencies"]["dev"] if line.startswith(tests)]
    return [line for line in wanted if not re.match(r"torch\b", line)]


def oldest_version(pyproject: str | None = None) -> str:
    """The lowest version of torch, in three numbers, that ``torch>=...`` in pyproject admits."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8") if pyproject is None else pyproject
    (bound,) = [
        found[1]
        for line in tomllib.loads(text)["project"]["dependencies"]
        if (found := re.fullmatch(r"torch>=([0-9.]+)(,.*)?", line.replace(" ", "")))
    ]
    return ".".join([*bound.split("."), "0", "0"][:3])


def find_source(version: str, environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Source:
    """Where ``version`` comes from on this machine.

    Raises:
        Unavailable: from nowhere.
        ValueError: the variable names nothing that could be it.
    """
    named = environ.get(VARIABLE, "")
    exact = f"torch=={version}"
    if not named:
        if platform == "linux":
            raise Unavailable(
                f"for Linux, PyPI has torch {version} with CUDA only (gigabytes); set {VARIABLE} to a CPU wheel of it, "
                "to a folder or the URL of an index that has one, or to a Python that has it installed"
            )
        return Source((exact,), asked=False)
    if "://" in named:
        return Source(("--index-url", named, exact))
    path = Path(named).expanduser().absolute()
    if path.is_dir():
        return Source(("--no-index", "--find-links", str(path), exact))
    if path.suffix == ".whl" and path.is_file():
        if not re.match(rf"torch-{re.escape(version)}(\+\w+)?-", path.name):
            raise ValueError(f"{VARIABLE}: expected a wheel of torch {version}, found {path.name}")
        return Source((str(path),))
    if path.is_file() and os.access(path, os.X_OK):
        return Source(None, str(path))
    raise ValueError(f"{VARIABLE}: expected a wheel, a folder, a URL or a Python, found {named!r}")


def setup(source: Source, version: str, folder: Path) -> list[list[str]]:
    """The commands that make an environment with ``source`` in ``folder``; none where it is there already."""
    if source.install is None or (folder / READY).exists():
        return []
    pip = [environment_python(source, folder), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    return [
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [*pip, "--no-deps", *source.install],
        [*pip, f"torch=={version}", *requirements()],  # torch is there: this brings what it needs
    ]


def environment_python(source: Source, folder: Path) -> str:
    """The interpreter that the suite runs with."""
    scripts, name = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    return source.python or str(folder / scripts / name)


def prepare(source: Source, version: str, folder: Path) -> str:
    """The interpreter of an environment that has ``version``, made in ``folder`` where it is not there.

    Raises:
        Unavailable: it cannot be installed, and nobody asked for this source.
        RuntimeError: it cannot be installed; or it is another version.
    """
    for command in setup(source, version, folder):
        done = _run(command)
        if done.returncode:
            said = f"{' '.join(command)}:\n{done.stdout[-2000:]}"
            raise RuntimeError(said) if source.asked else Unavailable(said)
    python = environment_python(source, folder)
    done = _run([python, "-c", "import torch; print(torch.__version__)"])
    found = done.stdout.strip()
    if done.returncode or found.partition("+")[0] != version:
        raise RuntimeError(f"{python}: expected torch {version}, found {found[-500:]}")
    if source.install is not None:
        (folder / READY).touch()
    return python


def run_suite(python: str, paths: list[str]) -> subprocess.CompletedProcess[str]:
    """The tests at ``paths`` under ``python``, with the library of this checkout."""
    return _run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *paths])


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
