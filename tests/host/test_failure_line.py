"""The line that raised is the user's, not that of a library; what is not known is not told."""

from __future__ import annotations

import pytest
import torch
from nets import Net
from torch import Tensor, nn

from lzero.host.failure_line import failure_line
from lzero.host.inputs import ExampleInputs
from lzero.host.run import ForwardError, forward


def viewed(net: nn.Module, x: Tensor) -> Tensor:
    return x.view(3, 7)  # of ten elements


def normed(net: nn.Module, x: Tensor) -> Tensor:
    return nn.functional.layer_norm(x, (7,))


def test_the_line_of_a_forward_that_fails_is_told_with_its_source() -> None:
    with pytest.raises(ForwardError) as caught:
        forward(Net(viewed), ExampleInputs(torch.zeros(2, 5)))
    assert caught.value.line.startswith("test_failure_line.py:") and "`return x.view(3, 7)" in caught.value.line
    assert caught.value.line in str(caught.value) and caught.value.is_of_a_view


def test_the_line_is_the_one_that_called_the_library() -> None:
    with pytest.raises(ForwardError) as caught:
        forward(nn.Sequential(Net(normed)), ExampleInputs(torch.zeros(2, 5)))
    assert "layer_norm(x, (7,))" in caught.value.line and not caught.value.is_of_a_view


def test_of_what_has_no_trace_or_no_source_as_much_is_told_as_there_is() -> None:
    assert failure_line(None) == ""
    try:
        exec(compile("1 / 0", "/nowhere/made.py", "exec"), {"__name__": "made"})
    except ZeroDivisionError as error:
        assert failure_line(error.__traceback__) == "made.py:1"


def test_long_lines_are_cut() -> None:
    value = "x"
    try:
        raise ValueError(value + "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy")
    except ValueError as error:
        line = failure_line(error.__traceback__)
    assert line.endswith(" ...`") and len(line) < 150
