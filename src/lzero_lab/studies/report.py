"""What a study found: a table of means in Markdown, and its figures, from its CSV alone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from statistics import mean, stdev

from lzero import plots
from lzero.plots.table import grouped
from lzero.recorder import Recorder, Row, Value
from lzero_lab.files import write_text
from lzero_lab.studies.cells import EPOCHS
from lzero_lab.studies.study import Study

CELLS, TABLE = "cells.csv", "table.md"
_HEAD = (
    "| method | shipped params | shipped MACs | architecture | epochs | seeds | validation | test error | seconds |",
    "|---|---:|---:|---|---:|---:|---:|---:|---:|",
)
_LEGEND = (
    "Errors of purged models after the last epoch, means over the seeds with the standard deviation; shipped: the "
    "largest share over the seeds; architecture: of the first seed."
)
_GATES = "gates closed / undecided / open"  # by P(z != 0): below 0.1, from 0.1 to 0.9, above


def write_report(folder: str | os.PathLike[str], study: Study) -> list[Path]:
    """The files drawn from the rows of ``study`` in ``folder``, the table first; none while no cell is finished."""
    folder = Path(folder)
    rows = finished(folder, study)
    if not rows:
        return []
    write_text(folder / TABLE, table(rows, said(rows, study), remarks(folder, study)))
    files = [folder / TABLE]
    for model, group in grouped(rows, "model").items():
        figure, _ = plots.methods([*group, *published(budgets(group), str(group[0]["data"]))])
        files.append(plots.save(figure, folder / f"methods-{model}.png"))
    return [*files, *(path for budget in study.curves if (path := curves(folder, rows, study, budget)))]


def said(rows: Sequence[Row], study: Study) -> str:
    """What stands below the title of the table.

    It is the note of the study, its devices where they are not a CPU, and which methods are at some budgets alone, and
    why.
    """
    devices = {str(row.get("device", "cpu")) for row in rows}
    where = f"Trained on {', '.join(sorted(devices))}." if devices != {"cpu"} else ""
    words = " ".join(part for part in (study.note, where) if part)
    partial = [{"method": name, "why": fields["why"]} for name, fields in study.methods.items() if "why" in fields]
    reasons = [
        f"- {'; '.join(str(row['method']) for row in group)}: {why}" for why, group in grouped(partial, "why").items()
    ]
    alone = "\n".join(["Not at every budget:", "", *reasons]) if reasons else ""
    return "".join(f"{part}\n\n" for part in (words, alone) if part)


def remarks(folder: str | os.PathLike[str], study: Study) -> dict[str, str]:
    """Budget -> which of its trainings have no number, and why; "" where all that is planned is there.

    A training is not yet trained, or has failed, and the first message says how.
    """
    path = Path(folder, CELLS)
    found: dict[str, Row] = {}
    if path.exists():
        found = {str(row["cell"]): row for row in Recorder.from_csv(path)}
    cells: list[Row] = [{**dict(cell.labels), "cell": cell.key, "seed": cell.recipe.seed} for cell in study.cells()]
    of_budget = grouped(cells, "budget")
    return {budget: _remark(of_budget.get(budget, []), found) for budget in study.budgets}


def _remark(cells: Sequence[Mapping[str, Value]], found: Mapping[str, Row]) -> str:
    planned, missing, failed = grouped(cells, "label"), Recorder(), dict[str, str]()
    for label, group in planned.items():
        rows = [found.get(str(cell["cell"]), {}) for cell in group]
        problems = [str(row["problem"]) for row in rows if "problem" in row]
        failed |= {label: problems[0]} if problems else {}
        seeds = [str(cell["seed"]) for cell, row in zip(group, rows, strict=True) if not row]
        if seeds:
            missing.append(label=label, seeds=f"seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}")
    open_ = []
    for seeds_, group in grouped(missing.rows, "seeds").items():
        methods = "; ".join(str(row["label"]) for row in group) if len(group) < len(planned) else "every method"
        open_.append(f"{seeds_} of {methods}")
    lines = [f"Not trained: {', and '.join(open_)}."] if open_ else []
    return "\n\n".join([*lines, *(f"Failed: {label}: {problem}." for label, problem in failed.items())])


def curves(folder: Path, rows: Sequence[Row], study: Study, budget: str) -> Path | None:
    """The figure of what the ``study`` wants drawn of a ``budget``, of the first seed; None where none is finished."""
    of_it = [row for row in rows if row["budget"] == budget]
    first = {str(row["label"]): row for row in reversed(of_it)}
    epochs = grouped(Recorder.from_csv(folder / EPOCHS).rows, "cell") if (folder / EPOCHS).exists() else {}
    cells = {label: str(first[label]["cell"]) for label in study.curves[budget] if label in first}
    runs = {label: epochs[cell] for label, cell in cells.items() if cell in epochs}
    if not runs:
        return None
    target = next((float(row["asked"]) for row in of_it if "asked" in row), None)
    figure, _ = plots.dynamics(runs, target, multiplier="multiplier_loss_units", error_label="validation error")
    words = "".join(letter if letter.isalnum() else " " for letter in budget).split()
    return plots.save(figure, folder / f"curves-{'-'.join(words)}.png")


def finished(folder: str | os.PathLike[str], study: Study) -> list[Row]:
    """The rows of the trainings of ``study`` that shipped something, in its order, with any seed.

    Rows of recipes that the study does not have, left behind where it was changed, are passed over.
    """
    path = Path(folder, CELLS)
    rows = [row for row in Recorder.from_csv(path) if "error" in row] if path.exists() else []
    seeds = sorted({int(row["seed"]) for row in rows})
    order = {cell.key: place for place, cell in enumerate(study.choose(seeds=seeds).cells())}
    return sorted((row for row in rows if row["cell"] in order), key=lambda row: order[str(row["cell"])])


def budgets(rows: Sequence[Mapping[str, Value]]) -> list[str]:
    """The names of the budgets, in order."""
    return list(grouped(rows, "budget"))


def published(names: Sequence[str], data: str) -> list[Row]:
    """What others reported on ``data`` at the budgets of these ``names``: ``label``, ``error``, ``source``, ...

    ``recalled`` is 1 where a number was quoted from memory of the paper.
    """
    path = resources.files("lzero_lab").joinpath("studies", "published.csv")
    with resources.as_file(path) as file:
        return [row for row in Recorder.from_csv(file) if row["budget"] in names and row["data"] == data]


def table(rows: Sequence[Row], words: str = "", remarks: Mapping[str, str] | None = None) -> str:
    """Markdown: for every budget, every method's mean and standard deviation over seeds, the least error first.

    It has a title, what its columns are, ``words`` below that, and below each budget its entry of ``remarks``; budgets
    without a row come last, those together of which the same is said.
    """
    parts, shown = [], budgets(rows)
    for budget, group in grouped(rows, "budget").items():
        ours = sorted(grouped(group, "label").items(), key=lambda item: mean(_column(item[1], "error")))
        others = published([budget], str(group[0]["data"]))
        lines = [*_HEAD, *(_line(label, trainings) for label, trainings in ours), *map(_published_line, others)]
        if any("gates" in row for row in group):
            decided = [_GATES, "---:", *(_decided(trainings) for _, trainings in ours), *("–" for _ in others)]
            lines = [f"{line} {cell} |" for line, cell in zip(lines, decided, strict=True)]
        remark = (remarks or {}).get(budget, "")
        parts.append(f"**{budget}**\n\n" + "\n".join(lines) + "\n" + (f"\n{remark}\n" if remark else ""))
    rest = [{"budget": name, "remark": said} for name, said in (remarks or {}).items() if said and name not in shown]
    parts += [f"**{'; '.join(budgets(group))}**\n\n{said}\n" for said, group in grouped(rest, "remark").items()]
    return f"# Methods side by side: {rows[0]['data']}\n\n{_LEGEND}\n\n{words}" + "\n".join(parts)


def _line(label: str, rows: Sequence[Mapping[str, Value]]) -> str:
    errors = _column(rows, "error")
    spread = f" ± {stdev(errors):.2%}" if len(errors) > 1 else ""
    return (
        f"| {label} | {max(_column(rows, 'shipped_params')):.2%} | {max(_column(rows, 'shipped_macs')):.2%} "
        f"| {architecture(str(rows[0].get('kept', '')))} | {max(_column(rows, 'epochs')):.0f} | {len(errors)} "
        f"| {mean(_column(rows, 'validation_error')):.2%} | {mean(errors):.2%}{spread} "
        f"| {mean(_column(rows, 'seconds')):.0f} |"
    )


def _decided(rows: Sequence[Mapping[str, Value]]) -> str:
    """The shares of gates in the three classes of :data:`_GATES`, the mean over trainings; a dash without gates."""
    counts = [[int(count) for count in str(row["gates"]).split()] for row in rows if "gates" in row]
    if not counts:
        return "–"
    shares = []
    for low, high in ((0.0, 0.1), (0.1, 0.9), (0.9, 1.0)):
        parts = [sum(bins[round(low * len(bins)) : round(high * len(bins))]) / sum(bins) for bins in counts]
        shares.append(f"{mean(parts):.0%}")
    return " / ".join(shares)


def _published_line(row: Row) -> str:
    def share(name: str) -> str:
        return f"{float(row[name]):.1%}" if name in row else "–"

    spread = f" ± {float(row['spread']):.2%}" if "spread" in row else ""
    label = f"*{row['label']}, published{' (recalled)' if row.get('recalled') else ''}*"
    return (
        f"| {label} | {share('shipped_params')} | {share('shipped_macs')} | {row.get('architecture', '–')} "
        f"| {row.get('epochs', '–')} | {row.get('seeds', '–')} | – | {float(row['error']):.2%}{spread} | – |"
    )


def architecture(kept: str) -> str:
    """The units left of every layer, in the order of the data, from the text of the column ``kept``."""
    counts = {name: part.split("/")[0] for name, part in (word.split("=") for word in kept.split())}
    if not counts:
        return "–"
    return "-".join(counts[name] for name in sorted(counts, key=_depth))


def _depth(name: str) -> tuple[str, int]:
    """A layer's inputs come right before its units."""
    layer, _, inputs = name.partition(".")
    return layer, 0 if inputs else 1


def _column(rows: Sequence[Mapping[str, Value]], name: str) -> list[float]:
    return [float(row[name]) for row in rows]
