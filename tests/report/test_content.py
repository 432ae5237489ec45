"""What a report is made of: everything but the title may be left out, and what is left out is not shown."""

from dataclasses import fields

import pytest
from contents import FRONT, MODELS, content, in_words
from html_pages import checked

from lzero.errors import RecordError
from lzero.front import Front
from lzero.recorder import Recorder
from lzero.report import Content, Timing, listed, named, render

HEADINGS = {
    "certificate": "Certificate",
    "points": "Models side by side",
    "layers": "Layer by layer",
    "timings": "Latency of a forward",
    "configuration": "Configuration",
}


def test_a_title_is_enough():
    empty = Content("a model")
    assert all(
        not getattr(empty, field.name)
        for field in fields(Content)
        if field.default != "error" and field.name != "title"
    )
    text = checked(render(empty)).text
    assert not any(heading in text for heading in [*HEADINGS.values(), "Training", "Gates"])
    assert "a model" in text and "Versions and machine" in text


@pytest.mark.parametrize("name", HEADINGS)
def test_what_is_left_out_has_no_heading(name):
    left = {name: None if name in ("certificate", "layers") else type(getattr(content(), name))()}
    given = in_words(**{"points": MODELS[:1], **left})
    text = checked(render(given)).text
    shown = {heading for heading in HEADINGS.values() if heading in text}
    also = {"Latency of a forward"} if name == "timings" else set()  # the certificate has some
    assert shown == (set(HEADINGS.values()) - {HEADINGS[name]}) | also


def test_a_timing_may_lack_a_side():
    text = checked(render(Content("a model", timings=[Timing("one forward", None, 2.0)]))).text
    assert "one forward – 2 ms –" in text


def test_rows_come_from_a_recorder_or_a_list():
    recorder = Recorder()
    recorder.append(step=1, loss=0.5)
    assert listed("rows", recorder) == listed("rows", [{"step": 1, "loss": 0.5}]) == recorder.rows
    assert listed("rows", ()) == [] and named("values", None) == {} and named("values", {"lr": 1}) == {"lr": 1}


@pytest.mark.parametrize("rows", [Front(FRONT), 3, "rows.csv", [1, 2], None, {"loss": 0.5}])
def test_what_are_no_rows_is_refused(rows):
    with pytest.raises(RecordError, match="report, front: expected a Recorder, or rows as a list of dicts, found"):
        listed("report, front", rows)


def test_what_is_no_mapping_is_refused():
    with pytest.raises(RecordError, match=r"configuration: expected a mapping, such as vars\(arguments\), found \[1\]"):
        named("configuration", [1])
