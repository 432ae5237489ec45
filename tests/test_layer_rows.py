"""Tables of layers as rows: what is None is left out, sums pass over it, and a CSV reads back as the rows."""

from dataclasses import dataclass

import pytest

from lzero.errors import RecordError
from lzero.layer_rows import LayerRows, NamedLayer
from lzero.recorder import Recorder


@dataclass(frozen=True)
class Counted(NamedLayer):
    parameters: int
    units: int | None = None


@dataclass(frozen=True)
class Two(LayerRows):
    layers: tuple[Counted, ...] = (Counted("fc", 12, 3), Counted("head", 8))


def test_rows_leave_out_what_is_none():
    assert Two().rows == [{"layer": "fc", "parameters": 12, "units": 3}, {"layer": "head", "parameters": 8}]
    assert Two().total("parameters") == 20 and Two().total("units") == 3 and Two().total("macs") == 0


def test_a_csv_reads_back_as_the_rows(tmp_path):
    Two().to_csv(tmp_path / "layers.csv")
    assert Recorder.from_csv(tmp_path / "layers.csv").rows == Two().rows == Two().recorder().rows
    with pytest.raises(RecordError, match="a directory"):
        Two().to_csv(tmp_path)
