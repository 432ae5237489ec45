"""Tests mirror the library: every module of the rooms below has a test file of its own name in the same folder."""

from __future__ import annotations

from pathlib import Path

import pytest

import lzero.errors

SOURCE, TESTS = Path(lzero.errors.__file__).parent, Path(__file__).parent
ROOMS = ("host", "plan", "proving", "surgery", "tracing")

# Modules that another test file covers, and why there.
ELSEWHERE: dict[str, Path] = {}


def modules(room: str) -> list[Path]:
    """The modules of a room and its folders, from the root of the library; ``__init__`` files only name them."""
    found = (path.relative_to(SOURCE) for path in (SOURCE / room).rglob("*.py"))
    return sorted(path for path in found if path.name != "__init__.py")


def mirror(module: Path) -> Path:
    """Where the tests of ``module`` are, from the root of the tests."""
    return ELSEWHERE.get(module.as_posix(), module.with_name(f"test_{module.name}"))


@pytest.mark.parametrize("room", ROOMS)
def test_every_module_has_a_test_file_of_its_own_name(room: str) -> None:
    missing = [str(mirror(module)) for module in modules(room) if not (TESTS / mirror(module)).is_file()]
    assert not missing, f"missing in tests/: {', '.join(missing)}"
