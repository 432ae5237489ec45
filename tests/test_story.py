"""The notebook: committed as it ran, in short here, and from top to bottom among the slow tests."""

import base64
import re
import warnings

import nbformat
import pytest
import story

import lzero

BOOK = nbformat.read(story.STORY, as_version=4)
CODE = [cell for cell in BOOK.cells if cell.cell_type == "code"]
SHIPPED = re.compile(r"macs: asked ([0-9.]+)%, shipped ([0-9.]+)%")


def printed(cells):
    """All that the cells printed."""
    outputs = [output for cell in cells for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")


def check(said):
    asked, shipped = map(float, SHIPPED.search(said).groups())
    assert asked == 10 and 0 <= asked - shipped < 1
    assert "the same outputs to the bit: True" in said
    errors = dict(re.findall(r"^(\w+): test error ([0-9.]+)%", said, re.MULTILINE))
    assert errors.keys() == {"dense", "purged"}
    return {name: float(text) for name, text in errors.items()}


def test_it_is_committed_with_the_outputs_of_one_run_and_nothing_else():
    nbformat.validate(BOOK)
    assert [cell.execution_count for cell in CODE] == list(range(1, len(CODE) + 1))
    assert story.bare(nbformat.from_dict(BOOK)) == BOOK
    errors = check(printed(CODE))
    assert errors["dense"] < 4 and errors["purged"] < errors["dense"] + 2
    kinds = {output.get("name", output.output_type) for cell in CODE for output in cell.outputs}
    assert kinds == {"stdout", "execute_result"}  # no warning, no traceback
    figures = [output.data["image/png"] for cell in CODE for output in cell.outputs if "data" in output]
    assert len(figures) == 2 and all(len(base64.b64decode(figure)) < 200_000 for figure in figures)
    assert story.STORY.read_bytes().decode() == nbformat.writes(BOOK) + "\n"


def test_two_epochs_of_it_run_and_end_at_the_budget(capsys):
    source = "\n\n".join(cell.source for cell in CODE)
    short = re.sub(r"^%.*\n", "", source, flags=re.MULTILINE)
    for long, brief in (("EPOCHS = 30", "EPOCHS = 2"), ("range(40)", "range(1)")):
        assert short.count(long) == 1
        short = short.replace(long, brief)
    names = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", lzero.LzeroWarning)  # two epochs are few
        exec(compile(short, "story.ipynb", "exec"), names)
    check(capsys.readouterr().out)
    assert len(names["rows"]) == 2 and len(names["front"].rows) == 5


@pytest.mark.slow
def test_it_runs_from_top_to_bottom_as_it_is_committed():
    book = story.bare(story.executed(BOOK))
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    check(printed(cells))
    assert [cell.source for cell in cells] == [cell.source for cell in CODE]
    digits = re.compile(r"[\d.,]+")
    first = digits.sub("", printed(cells)).split()[:40]
    assert first == digits.sub("", printed(CODE)).split()[:40]
