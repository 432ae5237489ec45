"""Small networks with a residual stream under norms, for the tests of its width."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lzero.gates.gates import Gates


class Add(nn.Module):
    """x + body(x)."""

    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class HandRms(nn.Module):
    """The norm of Llama and T5, by hand."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.variance_epsilon = nn.Parameter(torch.ones(width)), 1e-3

    def forward(self, x: Tensor) -> Tensor:
        fine = x.to(torch.float32)
        fine = fine * torch.rsqrt(fine.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * fine.to(x.dtype)


class OnePlus(nn.Module):
    """The norm of Gemma: its weight does not multiply as it is."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.zeros(width)), 1e-3

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + self.eps) * (1 + self.weight)


class OnePlusLayerNorm(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight + 1, self.bias, self.eps)


class HandLayerNorm2d(nn.Module):
    """Over the channels of images, by hand."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.eps = 1e-3

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt((x - mean).pow(2).mean(1, keepdim=True) + self.eps)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        made = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return made.permute(0, 3, 1, 2)


class Length(nn.Module):
    """Every vector divided by its length."""

    def forward(self, x: Tensor) -> Tensor:
        return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)


class Gpt(nn.Module):
    """A causal language model with learned positions and a tied head."""

    def __init__(self, words: int = 17, width: int = 16, layers: int = 2, time: int = 12) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(time, width)
        layer = nn.TransformerEncoderLayer(width, 4, 24, 0.0, F.gelu, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, words, bias=False)
        self.head.weight = self.words.weight

    def forward(self, x: Tensor) -> Tensor:
        time = torch.arange(x.shape[1], device=x.device)
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], device=x.device, dtype=self.head.weight.dtype)
        return self.head(self.blocks(self.words(x) + self.places(time), mask=mask))


class EncoderDecoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.body = nn.Embedding(17, 16), nn.Transformer(16, 4, 1, 1, 24, 0.0, batch_first=True)
        self.head = nn.Linear(16, 17)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.words(x), self.words(x.flip(1))))


def dense(norm: Callable[[int], nn.Module], width: int = 12) -> nn.Module:
    """Two pre-norm blocks of features."""
    blocks = [Add(norm(width), nn.Linear(width, 20), nn.GELU(), nn.Linear(20, width)) for _ in range(2)]
    return nn.Sequential(nn.Linear(5, width), *blocks, norm(width), nn.Linear(width, 3))


def images(norm: Callable[[int], nn.Module], width: int = 12) -> nn.Module:
    """A ConvNeXt block."""
    depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
    block = Add(depthwise, norm(width), nn.Conv2d(width, 20, 1), nn.GELU(), nn.Conv2d(20, width, 1))
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), block, norm(width), nn.Conv2d(width, 3, 1))


def post_norm() -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 4, 24, 0.0, batch_first=True)
    return nn.Sequential(
        nn.Linear(5, 16), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(16, 3)
    )


def features(batch: int, time: int) -> Tensor:
    return torch.randn(batch, time, 5)


def pixels(batch: int, size: int) -> Tensor:
    return torch.randn(batch, 3, size, size)


def text(batch: int, time: int) -> Tensor:
    return torch.randint(17, (batch, time))


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[int, int], Tensor]]] = {
    "layer norm": (lambda: dense(nn.LayerNorm), features),
    "rms norm": (lambda: dense(lambda n: nn.RMSNorm(n, eps=1e-3)), features),
    "rms norm of the machine's eps": (lambda: dense(nn.RMSNorm), features),
    "by hand, as Llama": (lambda: dense(HandRms), features),
    "by hand, as Gemma": (lambda: dense(OnePlus), features),
    "weight plus one": (lambda: dense(OnePlusLayerNorm), features),
    "layer norm without parameters": (lambda: dense(lambda n: nn.LayerNorm(n, elementwise_affine=False)), features),
    "rms norm without parameters": (lambda: dense(lambda n: nn.RMSNorm(n, elementwise_affine=False)), features),
    "length": (lambda: dense(lambda n: Length()), features),
    "post-norm": (post_norm, features),
    "gpt": (Gpt, text),
    "encoder and decoder": (EncoderDecoder, text),
    "group norm": (lambda: images(lambda n: nn.GroupNorm(3, n)), pixels),
    "one group": (lambda: images(lambda n: nn.GroupNorm(1, n)), pixels),
    "over channels": (lambda: images(LayerNorm2d), pixels),
    "over channels, by hand": (lambda: images(HandLayerNorm2d), pixels),
    "over channels and space": (lambda: images(lambda n: nn.LayerNorm([n, 6, 6], eps=1e-3)), lambda b, _: pixels(b, 6)),
}
"""Builders, and inputs of a batch and a length; every one has a stream that only ``"width"`` reaches."""


def built(name: str, seed: int = 0) -> nn.Module:
    """The model in eval mode, in float64, with random vectors too."""
    torch.manual_seed(seed)
    model = MODELS[name][0]().double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def given(name: str, batch: int, length: int) -> Tensor:
    """Fresh inputs of it, floats in float64."""
    x = MODELS[name][1](batch, length)
    return x.double() if x.is_floating_point() else x


@torch.no_grad()
def close_some(gates: Gates, share: float, seed: int) -> None:
    """Close about ``share`` of all gates, and leave the others unevenly open."""
    generator = torch.Generator().manual_seed(seed)
    closed = torch.rand(len(gates), generator=generator) < share
    opened = torch.randn(len(gates), generator=generator).abs() * 2 - 1
    gates.log_alpha.copy_(torch.where(closed, -9.0, opened))
