"""What type checkers say of the package's own names: misspelt ones are errors, the lazy one is known."""

import subprocess
import sys
from pathlib import Path

import pytest

import lzero

SOURCE = """
import lzero
from lzero import plots

reveal_type(lzero.plots)
lzero.plots.densities
lzero.Solver
lzero.Solvr
"""


@pytest.mark.slow
def test_a_misspelt_name_is_an_error_of_strict_mypy(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "user.py").write_text(SOURCE)
    checked = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--follow-imports",
            "silent",
            "--cache-dir",
            str(tmp_path / "cache"),
            "user.py",
        ],
        cwd=tmp_path,
        env={"MYPYPATH": str(Path(lzero.__file__).parents[1]), "PYTHONPATH": "", "PATH": ""},
        capture_output=True,
        text=True,
    )
    errors = [line for line in checked.stdout.splitlines() if " error: " in line]
    assert len(errors) == 1 and errors[0].startswith('user.py:8: error: Module has no attribute "Solvr"'), checked


def test_plots_is_imported_on_first_use_and_no_other_name_appears():
    code = (
        "import sys, lzero\n"
        "assert 'matplotlib' not in sys.modules\n"
        "assert lzero.plots.__name__ == 'lzero.plots' and 'matplotlib' in sys.modules\n"
        "assert not hasattr(lzero, 'Solvr')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
