"""The lab's error, and how it names the extra where one of its packages is missing or blocked."""

import errno
import subprocess
import sys

import pytest
import torch

import lzero
from lzero_lab.errors import DataError, damaged, disk_full, needing, out_of_memory

BLOCKED = """
import sys
for name in ("rich", "PIL", "sklearn", "distributed"):
    sys.modules[name] = None  # an import of it fails, as where it is not installed
"""
TRAINED = """
import torch, lzero
from lzero_lab.datasets import Dataset
from lzero_lab.studies import cells
from lzero_lab.training.recipe import Recipe
from lzero_lab.training.training import Training
x, y = torch.rand(32, 1, 8, 8), torch.arange(32) % 10
training = Training(Recipe(target=0.5, steps=2), Dataset("mine", x, y, x, y, x, y)).run()
print(lzero.purge(training.model).certificate.deployed["params"] <= 0.5)
"""
DIGITS = """
from lzero_lab.datasets import load
try:
    load("digits")
except ValueError as problem:
    print(f"{type(problem).__name__}: {problem}")
"""
IMPORTED = """
import sys, lzero, lzero_lab, lzero_lab.datasets, lzero_lab.models, lzero_lab.cli
print(not {"rich", "PIL", "sklearn", "distributed", "matplotlib"} & set(sys.modules))
"""


def run(code, *arguments):
    return subprocess.run([sys.executable, "-W", "ignore", "-c", code, *arguments], capture_output=True, text=True)


def test_without_the_packages_of_the_extra_the_library_and_the_lab_work_on_data_of_ones_own():
    done = run(BLOCKED + TRAINED)
    assert done.stdout == "True\n", done.stderr


def test_without_scikit_learn_the_digits_say_what_to_install():
    expected = "DataError: digits: needs scikit-learn; install it with: pip install 'lzero[lab]'\n"
    assert run(BLOCKED + DIGITS).stdout == expected


def test_importing_loads_nothing_of_the_extra_where_it_is_installed():
    assert run(IMPORTED).stdout == "True\n"


@pytest.mark.parametrize("arguments", [["info"], []], ids=str)
def test_without_rich_the_command_says_in_one_line_what_to_install(arguments):
    done = run(BLOCKED + "from lzero_lab.cli import main; sys.exit(main(sys.argv[1:]))", *arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "lzero: the command line needs rich; install it with: pip install 'lzero[lab]'\n"


def test_an_import_that_fails_is_told_with_the_package_and_the_extra():
    message = r"^x: needs no-such; install it with: pip install 'lzero\[lab\]'$"
    with pytest.raises(DataError, match=message), needing("no-such", "x:"):
        import no_such_module
    with pytest.raises(DataError, match=r"^x: needs broken \(no libjpeg\);"), needing("broken", "x:"):
        raise ImportError("no libjpeg")
    with pytest.raises(DataError, match=r"'lzero\[cluster\]'$"), needing("no-such", "x:", "cluster"):
        import no_such_module  # noqa: F401
    with pytest.raises(KeyError), needing("other", "x:"):
        raise KeyError


def test_it_is_an_error_of_lzero_but_none_of_its_own():
    assert issubclass(DataError, lzero.LzeroError) and issubclass(DataError, ValueError)
    assert not issubclass(DataError, lzero.RecordError) and not hasattr(lzero, "DataError")


def test_a_damaged_file_is_named_with_what_was_expected_and_found():
    assert str(damaged("a/b", "4 bytes", "3")) == "a/b: expected 4 bytes, found 3; replace it by the original file"
    assert "found none;" in str(damaged("a/b", "4 bytes", ""))


def test_a_lack_of_memory_is_told_from_other_problems():
    short = [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory"), torch.OutOfMemoryError("CUDA")]
    assert all(map(out_of_memory, short))
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        torch.empty(2**45)  # what PyTorch really says
    assert out_of_memory(caught.value)
    assert not any(map(out_of_memory, [RuntimeError("size mismatch"), ValueError("allocate memory"), OSError(12, "x")]))


def test_a_full_disk_is_told_also_from_what_it_was_made_into():
    full = OSError(errno.ENOSPC, "No space left on device")
    made = DataError("rows.csv: cannot be written")
    made.__cause__ = full
    assert disk_full(full) and disk_full(made) and disk_full(OSError(errno.EDQUOT, "quota"))
    assert not any(map(disk_full, [None, DataError("x"), OSError(errno.EACCES, "denied"), OSError("full")]))
