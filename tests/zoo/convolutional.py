"""Convolutional families, small: no two of them are gated by code of their own."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from zoo.blocks import Branches, Entry, Net, Residual, Scaled, conv, head, image


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 10, 3), nn.Tanh(), nn.Flatten(),
        nn.Linear(160, 24), nn.Tanh(), nn.Linear(24, 5),
    )  # fmt: skip


def vgg() -> nn.Module:
    body = [conv(3, 8), conv(8, 8), nn.MaxPool2d(2), conv(8, 12), conv(12, 12), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*body, nn.Linear(192, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 5))


def all_convolutional() -> nn.Module:
    return nn.Sequential(conv(3, 8), conv(8, 12, 3, 2), conv(12, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def fire(made: int, squeezed: int, out: int) -> nn.Module:
    return nn.Sequential(conv(made, squeezed, 1), Branches(conv(squeezed, out, 1), conv(squeezed, out, 3)))


def squeezenet() -> nn.Module:
    return nn.Sequential(conv(3, 8), fire(8, 4, 6), nn.MaxPool2d(2), fire(12, 5, 8), conv(16, 5, 1), head(5))


def basic(made: int, out: int, stride: int = 1) -> nn.Module:
    shortcut = None if made == out and stride == 1 else conv(made, out, 1, stride, act=None)
    return Residual(nn.Sequential(conv(made, out, 3, stride), conv(out, out, act=None)), shortcut, nn.ReLU())


def bottleneck(made: int, inner: int, out: int, stride: int = 1, groups: int = 1) -> nn.Module:
    shortcut = None if made == out and stride == 1 else conv(made, out, 1, stride, act=None)
    body = nn.Sequential(conv(made, inner, 1), conv(inner, inner, 3, stride, groups), conv(inner, out, 1, act=None))
    return Residual(body, shortcut, nn.ReLU())


def resnet() -> nn.Module:
    return nn.Sequential(conv(3, 8), basic(8, 8), basic(8, 12, 2), basic(12, 12), head(12))


def resnet_bottleneck() -> nn.Module:
    return nn.Sequential(conv(3, 8), bottleneck(8, 6, 16), bottleneck(16, 6, 16), bottleneck(16, 8, 20, 2), head(20))


def resnet_group_norm() -> nn.Module:
    def block(channels: int) -> nn.Module:
        layers = [nn.Conv2d(channels, channels, 3, padding=1), nn.GroupNorm(4, channels), nn.ReLU()]
        return Residual(nn.Sequential(*layers, nn.Conv2d(channels, 9, 1), nn.ReLU(), nn.Conv2d(9, channels, 1)))

    return nn.Sequential(nn.Conv2d(3, 8, 3), block(8), block(8), head(8))


def preactivated(made: int, out: int) -> nn.Module:
    layers = [nn.BatchNorm2d(made), nn.ReLU(), nn.Conv2d(made, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU()]
    shortcut = None if made == out else nn.Conv2d(made, out, 1)
    return Residual(nn.Sequential(*layers, nn.Conv2d(out, out, 3, padding=1)), shortcut)


def resnet_preactivated() -> nn.Module:
    body = [nn.Conv2d(3, 8, 3), preactivated(8, 8), preactivated(8, 12), nn.BatchNorm2d(12), nn.ReLU()]
    return nn.Sequential(*body, head(12))


def wide_resnet() -> nn.Module:
    return nn.Sequential(conv(3, 4), basic(4, 20), nn.Dropout(0.3), basic(20, 24, 2), head(24))


def resnext() -> nn.Module:
    return nn.Sequential(conv(3, 8), bottleneck(8, 12, 16, groups=4), bottleneck(16, 12, 16, 1, 4), head(16))


def regnet() -> nn.Module:
    def block(made: int, out: int) -> nn.Module:
        body = [conv(made, out, 1), conv(out, out, 3, 2, groups=out // 4), Scaled(out, 5), conv(out, out, 1, act=None)]
        return Residual(nn.Sequential(*body), conv(made, out, 1, 2, act=None), nn.ReLU())

    return nn.Sequential(conv(3, 8), block(8, 12), block(12, 16), head(16))


class DenseLayer(nn.Module):
    def __init__(self, made: int, growth: int) -> None:
        super().__init__()
        self.norm, self.inner = nn.BatchNorm2d(made), conv(made, 2 * growth, 1)
        self.outer = nn.Conv2d(2 * growth, growth, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.outer(self.inner(F.relu(self.norm(x))))], 1)


def densenet() -> nn.Module:
    first = [DenseLayer(8, 4), DenseLayer(12, 4), DenseLayer(16, 4)]
    return nn.Sequential(conv(3, 8), *first, conv(20, 10, 1), nn.AvgPool2d(2), DenseLayer(10, 4), head(14))


class DualPath(nn.Module):
    """Part of the output is added to a residual stream, part is concatenated to a dense one."""

    def __init__(self, stream: int, dense: int, inner: int, growth: int) -> None:
        super().__init__()
        self.reads = nn.Sequential(conv(stream + dense, inner, 1), conv(inner, inner, 3, groups=4))
        self.adds, self.appends = nn.Conv2d(inner, stream, 1), nn.Conv2d(inner, growth, 1)

    def forward(self, both: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        h = self.reads(torch.cat(both, 1))
        return both[0] + self.adds(h), torch.cat([both[1], self.appends(h)], 1)


def dual_path() -> nn.Module:
    def forward(net: Net, x: Tensor) -> Tensor:
        both = net.stream(x), net.dense(x)
        for block in net.blocks:
            both = block(both)
        return net.head(torch.cat(both, 1))

    blocks = nn.ModuleList([DualPath(8, 6, 12, 4), DualPath(8, 10, 12, 4)])
    return Net(forward, stream=conv(3, 8), dense=conv(3, 6), blocks=blocks, head=head(22))


def inception(made: int) -> nn.Module:
    pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(made, 4, 1))
    wide = nn.Sequential(conv(made, 3, 1), conv(3, 4, 5))
    return Branches(conv(made, 4, 1), nn.Sequential(conv(made, 4, 1), conv(4, 6, 3)), wide, pool)


def googlenet() -> nn.Module:
    return nn.Sequential(conv(3, 8), inception(8), nn.MaxPool2d(2), inception(18), nn.Dropout(0.4), head(18))


def inception_asymmetric() -> nn.Module:
    def factored(made: int) -> nn.Module:
        tall = nn.Conv2d(6, 6, (1, 7), padding=(0, 3)), nn.BatchNorm2d(6), nn.Conv2d(6, 8, (7, 1), padding=(3, 0))
        return Branches(nn.Sequential(conv(made, 6, 1), *tall), conv(made, 4, 3))

    return nn.Sequential(conv(3, 8), factored(8), nn.ReLU(), factored(12), head(12))


def separable(made: int, out: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(conv(made, made, 3, stride, made), conv(made, out, 1))


def mobilenet() -> nn.Module:
    return nn.Sequential(conv(3, 8), separable(8, 12), separable(12, 16, 2), separable(16, 16), head(16))


def inverted(made: int, out: int, times: int = 3, squeeze: bool = False, act: type[nn.Module] = nn.ReLU6) -> nn.Module:
    inner = made * times
    layers = [conv(made, inner, 1, act=act), conv(inner, inner, 3, groups=inner, act=act)]
    layers += [Scaled(inner, 4, act)] if squeeze else []
    body = nn.Sequential(*layers, conv(inner, out, 1, act=None))
    return Residual(body) if made == out else body


def mobilenet_v2() -> nn.Module:
    return nn.Sequential(conv(3, 8, act=nn.ReLU6), inverted(8, 8), inverted(8, 12), inverted(12, 12), head(12))


def mobilenet_v3() -> nn.Module:
    act = nn.Hardswish
    return nn.Sequential(conv(3, 8, act=act), inverted(8, 8, 2, True, act), inverted(8, 12, 3, True, act), head(12))


def efficientnet() -> nn.Module:
    act = nn.SiLU
    return nn.Sequential(conv(3, 8, act=act), inverted(8, 8, 4, True, act), inverted(8, 10, 4, True, act), head(10))


class Shuffled(nn.Module):
    def __init__(self, channels: int, groups: int, by_hand: bool) -> None:
        super().__init__()
        self.groups, self.by_hand = groups, by_hand
        self.first = conv(channels, channels, 1, groups=groups)
        self.rest = nn.Sequential(conv(channels, channels, 3, groups=channels, act=None),
                                  conv(channels, channels, 1, groups=groups, act=None))  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        if self.by_hand:
            h = h.view(len(h), self.groups, -1, *h.shape[2:]).transpose(1, 2).flatten(1, 2)
        else:
            h = F.channel_shuffle(h, self.groups)
        return F.relu(x + self.rest(h))


def shufflenet(channels: int) -> nn.Module:
    body = Shuffled(channels, 3, False), Shuffled(channels, 3, True)
    return nn.Sequential(conv(3, channels), *body, head(channels))


class HalfShuffled(nn.Module):
    """Half of the channels pass, half are convolved, and both are interleaved."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch = nn.Sequential(
            conv(half, half, 1), conv(half, half, 3, groups=half, act=None), conv(half, half, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        passed, read = x.chunk(2, 1)
        out = torch.stack([passed, self.branch(read)], 2)
        return out.flatten(1, 2)


def shufflenet_v2() -> nn.Module:
    return nn.Sequential(conv(3, 12), HalfShuffled(12), HalfShuffled(12), conv(12, 10, 1), head(10))


def convnext() -> nn.Module:
    class Block(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.deep, self.norm = nn.Conv2d(width, width, 7, padding=3, groups=width), nn.LayerNorm(width)
            self.up, self.down = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)

        def forward(self, x: Tensor) -> Tensor:
            h = self.down(F.gelu(self.up(self.norm(self.deep(x).permute(0, 2, 3, 1)))))
            return x + h.permute(0, 3, 1, 2)

    return nn.Sequential(nn.Conv2d(3, 8, 4, 4), Block(8), Block(8), head(8))


class UNet(nn.Module):
    def __init__(self, transposed: bool) -> None:
        super().__init__()
        self.down, self.deeper, self.bottom = conv(3, 6), conv(6, 8), conv(8, 10)
        self.up = nn.ConvTranspose2d(10, 8, 2, 2) if transposed else nn.Upsample(scale_factor=2)
        self.join, self.last = conv(16 if transposed else 18, 6), conv(12, 6)
        self.out = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.down(x)
        second = self.deeper(F.max_pool2d(first, 2))
        h = self.join(torch.cat([second, self.up(self.bottom(F.max_pool2d(second, 2)))], 1))
        h = F.interpolate(h, size=first.shape[-2:], mode="bilinear")
        return self.out(self.last(torch.cat([first, h], 1)))


def pyramid() -> nn.Module:
    def forward(net: Net, x: Tensor) -> list[Tensor]:
        low = net.low(x)
        high = net.high(low)
        top = net.top(high)
        merged = net.side(low) + F.interpolate(top, scale_factor=2)
        return [net.out(top), net.out(merged)]

    return Net(forward, low=conv(3, 8), high=conv(8, 12, 3, 2), top=nn.Conv2d(12, 6, 1), side=nn.Conv2d(8, 6, 1),
               out=nn.Conv2d(6, 4, 3, padding=1))  # fmt: skip


def atrous() -> nn.Module:
    rates = [nn.Sequential(nn.Conv2d(10, 5, 3, padding=r, dilation=r), nn.ReLU()) for r in (1, 2, 3)]
    return nn.Sequential(conv(3, 10), Branches(*rates), conv(15, 8, 1), nn.Conv2d(8, 3, 1))


def generator() -> nn.Module:
    def up(made: int, out: int) -> list[nn.Module]:
        return [nn.ConvTranspose2d(made, out, 4, 2, 1), nn.BatchNorm2d(out), nn.ReLU()]

    return nn.Sequential(nn.Linear(6, 12), nn.Unflatten(1, (12, 1, 1)), *up(12, 10), *up(10, 8),
                         nn.Conv2d(8, 3, 3, padding=1), nn.Tanh())  # fmt: skip


def style_transfer() -> nn.Module:
    def layer(made: int, out: int) -> list[nn.Module]:
        pad = nn.ReflectionPad2d(1)
        return [pad, nn.Conv2d(made, out, 3), nn.InstanceNorm2d(out, affine=True), nn.ReLU()]

    inner = Residual(nn.Sequential(*layer(10, 10)))
    return nn.Sequential(*layer(3, 8), *layer(8, 10), inner, nn.Conv2d(10, 3, 3, padding=1, padding_mode="circular"))


def super_resolution() -> nn.Module:
    body = [nn.Conv2d(3, 10, 5, padding=2), nn.PReLU(10), nn.Conv2d(10, 8, 3, padding=1, padding_mode="replicate")]
    return nn.Sequential(*body, nn.PReLU(), nn.Conv2d(8, 24, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(6, 3, 1))


def space_to_depth() -> nn.Module:
    return nn.Sequential(conv(3, 6), nn.PixelUnshuffle(2), conv(24, 8), head(8))


def wavenet() -> nn.Module:
    class Gated(nn.Module):
        def __init__(self, width: int, dilation: int) -> None:
            super().__init__()
            self.made = nn.Conv1d(width, 12, 2, dilation=dilation)
            self.out, self.pad = nn.Conv1d(6, width, 1), dilation

        def forward(self, x: Tensor) -> Tensor:
            return x + self.out(F.glu(self.made(F.pad(x, (self.pad, 0))), 1))

    return nn.Sequential(nn.Conv1d(2, 8, 1), Gated(8, 1), Gated(8, 2), Gated(8, 4), nn.ReLU(), nn.Conv1d(8, 3, 1))


def temporal() -> nn.Module:
    norm = nn.utils.parametrizations.weight_norm
    body = nn.Sequential(norm(nn.Conv1d(2, 8, 3, padding=1)), nn.ReLU(), nn.Conv1d(8, 6, 3, padding=1), nn.ReLU())
    return nn.Sequential(Residual(body, nn.Conv1d(2, 6, 1)), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(6, 3))


def volumetric() -> nn.Module:
    def layer(made: int, out: int) -> list[nn.Module]:
        return [nn.Conv3d(made, out, 3, padding=1), nn.BatchNorm3d(out), nn.ReLU(), nn.MaxPool3d(2)]

    return nn.Sequential(*layer(1, 5), *layer(5, 7), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(7, 3))


def shared() -> nn.Module:
    def forward(net: Net, x: Tensor) -> Tensor:
        x = net.first(x)
        for _ in range(3):
            x = x + net.block(x)
        return net.head(x)

    return Net(forward, first=conv(3, 8), block=nn.Sequential(conv(8, 12), conv(12, 8)), head=head(8))


def siamese() -> nn.Module:
    tower = nn.Sequential(conv(3, 8), conv(8, 10), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Net(lambda net, a, b: net.out((net.tower(a) - net.tower(b)).abs()), tower=tower, out=nn.Linear(10, 1))


def spatial_transformer() -> nn.Module:
    def forward(net: Net, x: Tensor) -> Tensor:
        h = net.stem(x)
        places = F.affine_grid(net.where(h).view(-1, 2, 3), [len(x), 1, 6, 6], align_corners=False)
        return net.out(F.grid_sample(h, places, align_corners=False))

    where = nn.Sequential(conv(8, 6, 3, 2), head(6, 6))
    return Net(forward, stem=conv(3, 8), where=where, out=nn.Sequential(conv(8, 5, 1), head(5)))


NETWORKS = "Convolutional"
CONVOLUTIONAL: dict[str, Entry] = {
    "LeNet": Entry(NETWORKS, lenet, image(), 0.9),
    "VGG": Entry(NETWORKS, vgg, image(), 0.9),
    "All-convolutional": Entry(NETWORKS, all_convolutional, image(), 0.9),
    "SqueezeNet": Entry(NETWORKS, squeezenet, image(), 0.9),
    "ResNet": Entry(NETWORKS, resnet, image(), 0.9),
    "ResNet, bottleneck": Entry(NETWORKS, resnet_bottleneck, image(), 0.9),
    "ResNet, pre-activation": Entry(NETWORKS, resnet_preactivated, image(), 0.9),
    "ResNet, GroupNorm": Entry(NETWORKS, resnet_group_norm, image(), 0.1),
    "Wide ResNet": Entry(NETWORKS, wide_resnet, image(), 0.9),
    "ResNeXt": Entry(NETWORKS, resnext, image(), 0.9),
    "RegNet": Entry(NETWORKS, regnet, image(), 0.9),
    "DenseNet": Entry(NETWORKS, densenet, image(), 0.9),
    "DPN": Entry(NETWORKS, dual_path, image(), 0.9),
    "GoogLeNet": Entry(NETWORKS, googlenet, image(), 0.9),
    "Inception, asymmetric": Entry(NETWORKS, inception_asymmetric, image(), 0.9),
    "MobileNetV1": Entry(NETWORKS, mobilenet, image(), 0.9),
    "MobileNetV2": Entry(NETWORKS, mobilenet_v2, image(), 0.9),
    "MobileNetV3": Entry(NETWORKS, mobilenet_v3, image(), 0.9),
    "EfficientNet": Entry(NETWORKS, efficientnet, image(), 0.9),
    "ShuffleNetV1": Entry(NETWORKS, lambda: shufflenet(36), image(), 0.9),
    "ShuffleNetV1, few channels": Entry(NETWORKS, lambda: shufflenet(12), image(), 0.6),
    "ShuffleNetV2": Entry(NETWORKS, shufflenet_v2, image(), 0.9),
    "ConvNeXt": Entry(NETWORKS, convnext, image(), 0.35),
    "U-Net, transposed": Entry(NETWORKS, lambda: UNet(True), image(), 0.9),
    "U-Net, upsampling": Entry(NETWORKS, lambda: UNet(False), image(), 0.9),
    "Feature pyramid": Entry(NETWORKS, pyramid, image(), 0.9),
    "Atrous pyramid": Entry(NETWORKS, atrous, image(), 0.9),
    "Generator": Entry(NETWORKS, generator, lambda: torch.randn(2, 6), 0.5),
    "Style transfer": Entry(NETWORKS, style_transfer, image(), 0.9),
    "Super-resolution": Entry(NETWORKS, super_resolution, image(8), 0.9),
    "Space to depth": Entry(NETWORKS, space_to_depth, image(8), 0.9),
    "Spatial transformer": Entry(NETWORKS, spatial_transformer, image(), 0.9),
    "WaveNet": Entry(NETWORKS, wavenet, lambda: torch.randn(2, 2, 12), 0.9),
    "Temporal, weight norm": Entry(NETWORKS, temporal, lambda: torch.randn(2, 2, 12), 0.9),
    "3-D": Entry(NETWORKS, volumetric, lambda: torch.randn(2, 1, 8, 8, 8), 0.9),
    "Reused block": Entry(NETWORKS, shared, image(), 0.9),
    "Siamese": Entry(NETWORKS, siamese, lambda: (torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)), 0.9),
}
