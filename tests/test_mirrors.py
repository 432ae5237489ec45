"""Tests mirror the library and the lab: every module of it has a test file of its own name in the same folder."""

from __future__ import annotations

from pathlib import Path

import pytest

import lzero.errors
import lzero_lab.errors

SOURCE, TESTS = Path(lzero.errors.__file__).parent, Path(__file__).parent
ROOMS = (
    "baselines",
    "cost",
    "gates",
    "host",
    "integrations",
    "latency",
    "plan",
    "plots",
    "proving",
    "report",
    "shipped",
    "solver",
    "surgery",
    "tracing",
)

# Modules that another test file covers, and why there.
ELSEWHERE: dict[str, Path] = {
    "errors.py": Path("test_public_names.py"),  # they are names, and nothing else
}


def modules(room: str) -> list[Path]:
    """The modules of a room and its folders, from the root of the library; ``__init__`` files only name them.

    Of the root itself, ``""``, those that stand in no room.
    """
    files = (SOURCE / room).rglob("*.py") if room else SOURCE.glob("*.py")
    return sorted(path.relative_to(SOURCE) for path in files if path.name != "__init__.py")


def mirror(module: Path) -> Path:
    """Where the tests of ``module`` are, from the root of the tests."""
    return ELSEWHERE.get(module.as_posix(), module.with_name(f"test_{module.name}"))


@pytest.mark.parametrize("room", ["", *ROOMS], ids=lambda room: room or "top")
def test_every_module_has_a_test_file_of_its_own_name(room: str) -> None:
    missing = [str(mirror(module)) for module in modules(room) if not (TESTS / mirror(module)).is_file()]
    assert modules(room) and not missing, f"missing in tests/: {', '.join(missing)}"


def test_every_module_of_the_lab_has_one_too() -> None:
    lab = Path(lzero_lab.errors.__file__).parent
    paths = [path.relative_to(lab) for path in lab.rglob("*.py") if path.name != "__init__.py"]
    mirrors = [TESTS / "lab" / path.with_name(f"test_{path.name}") for path in paths]
    assert mirrors and not [str(test) for test in mirrors if not test.is_file()]


def test_no_room_is_left_out() -> None:
    assert sorted(ROOMS) == sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))


def test_what_is_covered_elsewhere_is_there_and_has_no_file_of_its_own() -> None:
    for module, path in ELSEWHERE.items():
        assert (SOURCE / module).is_file() and (TESTS / path).is_file()
        assert not (TESTS / Path(module).with_name(f"test_{Path(module).name}")).is_file(), module
