"""The page: whole, closed, accessible, small, with every number of the certificate, and whatever comes in escaped."""

import errno
import re

import pytest
from colours import contrast
from contents import EVIL, FRONT, MODELS, certificate, content, in_words, rows, several, table
from html_pages import checked

from lzero.errors import RecordError
from lzero.report import Content, page, render, write

CONTENTS = {
    "all": content,
    "nothing but a title": lambda: Content("a model"),
    "no rows": in_words,
    "one row": lambda: content(rows=rows(1), points=()),
    "several budgets": lambda: content(rows=several(), points=()),
    "a front": lambda: in_words(points=FRONT),
    "several trainings": lambda: in_words(runs={"constrained": rows(), "penalized, λ = 1": rows(7)}),
    "no budget": lambda: in_words(certificate=certificate(asked={}, spare={}, latency=None, warnings=())),
    "not verified": lambda: in_words(certificate=certificate(largest_difference=None, round_to=1)),
    "not measured again": lambda: in_words(certificate=certificate(latency=None), timings=()),
    "numbers that are none": lambda: content(rows=rows(6, error=float("nan"), multiplier=float("inf")), points=()),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_the_page_is_whole_closed_and_accessible(name):
    checked(render(CONTENTS[name]()))


def test_every_number_of_the_certificate_is_on_the_page():
    text = checked(render(in_words())).text
    made = certificate()
    for column in (made.asked, made.expected, made.before_settling, made.deployed):
        assert all(f"{100 * value:.2f} %" in text for value in column.values())
    assert all(f"{value:.2f}" in text for value in made.spare.values())
    assert all(name in text for name in made.deployed)
    words = [f"{made.parameters:,}", f"{made.parameters_before:,}", "0.487", "17", "3.2e-07", *made.warnings]
    assert all(word in text for word in words)
    assert "whole or multiples of 8; whole or multiples of 4 at conv2" in text and "steps to spare" in text
    assert "units to spare" in checked(render(Content("a model", certificate=certificate(round_to=1)))).text
    assert all(f"{value:.4g} ms" in text for value in (6.125, 2.375, 6.25, 2.5))
    assert "by the table (batch 64, 2 threads, a card)" in text and "measured again" in text


def test_everything_else_that_it_is_given_is_on_the_page():
    text = checked(render(in_words())).text
    for words in (
        ["LeNet-5 on digits", "a first note", "2.89%", "batch 32", "1.75 ms", "28.6 %", "a quiet machine"],
        ["recipe.lr 0.0007", "recipe.scope.conv2 0.5", "recipe.ignore []", "data digits"],
        ["10,100 → 4,000", "100 → 41", "1,010 → 410", "123 MB → 23.5 MB", "a norm takes statistics over it"],
        ["norm0 (64) , norm1 (64)", "Versions and machine", "lzero", "PyTorch", "Python"],
    ):
        assert all(word in text for word in words), [word for word in words if word not in text]


def test_what_comes_from_the_user_is_escaped_everywhere():
    evil = table(1, 1)
    evil.rows[0]["layer"] = f"{EVIL}.{EVIL}"
    evil.refused[0].update(layer=EVIL, reason=EVIL)
    column = certificate(asked={EVIL: 0.5}, expected={EVIL: 0.5}, before_settling={EVIL: 0.5}, deployed={EVIL: 0.4})
    given = content(
        title=EVIL,
        subtitle=EVIL,
        notes=[EVIL],
        warnings=[EVIL],
        certificate=column,
        layers=evil,
        rows=several(),
        runs={EVIL: rows(), "b": rows()},
        points=[{**row, "method": EVIL} for row in MODELS],
        results={EVIL: EVIL},
        timed_on=EVIL,
        configuration={EVIL: EVIL, "more": {EVIL: [EVIL]}},
    )
    text = render(given)
    found = checked(text)
    assert "<script" not in text.lower() and "<img" not in text.lower()
    assert found.text.count("alert(1)") >= 12  # all of it is there to be read


def test_large_trainings_of_large_models_stay_small():
    large = content(layers=table(6000, 6000), rows=rows(5_000), points=MODELS * 100)
    found = checked(render(large))  # below 2 MB, as every page
    assert "5,001 further layers" in found.text and "and 5,960 more" in found.text
    assert "The first 500 of 800 rows." in found.text
    assert f"{sum(4000 + number for number in range(6000)) + 410:,}"[:3] in found.text


def test_the_same_content_gives_the_same_page():
    assert len({render(content(points=())) for _ in range(2)}) == 1


def test_rows_that_were_appended_since_are_on_the_next_page():
    known = [{name: row[name] for name in ("epoch", "deployed")} for row in rows()]
    first, second = (checked(render(Content("a model", rows=known[:n]))) for n in (3, 12))
    seen = [svg["aria-label"] for svg in second.all("svg")]
    assert any("to 12.00\u202f%" in label for label in seen)
    assert not any("to 12.00\u202f%" in svg["aria-label"] for svg in first.all("svg"))


def test_it_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = write(in_words(), tmp_path / "new" / "report.html")
    before = path.read_text(encoding="utf-8")
    assert path == tmp_path / "new" / "report.html" and before == render(in_words())

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(page.Path, "write_text", full)
    with pytest.raises(RecordError, match=r"report\.html: cannot be written .*make room"):
        write(Content("another"), path)
    assert path.read_text(encoding="utf-8") == before and [p.name for p in path.parent.iterdir()] == ["report.html"]


@pytest.mark.parametrize(
    ("path", "message"),
    [("", "expected the name of a file"), (3, "expected the name of a file"), ("a\0b", "name a file")],
)
def test_what_names_no_file_is_refused(path, message):
    with pytest.raises(RecordError, match=message):
        write(Content("a model"), path)


def test_a_folder_in_the_place_of_the_file_is_left(tmp_path):
    with pytest.raises(RecordError, match="cannot be written"):
        write(Content("a model"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_text_where_numbers_belong_is_refused():
    with pytest.raises(RecordError, match="column loss holds the text 'low'"):
        render(content(rows=rows(3, loss="low")))


@pytest.mark.parametrize(
    ("value", "words"),
    [("", "–"), (None, "–"), (True, "yes"), (False, "no"), (3, "3"), (7e-4, "0.0007"), ({}, "{}"), ([1], "[1]")],
)
def test_values_of_a_configuration_in_words(value, words):
    text = render(Content("a model", configuration={"name": value}))
    assert f"<dt>name</dt><dd>{words}</dd>" in text


def test_a_long_value_is_cut():
    text = checked(render(Content("a model", configuration={"name": "x" * 10_000, "odd": object()}))).text
    assert "x" * 399 + "…" in text and "x" * 400 not in text and "object at" in text


@pytest.mark.parametrize("scheme", range(3), ids=["light", "dark", "print"])
def test_text_has_contrast_in_the_light_in_the_dark_and_in_print(scheme):
    style = page._TEMPLATES.joinpath(page._STYLE).read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    schemes = [dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]+)", block)) for block in blocks]
    assert len(schemes) == 3 and schemes[0].keys() == schemes[scheme].keys()
    colours = schemes[scheme]
    for name in ("ink", "muted", "accent", "warm", "good"):
        assert contrast(colours[name], colours["card"]) > 4.5, name
    assert contrast(colours["warm"], colours["warm-card"]) > 4.5 and contrast(colours["ink"], colours["warm-card"]) > 7
    assert contrast(colours["ink"], colours["raised"]) > 7
    series = [colours[f"series-{number}"] for number in range(8)]
    assert len(set(series)) == 8 and min(contrast(one, colours["card"]) for one in series) > 1.9
