"""Wide residual networks: the published sizes, the units that discovery finds in them, an exact purge."""

import itertools

import pytest
import torch
from torch import nn

import lzero
from lzero.errors import StructureError
from lzero_lab.models.wide_resnet import PreActivationBlock, WideResNet

INPUTS = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def published_size(depth, width, classes=10):
    """Parameters counted by hand: 9 a b for a 3x3 convolution, 2 a for a BatchNorm, a b for a shortcut."""
    blocks = (depth - 4) // 6
    total, before = 9 * 3 * 16, 16
    for channels in (16 * width, 32 * width, 64 * width):
        for block in range(blocks):
            read = channels if block else before
            total += 2 * read + 9 * read * channels + 2 * channels + 9 * channels**2
            total += read * channels if read != channels else 0
        before = channels
    return total + 2 * before + (before + 1) * classes


def size(depth, width):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in WideResNet(depth, width).parameters())


@pytest.mark.parametrize(("depth", "width", "millions"), [(28, 10, 36.5), (16, 8, 11.0), (40, 4, 8.9), (28, 12, 52.5)])
def test_the_sizes_are_the_published_ones(depth, width, millions):
    assert size(depth, width) == published_size(depth, width)
    assert round(size(depth, width) / 1e6, 1) == millions


def test_the_two_networks_of_the_study_have_the_sizes_that_the_docstring_says():
    assert (size(28, 10), size(16, 8)) == (36_479_194, 10_961_370)


@pytest.mark.parametrize(("depth", "width"), [(10, 1), (16, 2)])
def test_the_stages_halve_the_resolution_and_every_parameter_learns(depth, width):
    model = WideResNet(depth, width, dropout=0.3)
    x = model.conv1(torch.rand(2, 3, 32, 32))
    assert [tuple((x := stage(x)).shape[1:]) for stage in model.stages] == [
        (16 * width, 32, 32), (32 * width, 16, 16), (64 * width, 8, 8)
    ]  # fmt: skip
    model(torch.rand(4, 3, 32, 32)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


def test_a_block_is_its_shortcut_where_the_residual_is_zero():
    x = torch.randn(2, 4, 6, 6)
    block = PreActivationBlock(4, 4).eval()
    nn.init.zeros_(block.conv2.weight)
    assert block(x).equal(x)
    wider = PreActivationBlock(4, 8, stride=2).eval()
    nn.init.zeros_(wider.conv2.weight)
    torch.testing.assert_close(wider(x), wider.shortcut(wider.bn1(x).relu()))


def test_other_shapes_are_refused_with_the_way_out():
    with pytest.raises(StructureError, match=r"depth 27 and width 10; expected a depth of 6 n \+ 4, such as"):
        WideResNet(27, 10)
    with pytest.raises(StructureError, match="a width of at least 1"):
        WideResNet(28, 0)
    with pytest.raises(StructureError, match=r"stride 2 with 4 channels on both sides.*change the width too"):
        PreActivationBlock(4, 4, stride=2)


def test_discovery_finds_one_group_a_stream_and_one_a_block():
    plan = lzero.discover(WideResNet(16, 2), INPUTS)
    assert {group.name: group.size for group in plan} == {
        "conv1": 16,
        "stages.0.0.conv2": 32, "stages.0.0.conv1": 32, "stages.0.1.conv1": 32,
        "stages.1.0.conv2": 64, "stages.1.0.conv1": 64, "stages.1.1.conv1": 64,
        "stages.2.0.conv2": 128, "stages.2.0.conv1": 128, "stages.2.1.conv1": 128,
    }  # fmt: skip


@pytest.mark.parametrize("width", [1, 2])
def test_without_the_streams_the_channels_inside_the_blocks_remain(width):
    plan = lzero.discover(WideResNet(10, width), INPUTS, ignore=WideResNet.STREAMS)
    assert {group.name: group.size for group in plan} == {
        f"stages.{stage}.0.conv1": 16 * width * 2**stage for stage in range(3)
    }


@pytest.mark.parametrize("ignore", [(), WideResNet.STREAMS], ids=["all units", "inner channels"])
def test_what_is_closed_at_random_is_cut_out_exactly(ignore):
    torch.manual_seed(0)
    model = WideResNet(16, 1).double()
    inputs = INPUTS.double()
    with torch.no_grad():
        for name, tensor in itertools.chain(model.named_parameters(), model.named_buffers()):
            if "bn" in name and tensor.is_floating_point():  # BatchNorm at its start would hide shifts
                tensor.uniform_(0.5, 1.5)
    gates = lzero.attach_gates(model, inputs, ignore=ignore)
    with torch.no_grad():
        gates.log_alpha.uniform_(-6, 6)
    model.eval()
    result = lzero.purge(model)
    assert 0 < sum(int(mask.sum()) for mask in result.kept.values()) < len(gates)
    torch.testing.assert_close(result.model(inputs), model(inputs), rtol=1e-10, atol=1e-10)
    assert result.certificate.parameters == sum(p.numel() for p in result.model.parameters())
