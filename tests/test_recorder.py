import errno
import math
import os
import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lzero.errors import RecordError
from lzero.recorder import Recorder


def same(left, right):
    """Equal in type and bits, so that NaN equals NaN and -0.0 differs from 0.0."""
    if isinstance(left, float) and isinstance(right, float):
        return (math.isnan(left) and math.isnan(right)) or struct.pack("d", left) == struct.pack("d", right)
    return type(left) is type(right) and left == right


labels = st.text(min_size=1, max_size=12).filter(str.isprintable) | st.sampled_from(["0", "1.0", "nan", "'", "'1"])
names = st.text(min_size=1, max_size=8).filter(str.isprintable)
values = st.one_of(st.floats(), st.integers(), labels)


@given(rows=st.lists(st.dictionaries(names, values, min_size=1, max_size=5), max_size=6))
def test_a_csv_is_read_back_to_the_last_bit(rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    recorder = Recorder()
    for row in rows:
        recorder.append(**row)
    recorder.to_csv(path)
    read = Recorder.from_csv(path)

    assert read.columns == recorder.columns
    assert len(read) == len(rows)
    for expected, found in zip(rows, read, strict=True):
        assert expected.keys() == found.keys()
        assert all(same(expected[name], found[name]) for name in expected)


def test_columns_are_the_union_in_first_seen_order_and_missing_cells_are_empty(tmp_path):
    recorder = Recorder()
    recorder.append(epoch=1, loss=0.5)
    recorder.append(epoch=2, error=0.25, loss=None)
    recorder.to_csv(tmp_path / "rows.csv")
    assert (tmp_path / "rows.csv").read_text() == "epoch,loss,error\n1,0.5,\n2,,0.25\n"
    assert recorder.column("loss") == [0.5, None]
    assert recorder.rows[1] == {"epoch": 2, "error": 0.25}


def test_scalars_of_numpy_and_torch_become_plain_numbers():
    recorder = Recorder()
    recorder.append(
        a=np.float32(0.5), b=np.int64(3), c=torch.tensor(0.25), d=torch.tensor(2.0, requires_grad=True), e=True
    )
    assert recorder.rows == [{"a": 0.5, "b": 3, "c": 0.25, "d": 2.0, "e": 1}]
    assert [type(value) for value in recorder.rows[0].values()] == [float, int, float, float, int]


@pytest.mark.parametrize("tensor", [torch.zeros(3), torch.zeros(1, 1), np.zeros(2)])
def test_a_tensor_with_dimensions_is_refused(tensor):
    recorder = Recorder()
    with pytest.raises(RecordError, match=r"loss has shape \(.*\), expected one number.*loss\.mean\(\)"):
        recorder.append(epoch=1, loss=tensor)
    assert len(recorder) == 0
    assert recorder.columns == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "a label is printable text on one line"),
        ("two\nlines", "a label is printable text on one line"),
        ([1.0], "is a list, expected a number or a short label"),
        (1j, "is a complex, expected a number"),
    ],
)
def test_a_value_that_would_not_survive_is_refused(value, message):
    with pytest.raises(RecordError, match=message):
        Recorder().append(x=value)


def test_an_empty_row_and_an_unknown_column_are_refused():
    recorder = Recorder()
    with pytest.raises(RecordError, match="a row without values"):
        recorder.append(loss=None)
    recorder.append(loss=1.0)
    with pytest.raises(RecordError, match="no column 'eror'; there are: loss"):
        recorder.column("eror")


def test_rows_are_copies():
    recorder = Recorder()
    recorder.append(loss=1.0)
    recorder.rows[0]["loss"] = 2.0
    next(iter(recorder))["loss"] = 3.0
    assert recorder.column("loss") == [1.0]


def test_a_write_goes_through_a_file_in_the_same_folder(tmp_path, monkeypatch):
    moves = []
    real = os.replace
    monkeypatch.setattr(os, "replace", lambda source, target: (moves.append((source, target)), real(source, target)))
    recorder = Recorder()
    recorder.append(loss=1.0)
    recorder.to_csv(tmp_path / "new" / "rows.csv")
    ((source, target),) = moves
    assert target == tmp_path / "new" / "rows.csv"
    assert target.parent in source.parents
    assert os.listdir(target.parent) == ["rows.csv"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1\n", "line 2: expected 2 cells as in the header, found 1"),
        (b"a,b\n1,2,3\n", "line 2: expected 2 cells as in the header, found 3"),
        (b"a,a\n1,2\n", "a column name appears twice"),
        (b"a,b\n,\n", "line 2: .*a row without values"),
        (b"a\n\xff\n", "not readable as a CSV of rows"),
        (b'a\n"open\n', "not readable as a CSV of rows"),
    ],
)
def test_a_broken_csv_names_the_file_and_the_place(tmp_path, content, message):
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=rf"rows\.csv.*{message}"):
        Recorder.from_csv(path)


def test_a_missing_csv_is_named(tmp_path):
    with pytest.raises(RecordError, match=r"none\.csv: not readable"):
        Recorder.from_csv(tmp_path / "none.csv")


def test_a_full_disk_is_told_with_what_helps_there(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    recorder = Recorder()
    recorder.append(epoch=1)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RecordError, match=r"rows\.csv: cannot be written \(.*No space left on device.*\); make room"):
        recorder.to_csv(tmp_path / "rows.csv")
    assert list(tmp_path.iterdir()) == []


def test_rows_to_begin_with_are_those_appended_one_by_one():
    rows = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "method": "dense"}]
    recorder = Recorder(rows)
    for row in rows:
        recorder.append(**row)
    assert recorder.rows == [*rows, *rows] and recorder.columns == ["epoch", "loss", "method"]
    with pytest.raises(RecordError, match="without values"):
        Recorder([{}])
