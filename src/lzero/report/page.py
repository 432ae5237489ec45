"""The page itself: one HTML file that refers to nothing outside it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from lzero.checks import file_path
from lzero.errors import RecordError
from lzero.files import replacing
from lzero.report import facts, figures, layers, machine, models
from lzero.report.content import Content
from lzero.report.words import count, duration, size

_TEMPLATES = Path(__file__).with_name("templates")
_PAGE, _STYLE = "page.html.j2", "page.css"
_LONGEST = 400  # characters of one value of the configuration


def write(content: Content, path: str | os.PathLike[str]) -> Path:
    """The path of the page, written whole or not at all, folders above it made.

    Raises:
        RecordError: ``path`` names no file or cannot be written, or the rows hold text where numbers belong.
    """
    target = file_path("report", path, error=RecordError)
    text = render(content)
    try:
        with replacing(target, parents=True) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: no name at all, by its characters
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        way_out = "make room and write it again" if full else "name a file in a folder of yours, such as report.html"
        raise RecordError(f"{target}: cannot be written ({error}); {way_out}") from error
    return target


def render(content: Content) -> str:
    """The page as text: the same content gives the same page on the same machine.

    Whatever comes from the user is escaped, and the page forbids scripts and whatever is not in it.

    Raises:
        RecordError: rows that hold text where numbers belong.
    """
    certificate, table = content.certificate, content.layers
    return _environment().get_template(_PAGE).render(
        content=content,
        style=Markup(_TEMPLATES.joinpath(_STYLE).read_text(encoding="utf-8")),  # ours
        headline=facts.headline(content),
        budgets=[] if certificate is None else facts.budgets(certificate),
        checks=[] if certificate is None else facts.checks(certificate),
        warnings=list(dict.fromkeys([*content.warnings, *(() if certificate is None else certificate.warnings)])),
        dynamics=figures.dynamics(content),
        gates=figures.histogram(content),
        against=[*figures.points(content), *figures.course(content)],
        models={
            "title": models.title(content.points),
            "cut": models.cut(content.points),
            "head": models.head(content.points),
            "body": models.body(content.points),
            "all": len(content.points),
        },
        nouns=[] if table is None else layers.nouns(table),
        lines=[] if table is None else layers.lines(table),
        total=None if table is None else layers.total(table),
        refused=[] if table is None else layers.refused(table),
        timings=facts.timings(content),
        configuration=list(_flat(content.configuration)),
        versions=content.versions or machine.versions(),
        machine=machine.machine(),
    )  # fmt: skip


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"count": count, "bytes": size, "duration": duration}
    return environment


def _flat(values: Mapping[str, object], above: str = "") -> Iterator[tuple[str, str]]:
    """Name -> value in words; entries of mappings by dotted names."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", _in_words(value)


def _in_words(value: object) -> str:
    if isinstance(value, str):
        text = value or "–"
    elif value is None:
        text = "–"
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, int | float):
        text = f"{value!r}"
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
