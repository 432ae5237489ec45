"""The figures of a report, each with a heading, a caption and what one sees in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from markupsafe import Markup

from lzero.plots import sheet
from lzero.plots.inline import Figure, inline
from lzero.plots.table import numbers
from lzero.recorder import Row, Value
from lzero.report.content import Content
from lzero.report.words import count, percent, plain

MOST_ROWS = 400  # of one curve: more cannot be told apart on a page
MOST_COLUMNS = 120  # of the histograms
MOST_BUDGETS = 6  # lines in one panel
_TIMES = ("epoch", "step")
_TITLES = {
    "density": "Density",
    "multiplier": "Multiplier",
    "loss": "Training loss",
    "error": "Error",
    "params": "Against parameters",
    "macs": "Against MACs",
    "milliseconds": "Against milliseconds",
}
_CAPTIONS = {
    "density": "Deployed: of the gates that are open. Expected: of all that may be drawn.",
    "multiplier": "It rises while what would be shipped is too large, and falls when it is too small.",
    "loss": "",
    "error": "",
}


@dataclass(frozen=True)
class Picture:
    """One figure: its SVG, and what stands above and below it."""

    svg: Markup
    title: str
    caption: str


def dynamics(content: Content) -> list[Picture]:
    """Density against its target, multiplier, loss and error over time, those that the rows have."""
    runs = {label: _timed(thinned(rows, MOST_ROWS)) for label, rows in content.runs.items() if rows}
    if content.rows and not runs:
        runs = {"this training": _timed(thinned(content.rows, MOST_ROWS))}
    if not runs:
        return []
    found = dict(sheet.dynamics(runs, targets(content.rows), error_label=content.error_label))
    extra = ""
    parts = _by_budget(_timed(thinned(content.rows, MOST_ROWS)))
    if parts:
        asked = [float(rows[-1]["target"]) for rows in parts.values()]
        found |= sheet.dynamics(parts, asked)
        several = sum(column.endswith(":target") for column in _columns(content.rows))
        extra = " One line a budget, dotted: what it asks for."
        if several > len(parts):
            extra += f" {len(parts)} of {several}: those with the largest multipliers."
    pictures = []
    for name in ("density", "multiplier", "loss", "error"):
        if name in found:
            caption = _CAPTIONS[name] + (extra if name == "density" else "")
            seen = _course_in_words(name, parts if name in ("density", "multiplier") and parts else runs)
            title = content.error_label.capitalize() if name == "error" else ""
            pictures.append(_picture(found[name], name, caption, seen, title))
    return pictures


def histogram(content: Content) -> list[Picture]:
    """Where the probabilities of the gates lie over time, where the rows count them."""
    bins = [column for column in _columns(content.rows) if column.startswith("p_") and column[2:].isdigit()]
    counts = sum((np.nan_to_num(numbers(content.rows, name)) for name in bins), np.zeros(len(content.rows)))
    rows = [row for row, gates in zip(content.rows, counts, strict=True) if gates > 0]
    if not rows:
        return []
    first, last = counts[counts > 0][[0, -1]].tolist()
    undecided = sum(float(rows[-1].get(name, 0)) for name in bins[1:-1]) / last
    gates = count(last) if first == last else f"{count(first)}, at the end {count(last)}"
    caption = (
        f"The share of {gates} gates by the probability that they are open; above the dashes at 1/2 a gate is open in "
        f"evaluation. At the end {percent(undecided)} lie in none of the outermost bins."
    )
    figure = sheet.histogram(_timed(thinned(rows, MOST_COLUMNS)))
    seen = f"A histogram of the probabilities of the gates for each of {len(rows)} moments of the training"
    return [_picture(figure, "histogram", caption, seen, "Gates over time")]


def course(content: Content) -> list[Picture]:
    """Error against density over the training, where the rows have both at more than one moment."""
    rows = [row for row in content.rows if "deployed" in row and "error" in row]
    if len(rows) < 2:
        return []
    figure = sheet.course(thinned(rows, MOST_ROWS), targets(content.rows))
    first, last = rows[0], rows[-1]
    seen = (
        f"From an error of {percent(float(first['error']))} at a density of {percent(float(first['deployed']))} to "
        f"{percent(float(last['error']))} at {percent(float(last['deployed']))}"
    )
    caption = "One training, a point for each moment that was recorded, in the order of time."
    return [_picture(figure, "course", caption, seen, "Along the training")]


def points(content: Content) -> list[Picture]:
    """Error against density of several models, and, where several budgets were asked for, shipped against asked."""
    rows = [dict(row) for row in content.points]
    if not rows:
        return []
    errors = "cut" in rows[0] and "validation_error" in rows[0]
    if errors or "evaluation" in rows[0]:
        noun = "validation error (%)" if errors else "evaluation"
        seen = f"{noun.capitalize()} of {len(rows)} purged models against what is left of them"
        caption = "One training, cut at other budgets: not equal to training at each." if rows[0].get("cut") else ""
        column = "validation_error" if errors else "evaluation"
        rows = [{**row, "evaluation": row[column]} for row in rows if column in row]
        return [
            _picture(figure, f"front-{name}", caption, seen, _TITLES[name])
            for name, figure in sheet.front(rows, noun, 100 if errors else 1).items()
        ]
    rows = [row for row in rows if "shipped" in row and "error" in row]
    found = []
    if len(rows) > 1:
        seen = f"Test error of {len(rows)} purged models against their density"
        found.append(
            _picture(sheet.trade_off(rows), "trade-off", "Of the purged models.", seen, "Error against density")
        )
    asked = [row for row in rows if "asked" in row]
    if len({row["asked"] for row in asked}) > 1:
        seen = f"Shipped density of {len(asked)} models against the density that was asked for"
        caption = "On the line is exact; below it the budget is met."
        found.append(_picture(sheet.control(asked), "control", caption, seen, "Shipped against asked"))
    return found


def thinned(rows: Sequence[Row], most: int) -> list[Row]:
    """At most ``most`` of the rows, evenly, the first and the last among them."""
    if len(rows) <= most:
        return list(rows)
    return [rows[round(place * (len(rows) - 1) / (most - 1))] for place in range(most)]


def targets(rows: Sequence[Row]) -> list[float]:
    """The density that one training was asked for; nothing where it changed on the way, or there are several."""
    found = set(numbers([row for row in rows if "target" in row], "target").tolist())
    return list(found) if len(found) == 1 else []


def _columns(rows: Sequence[Mapping[str, Value]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _timed(rows: Sequence[Row]) -> list[Row]:
    """The rows without a time that does not increase from each to the next: they are then drawn by number."""
    useless = {
        name
        for name in _TIMES
        if not all(
            isinstance(one.get(name), int | float)
            and isinstance(two.get(name), int | float)
            and float(one[name]) < float(two[name])
            for one, two in pairwise(rows)
        )
    }
    return [{name: value for name, value in row.items() if name not in useless} for row in rows]


def _by_budget(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Budget -> its own rows, of a training for several: those with the largest multipliers at the end."""
    names = [column.removesuffix(":target") for column in _columns(rows) if column.endswith(":target")]
    runs: dict[str, list[Row]] = {}
    for name in names:
        own = [row for row in rows if f"{name}:target" in row]
        for column in ("target", "multiplier", "violation", "strict_violation"):
            numbers(own, f"{name}:{column}")  # none of them is text
        runs[name] = [_of_budget(row, name) for row in own]
    largest = sorted(runs, key=lambda name: -abs(float(runs[name][-1].get("multiplier", 0))))[:MOST_BUDGETS]
    return {name: own for name, own in runs.items() if name in largest}


def _of_budget(row: Row, name: str) -> Row:
    target = float(row[f"{name}:target"])
    own: Row = {time: row[time] for time in _TIMES if time in row}
    own["target"] = target
    for column in ("multiplier", "multiplier_loss_units"):
        if f"{name}:{column}" in row:
            own[column] = row[f"{name}:{column}"]
    for column, violation in (("expected", "violation"), ("deployed", "strict_violation")):
        if f"{name}:{violation}" in row:
            own[column] = target + float(row[f"{name}:{violation}"])
    return own


def _course_in_words(name: str, runs: Mapping[str, Sequence[Row]]) -> str:
    column = {"density": "deployed", "multiplier": "multiplier"}.get(name, name)
    said = []
    for label, rows in list(runs.items())[:MOST_BUDGETS]:
        values = [float(row[column]) for row in rows if column in row]
        if values:
            form = percent if name in ("density", "error") else plain
            said.append(f"{label}: from {form(values[0])} to {form(values[-1])}")
    return f"{_TITLES[name]} over time. {'; '.join(said)}"


def _picture(figure: Figure, name: str, caption: str, seen: str, title: str = "") -> Picture:
    return Picture(Markup(inline(figure, name, seen)), title or _TITLES[name], caption)
