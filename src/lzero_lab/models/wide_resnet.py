"""Wide residual networks for small images, as a plain module that knows nothing of gates."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from lzero.errors import StructureError

_STEM = 16
_STAGES = 3


class PreActivationBlock(nn.Module):
    """Two 3x3 convolutions, each after BatchNorm and ReLU, beside a shortcut: a 1x1 convolution where widths change.

    A projecting shortcut reads what the first convolution reads; an identity shortcut passes x itself on. ``dropout``
    is the probability that a number between the convolutions is dropped in training.

    Shapes: [N, in_channels, H, W] -> [N, out_channels, H / stride, W / stride], rounded up.

    Raises:
        StructureError: a stride above 1 without a change of width, which no shortcut of this kind can follow.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        if stride != 1 and in_channels == out_channels:
            raise StructureError(
                f"PreActivationBlock: stride {stride} with {in_channels} channels on both sides; its shortcut would be "
                "the identity, so that shapes differ: change the width too, or use stride 1"
            )
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.shortcut: nn.Module | None = None
        if in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """shortcut + residual, not activated."""
        active = F.relu(self.bn1(x))
        residual: Tensor = self.conv2(self.dropout(F.relu(self.bn2(self.conv1(active)))))
        return residual + (x if self.shortcut is None else self.shortcut(active))


class WideResNet(nn.Module):
    """The wide residual network WRN-d-k: a 3x3 stem of 16 channels, three stages of (d - 4) / 6 blocks, one Linear.

    The stages have 16 k, 32 k and 64 k channels; the second and the third halve the resolution in the first convolution
    of their first block. With 3 input channels and 10 classes WRN-28-10 has 36,479,194 parameters, WRN-16-8 10,961,370.

    Attributes:
        STREAMS: one BatchNorm on each residual stream. ``ignore=WideResNet.STREAMS`` leaves the streams ungated and the
            channels between the two convolutions of every block gated, which is what the L0 papers gate.

    Shapes: [N, in_channels, H, W] -> [N, classes].

    Raises:
        StructureError: a depth that is not 6 n + 4, or a width below 1.

    Source: Zagoruyko, Komodakis, *Wide Residual Networks*, arXiv 1605.07146.
    """

    STREAMS = ("stages.0.0.bn1", "stages.1.0.bn1", "stages.2.0.bn1", "bn")

    def __init__(
        self, depth: int = 28, width: int = 10, in_channels: int = 3, classes: int = 10, *, dropout: float = 0.0
    ) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 4, 2 * _STAGES)
        if rest or blocks < 1 or width < 1:
            raise StructureError(
                f"WideResNet: depth {depth} and width {width}; expected a depth of 6 n + 4, such as 10, 16, 28 or 40, "
                "and a width of at least 1"
            )
        self.conv1 = nn.Conv2d(in_channels, _STEM, 3, padding=1, bias=False)
        channels, stages = _STEM, []
        for stage in range(_STAGES):
            made: list[nn.Module] = []
            for block in range(blocks):
                out = _STEM * width * 2**stage
                made.append(PreActivationBlock(channels, out, 2 if stage and not block else 1, dropout))
                channels = out
            stages.append(nn.Sequential(*made))
        self.stages = nn.Sequential(*stages)
        self.bn = nn.BatchNorm2d(channels)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores, not normalised."""
        x = F.relu(self.bn(self.stages(self.conv1(x))))
        scores: Tensor = self.fc(self.pool(x).flatten(1))
        return scores
