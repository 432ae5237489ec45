"""Purged and reloaded networks stay in the memory format that they were in."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch._prims_common import suggest_memory_format

import lzero
from lzero.host.memory_format import format_of, like_format
from lzero.host.run import run

FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}


def network(dims: int) -> nn.Sequential:
    conv, norm = {2: (nn.Conv2d, nn.BatchNorm2d), 3: (nn.Conv3d, nn.BatchNorm3d)}[dims]
    return nn.Sequential(conv(2, 8, 3), norm(8), nn.ReLU(), conv(8, 6, 1), nn.ReLU(), conv(6, 4, 3), nn.Flatten(),
                         nn.LazyLinear(3))  # fmt: skip


@pytest.mark.parametrize("granularity", ["unit", "weight"])
@pytest.mark.parametrize("dims", FORMATS)
def test_a_network_in_channels_last_is_purged_and_reloaded_in_it(dims: int, granularity: str) -> None:
    x, chosen = torch.randn(2, 2, *[7] * dims), FORMATS[dims]
    model, fresh, plain = network(dims), network(dims), network(dims)
    for net in (model, fresh, plain):
        net(x)  # gives the lazy layer its shape
    model.to(memory_format=chosen), fresh.to(memory_format=chosen)  # type: ignore[call-overload]
    gates = lzero.attach_gates(model, x, granularity=granularity)
    with torch.no_grad():
        gates.log_alpha[::3] = -9.0
    small = lzero.purge(model).model
    strides = [parameter.stride() for parameter in small.parameters() if parameter.dim() == dims + 2]
    expected = [
        torch.empty(parameter.shape).to(memory_format=chosen).stride()
        for parameter in small.parameters()
        if parameter.dim() == dims + 2
    ]
    assert strides == expected
    state = small.state_dict()
    again = lzero.load_purged(fresh, {name: tensor.clone(memory_format=torch.contiguous_format)
                                      for name, tensor in state.items()})  # fmt: skip
    assert torch.equal(run(again, x)[0], run(small, x)[0])
    assert {name: t.stride() for name, t in again.named_parameters()} == {
        name: t.stride() for name, t in small.named_parameters()
    }
    again = lzero.load_purged(plain, state)
    assert all(tensor.is_contiguous() for tensor in again.parameters())


shapes = st.lists(st.integers(1, 4), min_size=4, max_size=5).map(tuple)


@given(shapes, shapes, st.booleans())
def test_a_format_is_what_pytorch_takes_it_for(shape: tuple[int, ...], other: tuple[int, ...], last: bool) -> None:
    chosen = FORMATS[len(shape) - 2] if last else torch.contiguous_format
    tensor: Tensor = torch.empty(shape, memory_format=chosen)
    assert format_of(tensor) == suggest_memory_format(tensor)
    if len(other) == len(shape):
        smaller = torch.randn(other)
        made = like_format(smaller, tensor)
        assert torch.equal(made, smaller)
        assert made.stride() == torch.empty(other, memory_format=format_of(tensor)).stride()


def test_a_tensor_without_elements_is_of_no_special_format() -> None:
    assert format_of(torch.empty(2, 0, 3, 3, memory_format=torch.channels_last)) == torch.contiguous_format


def test_other_tensors_are_left_as_they_are() -> None:
    matrix, sparse = torch.randn(3, 4), torch.eye(3).to_sparse()
    assert like_format(matrix.t(), matrix).data_ptr() == matrix.data_ptr()
    assert format_of(sparse) == torch.contiguous_format
    kernel = torch.randn(3, 4, 2, 2)
    assert like_format(kernel, matrix) is kernel and like_format(kernel, kernel) is kernel
