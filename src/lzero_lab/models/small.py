"""Small networks: a multilayer perceptron, LeNet-5 and a residual network."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from lzero.errors import StructureError


class MLP(nn.Module):
    """A multilayer perceptron over flattened inputs, layers ``fc1``, ``fc2``, ...: 784-300-100-10 by default.

    Shapes: [N, *] with `features` numbers an example -> [N, classes].
    """

    def __init__(self, features: int = 784, hidden: Sequence[int] = (300, 100), classes: int = 10) -> None:
        super().__init__()
        sizes = (features, *hidden, classes)
        self.depth = len(sizes) - 1
        for layer, (fan_in, fan_out) in enumerate(pairwise(sizes), 1):
            self.add_module(f"fc{layer}", nn.Linear(fan_in, fan_out))

    def forward(self, x: Tensor) -> Tensor:
        """Class scores, not normalised."""
        x = x.flatten(1)
        # By name, not by children(): whatever else is registered on the model takes no part.
        for layer in range(1, self.depth):
            x = F.relu(self.get_submodule(f"fc{layer}")(x))
        scores: Tensor = self.get_submodule(f"fc{self.depth}")(x)
        return scores


class LeNet5(nn.Module):
    """The Caffe variant of LeNet-5 that the L0 papers prune: 20-50-800-500, 431,080 parameters on 28x28 images.

    Two 5x5 convolutions, each with ReLU and 2x2 max pooling, then two linear layers. Images below 16 pixels are
    too small for two unpadded convolutions, and get padding 2.

    Shapes: [N, in_channels, size, size] -> [N, classes].

    Raises:
        StructureError: images of fewer than 4 pixels a side, which the poolings would use up.
    """

    def __init__(
        self,
        in_channels: int = 1,
        size: int = 28,
        widths: tuple[int, int] = (20, 50),
        hidden: int = 500,
        classes: int = 10,
    ) -> None:
        super().__init__()
        if size < 4:
            raise StructureError(f"LeNet5: images of {size} x {size} pixels are too small, expected at least 4 x 4")
        padding = 2 if size < 16 else 0
        for _ in widths:
            size = (size + 2 * padding - 4) // 2
        self.conv1 = nn.Conv2d(in_channels, widths[0], 5, padding=padding)
        self.conv2 = nn.Conv2d(widths[0], widths[1], 5, padding=padding)
        self.fc1 = nn.Linear(widths[1] * size * size, hidden)
        self.fc2 = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores, not normalised."""
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        scores: Tensor = self.fc2(x)
        return scores


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with BatchNorm beside a shortcut, which is a 1x1 convolution where shapes change.

    Shapes: [N, in_channels, H, W] -> [N, out_channels, H / stride, W / stride], rounded up.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """relu(shortcut(x) + residual(x))."""
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(self.shortcut(x) + residual)


class ResNet(nn.Module):
    """A residual network for small images: a 3x3 stem, one stage a width, global average pooling, one linear layer.

    The first block of every stage but the first halves the resolution. Widths (16, 32, 64) with `blocks` = 3
    are the ResNet-20 of the CIFAR experiments, with projecting shortcuts.

    Shapes: [N, in_channels, H, W] -> [N, classes].
    """

    def __init__(
        self, in_channels: int = 1, widths: Sequence[int] = (16, 32, 64), blocks: int = 1, classes: int = 10
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        stages: list[nn.Module] = []
        channels = widths[0]
        for stage, width in enumerate(widths):
            for block in range(blocks):
                stages.append(BasicBlock(channels, width, stride=2 if stage and not block else 1))
                channels = width
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores, not normalised."""
        x = self.stages(F.relu(self.bn1(self.conv1(x))))
        scores: Tensor = self.fc(self.pool(x).flatten(1))
        return scores
