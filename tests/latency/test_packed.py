"""Tables as bytes: small, and back to equal ones."""

import zlib

import pytest
import torch
from hand_tables import plain, table_of
from plans import mlp

from lzero.errors import BudgetError
from lzero.latency.packed import pack, unpack

ONE, TWO = table_of(mlp()[1]), table_of(mlp()[1], plain)


def test_there_and_back():
    packed = pack([ONE, TWO, ONE])
    assert packed.dtype == torch.uint8 and packed.dim() == 1
    assert unpack(packed) == {ONE.digest: ONE, TWO.digest: TWO}
    assert unpack(None) == {}


def test_a_wide_layer_takes_little():
    wide = table_of(mlp((16, 16, 16, 16))[1])
    assert len(pack([wide])) < len(wide.to_json()) / 4


@pytest.mark.parametrize(
    "data",
    [b"no zlib", zlib.compress(b"no json"), zlib.compress(b"[1]"), zlib.compress(b'["{}"]'), zlib.compress(b"3")],
)
def test_other_bytes_are_refused(data):
    with pytest.raises(BudgetError, match="the saved tables of latencies cannot be read"):
        unpack(torch.tensor(list(data), dtype=torch.uint8))
