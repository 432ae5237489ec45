"""Where tensors come from: numbers of the forward, a parameter alone, or anything else."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lzero.host.module_path import ModulePath
from lzero.tracing.op_mode import OpMode
from lzero.tracing.tensor_table import TensorTable


def origins(forward: Any) -> list[tuple[str, str]]:
    """Of every tensor that ``forward`` returns of an input and a parameter: where it was made, and of what."""
    table, weight, x = TensorTable(), torch.randn(3, 4), torch.randn(2, 4)
    table.add(weight, table.book.enrol("weight", (3, 4)), source="weight")
    with torch.no_grad(), OpMode(table, ModulePath(nn.Identity())):
        made: list[Tensor] = forward(x, weight)
    return [(table.made(tensor), table.computed(tensor)) for tensor in made]


def test_numbers_of_the_forward_keep_the_line_that_made_them() -> None:
    found = origins(lambda x, w: [torch.arange(3), torch.arange(3).float().exp()[:, None], torch.tensor([1.0]) * 2])
    assert [of for _, of in found] == ["", "", ""]
    assert [made.partition(":")[0] for made, _ in found][:2] == ["arange at test_origins.py"] * 2
    assert "test_origins.py" in found[2][0]


def test_what_is_made_of_an_input_is_no_number_of_the_forward() -> None:
    assert origins(lambda x, w: [x * 2, x @ w.T, w @ x.T, (x @ w.T) * torch.arange(3)]) == [("", "")] * 4
    ((made, of),) = origins(lambda x, w: [x + torch.arange(4)])  # goes on with such
    assert made.startswith("arange") and not of


def test_weights_that_are_computed_name_their_parameter() -> None:
    found = origins(lambda x, w: [w - w.mean(1, keepdim=True), w * torch.arange(4), w.view(4, 3)])
    assert found == [("", "weight")] * 3
