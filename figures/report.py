"""The page of a training on digits, as a browser shows it: writes report.png.

    python figures/report.py

The run folder is reused. It needs Chromium, or another browser that takes its options: --browser.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

from script import parser

from lzero_lab.cli import main

HERE = Path(__file__).parent
RUN = HERE.parent / "runs" / "report"
WIDTH, HEIGHT = 1120, 1500  # pixels: certificate and training; the page goes on below


def photograph(browser: str, page: Path, picture: Path, width: int = WIDTH, height: int = HEIGHT) -> None:
    """Write what ``browser`` shows of ``page`` as PNG."""
    with tempfile.TemporaryDirectory() as profile:
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
        options += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}"]
        options += [f"--window-size={width},{height}", f"--screenshot={picture}"]
        subprocess.run([browser, *options, page.resolve().as_uri()], check=True, capture_output=True, timeout=120)


if __name__ == "__main__":
    options = parser(__doc__, data_dir=False, workers=False)
    options.add_argument("--browser", default=shutil.which("chromium") or "chromium")
    browser = options.parse_args().browser
    train = ["train", "--data", "digits", "--target", "0.1", "--out", str(RUN), "--resume"]
    report = ["report", str(RUN), "--front", "0.5", "0.2", "0.1", "0.05"]
    code = main(train) or main(report)
    if code == 0:
        photograph(browser, RUN / "report.html", HERE / "report.png")
    raise SystemExit(code)
