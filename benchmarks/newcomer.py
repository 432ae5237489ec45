"""The way of a newcomer, timed: from a clone to the first figure, and to a network of one's own that is purged.

    python benchmarks/newcomer.py               # some minutes; most of them are pip's
    python benchmarks/newcomer.py --of URL --python python3.12

A fresh clone in a temporary folder, an environment of its own in it, and then what README says: `make demo`, and the
plain loop of the examples. What pip has in its cache is not fetched again: `PIP_NO_CACHE_DIR=1` in front is a new
machine.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from rows import machine

ROOT = Path(__file__).parent.parent


def steps(of, python):
    """Name of a step -> its command, and the file that is there when it is done; all but the first within the clone."""
    loop = [str(Path(".venv", "bin", "python")), str(Path("examples", "plain_loop.py"))]
    return {
        "clone": (["git", "clone", "--quiet", str(of), "."], "Makefile"),
        "environment": (["make", "venv", f"PYTHON={python}"], str(Path(".venv", ".installed"))),
        "make demo": (["make", "demo"], str(Path("runs", "demo", "dynamics.png"))),
        "plain_loop.py": (loop, str(Path("runs", "examples", "plain_loop.png"))),
    }


def walk(folder, of, python):
    """Seconds of each step.

    Raises:
        RuntimeError: one failed, or left nothing.
    """
    here = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    seconds = {}
    for name, (command, made) in steps(of, python).items():
        begun = perf_counter()
        done = subprocess.run(
            command, cwd=folder, env=here, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        seconds[name] = perf_counter() - begun
        if done.returncode or not (Path(folder) / made).is_file():
            raise RuntimeError(f"{name}: {' '.join(command)} left no {made}:\n{done.stdout[-3000:]}")
    return seconds


def told(seconds):
    """Seconds of each step, and of the two ways that they make."""
    before = seconds["clone"] + seconds["environment"]
    rows = {
        **seconds,
        "clone to first figure": before + seconds["make demo"],
        "clone to own model purged": before + seconds["plain_loop.py"],
    }
    return [f"{name:<26}{value:7.1f} s" for name, value in rows.items()]


def main(arguments=None):
    parser = argparse.ArgumentParser(description="The way of a newcomer, timed.")
    parser.add_argument("--of", default=ROOT, help="what is cloned (default: this checkout, as committed)")
    parser.add_argument("--python", default=sys.executable, help="makes the environment (default: this one)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="newcomer-") as folder:
        print(*told(walk(folder, options.of, options.python)), sep="\n")
    print(machine())


if __name__ == "__main__":
    main()
