"""What the scripts in this folder share: their options, and how tables in Markdown are written."""

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent


def parser(description: str | None, *, data_dir: bool = True, workers: bool = True) -> argparse.ArgumentParser:
    """With the options for where the data lies and how many trainings run at a time, where the script has these."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if data_dir:
        made.add_argument("--data-dir", default=os.environ.get("LZERO_DATA", "data"))
    if workers:
        made.add_argument("--workers", type=int, default=2)
    return made


def head(columns: Iterable[str]) -> list[str]:
    """The two lines that a table begins with."""
    columns = list(columns)
    return [line(columns), "|---" * len(columns) + "|"]


def line(cells: Iterable[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


def outcome(row: dict) -> str:
    """``deployed / error`` of one training: its density before settling, and the validation error, in per cent."""
    if "before_settling" not in row:
        return "failed"
    return f"{100 * row['before_settling']:.1f} / {100 * row['validation_error']:.2f}"
