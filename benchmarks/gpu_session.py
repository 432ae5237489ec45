"""All that wants a CUDA device, in so many minutes: the checks, then the trainings of figures/axes.py and their speed.

    python benchmarks/gpu_session.py --data-dir <folder with cifar10-jpeg.tar.gz> --minutes 8 --out gpu-session

The length of the trainings follows from the time that is left after the checks, unless --steps says it. --out gets
gpu-check.csv, axes.csv, axes.md and axes.png, each as it stands, whatever stops this; an axes.csv that lies there is
continued.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean

from lzero import Recorder

ROOT = Path(__file__).parents[1]
CHECK, AXES = ROOT / "benchmarks" / "gpu_check.py", ROOT / "figures" / "axes.py"
TRIED, ROUND = 250, 100  # steps of a trial; steps are a multiple of it
STARTING, MEASURING = 40.0, 90.0  # seconds kept for processes to start, and for speeds
SPARE = 0.8  # share of the other time that is planned


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    end = time.time() + 60 * options.minutes
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        where = ["--device", options.device, "--jobs", str(options.jobs), *(["--small"] if options.small else [])]
        where += ["--data-dir", str(images(options, Path(folder)))]
        where += ["--granularities", *options.granularities, "--shares", *map(str, options.shares)]
        seconds = end - MEASURING - time.time()
        steps = options.steps or planned(where, options, Path(folder), seconds)
        say(f"{steps} steps a training, {end - time.time():.0f} s left")
        minutes = max(0.1, (end - MEASURING - time.time()) / 60)
        out = ["--out", str(options.out / "axes.csv")]
        seeds = ["--seeds", *map(str, options.seeds)]
        run(AXES, *where, *seeds, "--steps", str(steps), "--minutes", f"{minutes:.2f}", *out)
    for device in dict.fromkeys(("cpu", options.device)):
        jobs = str(max(1, 3 * options.jobs // 4)) if device == "cpu" else "1"  # on a GPU they would disturb each other
        left = end - time.time()
        small = ["--small"] if options.small else []
        run(AXES, "--speed", *small, "--device", device, "--jobs", jobs, "--pairs", "7", *out, seconds=left)
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    accepted = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    accepted.add_argument("--data-dir", default=os.environ.get("LZERO_DATA", "data"))
    accepted.add_argument("--minutes", type=float, default=8)
    accepted.add_argument("--out", type=Path, default=Path("runs/gpu-session"))
    accepted.add_argument("--device", default="cuda")
    accepted.add_argument("--jobs", type=int, default=16)
    accepted.add_argument("--steps", type=int, help="of a training")
    accepted.add_argument("--granularities", nargs="+", default=["unit", "width", "depth", "width+depth"])
    accepted.add_argument("--shares", nargs="+", type=float, default=[0.5, 0.2])
    accepted.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    accepted.add_argument("--small", action="store_true", help="tiny networks, to try this")
    accepted.add_argument("--no-checks", dest="checks", action="store_false")
    return accepted.parse_args(arguments)


def images(options: argparse.Namespace, folder: Path) -> Path:
    """CIFAR-10, decoded while the checks run; their outcome is printed."""
    sys.path.insert(0, str(ROOT / "figures"))
    from axes_data import decoded

    command = [sys.executable, str(CHECK), "--device", options.device, "--repeats", "0", "--out", str(options.out)]
    checks = subprocess.Popen(command) if options.checks else None
    file = decoded(options.data_dir, folder / "cifar10.pt")
    if checks is not None:
        say(f"checks: {'passed' if checks.wait() == 0 else 'FAILED'}")
    return file


def planned(where: list[str], options: argparse.Namespace, folder: Path, seconds: float) -> int:
    """Steps of a training, so that all end in time, by how many steps a second all processes made in a short trial."""
    place, started = folder / "trial.csv", time.time()
    few = ["--seeds", "0", "--lr", "1e-3", "--shares", str(options.shares[-1]), "--minutes", f"{seconds / 300:.2f}"]
    run(AXES, *where, *few, "--steps", str(TRIED), "--out", str(place))
    rows = Recorder.from_csv(place).rows if place.exists() else []
    together = min(options.jobs, len(rows))
    rate = 1e3 * together / mean(row["step_ms"] for row in rows) if rows else 0.0  # steps a second, of all together
    kinds = 2 * (1 + len(options.shares) * (1 + len(options.granularities)))
    trainings = 4 + len(options.seeds) * kinds  # four more, to choose the rate
    left = seconds - STARTING - (time.time() - started)
    say(f"trial: {len(rows)} rows, {rate:.0f} steps a second, {trainings} trainings, {left:.0f} s for them")
    return max(2 * ROUND, int(SPARE * left * rate / trainings) // ROUND * ROUND)


def run(script: Path, *arguments: str, seconds: float | None = None) -> None:
    """Run a script; one that fails or takes too long ends nothing else."""
    try:
        code = subprocess.run([sys.executable, str(script), *arguments], timeout=seconds, check=False).returncode
        say(f"{script.name}: ended with {code}")
    except subprocess.TimeoutExpired:
        say(f"{script.name}: out of time")


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
