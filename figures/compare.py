"""Three ways to one density, on digits: writes comparison.csv, dynamics.png and trade-off.png.

    python figures/compare.py

The same as `make demo`; its run folder is reused.
"""

import shutil
from pathlib import Path

from lzero_lab.cli import main

HERE = Path(__file__).parent
RUN = HERE.parent / "runs" / "demo"

if __name__ == "__main__":
    code = main(["compare", "--data", "digits", "--target", "0.1", "--out", str(RUN), "--resume"])
    if code == 0:
        for name in ("comparison.csv", "dynamics.png", "trade-off.png"):
            shutil.copyfile(RUN / name, HERE / name)
    raise SystemExit(code)
