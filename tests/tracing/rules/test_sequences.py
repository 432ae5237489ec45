"""Sequences of unequal lengths: features stay units, steps do not; recurrent layers on them are exact."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from nets import sizes
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from tracing.rules.follow import UNITS, Case, check_every_op

import lzero
from lzero.host.run import run

LENGTHS = torch.tensor([5, 2])


def there_and_back(x: Tensor) -> Tensor:
    return pad_packed_sequence(pack_padded_sequence(x, LENGTHS, batch_first=True), batch_first=True)[0]


CASES = {
    "pack": Case(lambda x: pack_padded_sequence(x, LENGTHS, batch_first=True).data, [{1: UNITS}], [], (2, 5, 4), 2),
    "pack, unsorted": Case(
        lambda x: pack_padded_sequence(x, LENGTHS.flip(0), batch_first=True, enforce_sorted=False).data,
        [{1: UNITS}], [], (2, 5, 4), 2,
    ),
    "pack time": Case(lambda x: pack_padded_sequence(x, torch.tensor([4, 4])).data, [{}], UNITS, (4, 2, 3), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_sequences(name: str) -> None:
    CASES[name].check()


def test_every_op_is_run() -> None:
    check_every_op("sequences", CASES.values(), elsewhere=["aten._pad_packed_sequence"])


def test_unpacked_features_are_those_that_were_packed() -> None:
    case = Case(there_and_back, [{2: UNITS}], [], (2, 5, 4), 2)
    whole, apart = case.follow(inference=True), case.follow()
    assert whole.out == case.out and not whole.frozen  # one op in inference mode alone, copies into a constant else
    assert not apart.frozen


class Packed(nn.Module):
    """A recurrent layer on sequences of unequal lengths."""

    def __init__(self, kind: Any, **options: Any) -> None:
        super().__init__()
        self.up, self.run = nn.Linear(5, 8), kind(8, 6, batch_first=True, **options)
        self.out = nn.Linear(12 if options.get("bidirectional") else 6, 3)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.up(x).relu(), lengths, batch_first=True, enforce_sorted=False)
        out: Tensor = self.out(pad_packed_sequence(self.run(packed)[0], batch_first=True)[0])
        return out


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}], ids=["one", "four"])
def test_recurrent_layers_on_packed_sequences(kind: Any, options: dict[str, Any]) -> None:
    model = Packed(kind, **options).double()
    gates = lzero.attach_gates(model, (torch.randn(4, 7, 5).double(), torch.tensor([7, 3, 5, 2])))
    assert sizes(gates.plan)["up"] == 8 and len(gates.plan) > 1
    with torch.no_grad():
        for view in gates.split(gates.log_alpha).values():
            view[::2] = -9.0
    small = lzero.purge(model, settle=False).model
    new = torch.randn(3, 9, 5).double(), torch.tensor([2, 9, 4])
    torch.testing.assert_close(run(small, new), run(model, new), rtol=1e-9, atol=1e-9)
