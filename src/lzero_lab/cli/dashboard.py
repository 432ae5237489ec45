"""A training, or several, as one frame of a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.box import ROUNDED, SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lzero_lab.cli.chart import Chart
from lzero_lab.watching.watched import Several, Watched

_COLOURS = {"training": "green", "finished": "cyan", "stopped": "red", "failed": "red", "unknown": "yellow"}
_AROUND = 11  # lines of a frame that are not those of charts
_LEAST, _MOST = 4, 10  # lines of a chart
_LABEL = 9  # characters beside a chart
_LOG_SPAN = 20.0  # a chart whose values span more than this factor has a log axis, as in the figures
_PER_LINE = 8  # values
_NARROW = 70  # characters, below which charts stand one under the other
_OTHERS = 6  # lines of a frame of several that are not those of trainings


def frame(seen: Watched | Several, width: int, height: int, *, plain: bool = False) -> RenderableType:
    """What a terminal of that size shows of ``seen``; ``plain`` takes no characters but ASCII for curves."""
    return _several(seen, height) if isinstance(seen, Several) else _one(seen, width, height, plain)


def last_words(seen: Watched | Several) -> str:
    """One line on a training that is not at work any more; empty on one that is."""
    if isinstance(seen, Several):
        return f"{seen.name}: {seen.state}" if seen.state != "training" else ""
    if seen.state == "stopped":
        so_far = f"after {_where(seen)}" if seen.rows else "before its first epoch was over"
        return (
            f"{seen.name}: stopped {so_far}, and no process is at work in the folder; what was reached is saved: give "
            "the same command with --resume"
        )
    return f"{seen.name}: finished" if seen.state == "finished" else ""


def _one(seen: Watched, width: int, height: int, plain: bool) -> RenderableType:
    columns = 2 if width >= _NARROW else 1
    lines = (height - _AROUND) // (2 if columns == 2 else 4) - 1
    lines = max(_LEAST, min(_MOST, lines))
    room = (width - 4) // columns - _LABEL - 2
    charts = [
        _chart(seen, "density", "deployed", room, lines, plain, scale=100, level=seen.target),
        _chart(seen, "multiplier λ", "multiplier", room, lines, plain),
        _chart(seen, "training loss", "loss", room, lines, plain),
        _chart(seen, "validation error" if seen.about else "error", "error", room, lines, plain, scale=100),
    ]
    grid = Table.grid(expand=True, padding=(0, 1))
    for _ in range(columns):
        grid.add_column(ratio=1)
    for start in range(0, len(charts), columns):
        grid.add_row(*charts[start : start + columns])
    return Panel(
        Group(_head(seen), *_numbers(seen, _PER_LINE if width >= _NARROW else _PER_LINE // 2), Text(""), grid),
        title=Text(seen.name, style="bold"),
        subtitle=Text(seen.about or "rows of a loop", style="dim"),
        box=ROUNDED,
        border_style=_COLOURS.get(seen.state, "white"),
        width=width,
    )


def _head(seen: Watched) -> RenderableType:
    """State, where it is, and a bar."""
    words = Text(seen.state, style=f"bold {_COLOURS.get(seen.state, 'white')}")
    words.append(f"  {_where(seen)}" if seen.rows else "", style="default")
    if seen.who:
        words.append(f"  {seen.who}", style="dim")
    elif seen.state == "stopped":
        words.append("  no process is at work here; --resume continues it", style="red")
    elif seen.rows and seen.state != "finished":
        words.append(f"  last row {_duration(seen.age)} ago", style="dim")
    if seen.progress is None:
        return words
    bar = Table.grid(expand=True, padding=(0, 1))
    bar.add_column(ratio=1)
    bar.add_column(justify="right", no_wrap=True)
    left = seen.seconds_left
    share = f"{seen.progress:.0%}" + (f", {_duration(left)} left" if left is not None else "")
    bar.add_row(ProgressBar(total=1.0, completed=seen.progress, complete_style="green"), share)
    return Group(words, bar)


def _where(seen: Watched) -> str:
    row, words = seen.last, []
    if "epoch" in row:
        words.append(f"epoch {row['epoch']}")
    if "step" in row:
        of = f" of {seen.total_steps:,}" if seen.total_steps else ""
        words.append(f"step {int(row['step']):,}{of}")
    return ", ".join(words) or f"row {len(seen.rows)}"


def _numbers(seen: Watched, per_line: int) -> Iterator[RenderableType]:
    """The latest values, each under its name."""
    row, target, speed = seen.last, seen.target, seen.steps_per_second
    density = float(row["deployed"]) if "deployed" in row else None
    ends = seen.ends or {}
    if "shipped" in ends:
        density = float(ends["shipped"])
    error = ends.get("validation_error", row.get("error"))
    pairs = [
        ("phase", seen.phase),
        ("shipped" if "shipped" in ends else "density", _share(density)),
        ("asked", _share(target)),
        ("λ", "–" if seen.multiplier is None else f"{seen.multiplier:.3g}"),
        ("loss", f"{float(row['loss']):.3g}" if "loss" in row else "–"),
        ("val. error" if seen.about else "error", _share(error)),
    ]
    if "test_error" in ends:
        pairs.append(("test error", _share(ends["test_error"])))
    else:
        pairs.append(("steps/s", "–" if speed is None else f"{speed:,.3g}"))
    for start in range(0, len(pairs), per_line):
        some = pairs[start : start + per_line]
        table = Table(box=None, expand=True, padding=(0, 1), show_edge=False, header_style="dim")
        for name, _ in some:
            table.add_column(name, no_wrap=True)
        table.add_row(*(Text(text, style="bold") for _, text in some))
        yield table


def _chart(
    seen: Watched,
    title: str,
    column: str,
    width: int,
    height: int,
    plain: bool,
    *,
    scale: float = 1.0,
    level: float | None = None,
) -> RenderableType:
    """One column over the whole length of the training, with what it is heading for."""
    points = [
        (_time(seen, number), scale * float(row[column])) for number, row in enumerate(seen.rows) if column in row
    ]
    values = [value for _, value in points if math.isfinite(value)]
    head = Text(title, style="bold")
    if not values:
        return Group(head, Text("no such column in the rows" if seen.rows else "", style="dim"))
    marks = [scale * level] if level is not None else []
    low, high = min(0.0, *values), max([*values, *marks])
    log = min(values) > 0 and max(values) > _LOG_SPAN * min(values) and level is None
    if log:
        low = min(values)
    chart = Chart(width, height, low, high if high > low else low + 1.0, log)
    chart.draw(points)
    for mark in marks:
        chart.mark(mark)
    unit = " %" if scale == 100 else ""
    head.append(f"  {_brief(values[-1])}{unit}", style="bold cyan")
    if marks:
        head.append(f"  asked {_brief(marks[0])} %", style="magenta")
    text = Text()
    for number, line in enumerate(chart.lines(plain=plain)):
        side = _brief(high) if number == 0 else _brief(low) if number == height - 1 else ""
        text.append(f"{side:>{_LABEL - 1}} ", style="dim")
        for character, curve in line:
            text.append(character, style="cyan" if curve else "magenta")
        text.append("\n" if number < height - 1 else "")
    return Group(head, text)


def _time(seen: Watched, number: int) -> float:
    """Where a row stands between the beginning and the end of the training, in [0, 1]."""
    if seen.total_steps and all("step" in row for row in seen.rows):
        return min(1.0, float(seen.rows[number]["step"]) / seen.total_steps)
    return number / max(len(seen.rows) - 1, 1)


def _several(seen: Several, height: int) -> RenderableType:
    """A line a training: those that are not finished, then as many of the others as there is room for."""
    ordered = sorted(seen.trainings, key=lambda one: one.state == "finished")
    room = max(1, height - _OTHERS)
    finished = sum(one.state in ("finished", "failed") for one in seen.trainings)
    of = f" of {seen.total}" if seen.total else ""
    head = Text(f"{seen.kind} {seen.name}: ", style="bold")
    head.append(seen.state, style=f"bold {_COLOURS.get(seen.state, 'white')}")
    head.append(f"  {finished}{of} trainings finished" + (f"  {seen.who}" if seen.who else ""), style="default")
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1))
    table.add_column("training", overflow="ellipsis", no_wrap=True)
    for name in ("state", "progress", "asked", "density", "val. error", "left"):
        table.add_column(name, justify="left" if name == "state" else "right", no_wrap=True)
    for one in ordered[:room]:
        table.add_row(*_line(one))
    parts: list[RenderableType] = [head, table]
    if len(ordered) > room:
        parts.append(Text(f"and {len(ordered) - room} more", style="dim"))
    return Group(*parts)


def _line(one: Watched) -> Sequence[RenderableType]:
    ends, row = one.ends or {}, one.last
    density = ends.get("shipped", row.get("deployed"))
    left = one.seconds_left
    return (
        one.name,
        Text(one.phase if one.state == "training" else one.state, style=_COLOURS.get(one.state, "white")),
        "–" if one.progress is None else f"{one.progress:.0%}",
        _share(ends.get("asked", one.target)),
        _share(density),
        _share(ends.get("validation_error", row.get("error"))),
        "–" if left is None else _duration(left),
    )


def _share(value: object) -> str:
    return f"{float(value):.2%}" if isinstance(value, int | float) else "–"


def _brief(value: float) -> str:
    return f"{value:.3g}"


def _duration(seconds: float) -> str:
    """``"3 s"``, ``"4 min"``, ``"2 h 05 min"``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
