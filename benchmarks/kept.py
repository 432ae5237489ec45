"""Rows that a benchmark appends to a CSV as they come, so that it goes on where it was stopped."""

import csv
from dataclasses import asdict, fields


def append(row, path):
    """Write ``row``, a dataclass, behind those in the file."""
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(row)], lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow({name: f"{v:.5g}" if isinstance(v, float) else v for name, v in asdict(row).items()})


def read(kind, path):
    """The rows of a file, each a ``kind``; none where there is no file."""
    if not path.exists():
        return []
    types = {field.name: field.type for field in fields(kind)}
    with path.open(newline="", encoding="utf-8") as file:
        return [kind(**{name: types[name](value) for name, value in line.items()}) for line in csv.DictReader(file)]
