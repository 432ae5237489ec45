"""JSON of a table: every entry that is not what it has to be is named."""

import json

import pytest
from hand_tables import table_of
from plans import mlp

from lzero.errors import BudgetError
from lzero.latency.record import from_json, to_json
from lzero.latency.table import Table, vars_of

TABLE = table_of(mlp()[1])
TEXT = TABLE.to_json()


def changed(path, value):
    content = json.loads(TEXT)
    held = content
    for key in path[:-1]:
        held = held[key]
    held[path[-1]] = value
    return json.dumps(content)


@pytest.mark.parametrize("lines", [True, False])
def test_there_and_back(lines):
    assert Table(**from_json(to_json(vars_of(TABLE), lines=lines), "here")) == TABLE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "here: not readable as JSON"),
        ("[]", "here, the file: expected named entries, found"),
        (changed(["lzero latency"], 2), "expected a table of latencies of format 1"),
        (changed(["lzero latency"], True), "expected a table of latencies of format 1"),
        (changed(["more"], 2), "here: expected the entries layers, before"),
        (changed(["layers"], {}), "here, layers: expected a list, found"),
        (changed(["layers", 0], [1]), "here, layers: expected a list, found"),
        (changed(["layers", 0, 0], 3), "here, layers: expected a word, found 3"),
        (changed(["layers", 0, 1, 0, 2], -1), "here, layers: expected a whole number >= 0, found -1"),
        (changed(["layers", 0, 3, 0], 0.5), "here, widths: expected a whole number >= 0, found 0.5"),
        (changed(["layers", 0, 3, 0], 3), "here, fc1, widths of rows: expected rising"),
        (changed(["layers", 0, 5, 0, 0], "1"), "here, ms: expected a finite number >= 0"),
        (changed(["layers", 0, 5, 0, 0], float("nan")), "here, ms: expected a finite number >= 0, found nan"),
        (changed(["before"], None), "here, before: expected a finite number"),
        (changed(["device"], None), "here, device: expected a word"),
        (changed(["threads"], True), "here, threads: expected a whole number"),
        (changed(["shapes"], [[1.5]]), "here, shapes: expected a whole number"),
        (changed(["checks"], [[1.0, 2.0]]), "here, checks: expected a list"),
    ],
)
def test_what_is_no_table_is_refused(text, message):
    with pytest.raises(BudgetError, match=message):
        from_json(text, "here")
