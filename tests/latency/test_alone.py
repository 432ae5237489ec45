"""A layer on its own: what it computes at some width is that of the layer cut to it."""

import pytest
import torch
from torch import nn

from lzero.latency.alone import Sample, feature_dim, key_of, narrowed, sides

LAYERS = {
    "linear": (nn.Linear(6, 5), torch.randn(2, 3, 6)),
    "linear without bias": (nn.Linear(6, 5, bias=False), torch.randn(2, 6)),
    "conv1d": (nn.Conv1d(6, 5, 3, padding=1), torch.randn(2, 6, 7)),
    "conv2d": (nn.Conv2d(6, 5, 3, stride=2, padding=1, padding_mode="reflect"), torch.randn(2, 6, 8, 8)),
    "conv3d": (nn.Conv3d(6, 5, (1, 2, 3), dilation=2), torch.randn(2, 6, 4, 5, 6)),
    "unbatched": (nn.Conv2d(6, 5, 3), torch.randn(6, 8, 8)),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(("rows", "columns"), [(5, 6), (2, 3), (1, 1)])
def test_a_narrowed_layer_computes_with_the_first_weights(name, rows, columns):
    layer, x = LAYERS[name]
    made, reads = narrowed(layer, rows, columns)
    dim = feature_dim(layer, Sample.of(x))
    part = x.narrow(dim % x.dim(), 0, columns)
    whole = type(layer).forward(
        layer, torch.cat([part, torch.zeros_like(x.narrow(dim % x.dim(), columns, 6 - columns))], dim)
    )
    assert sides(layer) == (5, 6) and reads == columns and not made.training
    torch.testing.assert_close(made(part), whole.narrow(dim % x.dim(), 0, rows))
    assert Sample.of(x).narrowed(reads, dim, x.device).shape == part.shape


def test_a_depthwise_convolution_has_one_width():
    layer = nn.Conv2d(4, 8, 3, groups=4)
    assert sides(layer) == (8, 0)
    made, reads = narrowed(layer, 4, 0)
    assert (made.groups, made.out_channels, reads) == (2, 4, 2)
    x = torch.randn(1, 4, 5, 5)
    torch.testing.assert_close(made(x[:, :2]), layer(x)[:, :4])


def test_other_layers_are_not_timed_alone():
    for layer in (nn.Conv2d(4, 4, 1, groups=2), nn.ConvTranspose2d(4, 4, 1), nn.ReLU(), nn.LSTM(3, 3)):
        assert sides(layer) is None


def test_equal_layers_share_a_grid():
    def key(layer, *shape):
        return key_of(layer, (Sample.of(torch.zeros(shape)),))

    assert key(nn.Linear(3, 4), 2, 3) == key(nn.Linear(3, 4), 2, 3)
    assert key(nn.Linear(3, 4), 2, 3) != key(nn.Linear(3, 4), 3, 3)
    assert key(nn.Linear(3, 4), 2, 3) != key(nn.Linear(3, 4, bias=False), 2, 3)
    assert key(nn.Conv2d(3, 4, 3), 1, 3, 5, 5) != key(nn.Conv2d(3, 4, 3, stride=2), 1, 3, 5, 5)
    assert key(nn.Linear(3, 4).double(), 2, 3) != key(nn.Linear(3, 4), 2, 3)


def test_memory_formats_are_kept():
    layer = nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)
    sample = Sample.of(torch.randn(2, 4, 6, 6).contiguous(memory_format=torch.channels_last))
    made, reads = narrowed(layer, 3, 2)
    assert made.weight.is_contiguous(memory_format=torch.channels_last)
    x = sample.narrowed(reads, 1, torch.device("cpu"))
    assert x.shape == (2, 2, 6, 6) and x.is_contiguous(memory_format=torch.channels_last)


def test_the_transposed_linear_of_gpt2():
    layer = pytest.importorskip("transformers.pytorch_utils").Conv1D(5, 6)
    x = torch.randn(2, 3, 6)
    made, reads = narrowed(layer, 2, 4)
    assert sides(layer) == (5, 6) and reads == 4 and feature_dim(layer, Sample.of(x)) == -1
    whole = layer(torch.cat([x[..., :4], torch.zeros(2, 3, 2)], -1))
    torch.testing.assert_close(made(x[..., :4]), whole[..., :2])
