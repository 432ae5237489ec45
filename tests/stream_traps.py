"""Networks that lay traps for the width of a stream: what reads it beside its norms, and norms that are none."""

from __future__ import annotations

from collections.abc import Callable

import torch
from streams import HandRms
from torch import Tensor, nn
from torch.nn import functional as F

Forward = Callable[["Stream", Tensor], Tensor]


class Stream(nn.Module):
    """A pre-norm network of width 12 whose ``forward`` is the trap."""

    def __init__(self, forward: Forward, /, **more: nn.Module) -> None:
        super().__init__()
        self.make, self.norm, self.up, self.down = (
            nn.Linear(5, 12),
            nn.LayerNorm(12),
            nn.Linear(12, 20),
            nn.Linear(20, 12),
        )
        self.last, self.out, self._forward = nn.LayerNorm(12), nn.Linear(12, 3), forward
        for name, module in more.items():
            setattr(self, name, module)

    def stream(self, x: Tensor) -> Tensor:
        x = self.make(x)
        return x + self.down(F.relu(self.up(self.norm(x))))

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(self, x)


class Plain(nn.Module):
    """A function as a module, with an eps and a weight that it may use."""

    def __init__(self, function: Callable[[Plain, Tensor], Tensor]) -> None:
        super().__init__()
        self.weight, self.eps, self.width, self._function = nn.Parameter(torch.ones(12)), 1e-3, 12, function

    def forward(self, x: Tensor) -> Tensor:
        return self._function(self, x)


class Keeps(nn.LayerNorm):
    """A norm that keeps what it was given for others to read."""

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        return super().forward(x)


class WritesEps(nn.Module):
    """A norm that keeps no eps."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.shape = nn.Parameter(torch.ones(width)), (width,)

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.shape, self.weight, None, 1e-3)


class WritesRmsEps(WritesEps):
    """The same by a root mean square, which needs none to follow."""

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-3)


def ends_in(function: Callable[[Plain, Tensor], Tensor]) -> Callable[[], nn.Module]:
    return lambda: Stream(lambda m, x: m.out(m.end(m.stream(x))), end=Plain(function))


def reads(end: Forward, /, **more: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: Stream(end, **{name: build() for name, build in more.items()})


def mean_square(x: Tensor) -> Tensor:
    return x.pow(2).mean(-1, keepdim=True)


def length(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=-1, keepdim=True)


def seen_too(m: Stream, x: Tensor) -> Tensor:
    made = m.out(m.end(m.stream(x)))
    return made + m.end.seen.sum(-1, keepdim=True)


def seen_by_weights(m: Stream, x: Tensor) -> Tensor:
    made = m.out(m.end(m.stream(x)))
    return made + m.other(m.end.seen)


def compared(m: Stream, x: Tensor) -> Tensor:
    h = m.last(m.stream(x))
    return m.out(h * (h > h.mean(-1, keepdim=True)))


def by_the_largest(m: Stream, x: Tensor) -> Tensor:
    h = m.last(m.stream(x))
    return m.out(h / h.abs().amax(-1, keepdim=True))


def centered(m: Stream, x: Tensor) -> Tensor:
    x = m.stream(x)
    return m.out(m.last(x - x.mean(-1, keepdim=True)))


def through_numpy(m: Stream, x: Tensor) -> Tensor:
    x = m.stream(x)
    return m.out(m.last(x)) + torch.from_numpy(x.detach().numpy().copy()).sum(-1, keepdim=True)


def half_of_it(m: Stream, x: Tensor) -> Tensor:
    x = m.stream(x)
    other = m.other(m.make(x[..., :5]))
    return m.out(m.last(torch.cat([x[..., :6] + other[..., :6], other[..., 6:]], -1)))


def in_one_norm(m: Stream, x: Tensor) -> Tensor:
    return m.read(m.end(torch.cat([m.stream(x), m.other(x)], -1)))


def twice_in_one_norm(m: Stream, x: Tensor) -> Tensor:
    x = m.stream(x)
    return m.read(m.end(torch.cat([x, x], -1)))


def some_twice(m: Stream, x: Tensor) -> Tensor:
    x = m.stream(x)
    return m.read(m.end(torch.cat([x, x[..., :6]], -1)))


def transposed(m: Stream, x: Tensor) -> Tensor:
    return F.linear(m.last(m.stream(x) + m.other(x[..., :3])), m.other.weight.t())


def hooked(m: Stream, x: Tensor) -> Tensor:
    return m.out(m.end(m.stream(x)))


def deviation(x: Tensor) -> tuple[Tensor, Tensor]:
    centred = x - x.mean(-1, keepdim=True)
    return centred, mean_square(centred)


def bounded(m: Plain, x: Tensor) -> Tensor:
    centred, variance = deviation(x)
    return m.weight * centred / variance.sqrt().clamp(min=m.eps)


def bounded_square(m: Plain, x: Tensor) -> Tensor:
    centred, variance = deviation(x)
    return m.weight * centred / variance.clamp(min=m.eps).sqrt()


def given_a_weight(m: Stream, x: Tensor) -> Tensor:
    weight = m.other.weight
    m.other.weight = nn.Parameter(weight * 2)
    made = m.out(m.last(m.stream(x) + m.other(x)))
    m.other.weight = weight
    return made


def with_hooks() -> nn.Module:
    model = Stream(hooked, end=nn.LayerNorm(12))
    model.end.register_forward_pre_hook(lambda module, args: (args[0] * 2 + 1,))
    model.end.register_forward_hook(lambda module, args, made: made * 2 + 1)
    return model


def tied_norms() -> nn.Module:
    model = Stream(lambda m, x: m.out(m.last(m.stream(x))))
    model.last.weight = model.norm.weight
    return model


def over_time() -> nn.Module:
    def end(m: Stream, x: Tensor) -> Tensor:
        return m.out(m.last(m.time(m.stream(x).transpose(1, 2)).transpose(1, 2)))

    return Stream(end, time=nn.LayerNorm(6))


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "sorted": (reads(lambda m, x: m.out(m.last(m.stream(x)).sort(-1).values)), "mixes all units .*sort"),
    "softmax": (reads(lambda m, x: m.out(m.last(m.stream(x)).softmax(-1))), "mixes all units .*softmax"),
    "compared with its mean": (reads(compared), "mixes all units .*mean"),
    "divided by its largest": (reads(by_the_largest), "mixes all units .*amax"),
    "a mean outside": (reads(centered), "mixes all units .*mean"),
    "through NumPy": (reads(through_numpy), "NumPy"),
    "a weight that the forward puts in": (
        reads(given_a_weight, other=lambda: nn.Linear(5, 12)), "neither side is a plain parameter|no gate controls",
    ),
    "an output": (reads(lambda m, x: m.last(m.stream(x))), "output of the model"),
    "a norm in the forward": (reads(lambda m, x: m.out(F.layer_norm(m.stream(x), (12,)))), "normalises over all units"),
    "half of it": (reads(half_of_it, other=lambda: nn.Linear(12, 12)), "by their number"),
    "some of it twice": (
        reads(some_twice, end=lambda: nn.LayerNorm(18), read=lambda: nn.Linear(18, 3)), "fails in|by their number",
    ),
    "half of a norm": (ends_in(lambda m, x: x - x.mean(-1, keepdim=True)), "mixes all units .*mean in end"),
    "n - 1": (ends_in(lambda m, x: (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + m.eps)), "std in end"),
    "n - 1, by its variance": (
        ends_in(lambda m, x: (x - x.mean(-1, keepdim=True)) * torch.rsqrt(x.var(-1, keepdim=True) + m.eps)),
        "var in end",
    ),
    "an eps in the forward": (
        reads(lambda m, x: m.out(m.end(m.stream(x))), end=lambda: WritesEps(12)), "normalises over all units .*in end",
    ),
    "an eps outside of the root": (ends_in(lambda m, x: m.weight * x / (mean_square(x).sqrt() + m.eps)), "differ by"),
    "a bound on its deviation": (ends_in(bounded), "differ by"),
    "a mean beside": (
        ends_in(lambda m, x: m.weight * x * torch.rsqrt(mean_square(x) + m.eps) + x.mean(-1, keepdim=True)),
        "mixes all units|differ by",
    ),
    "absolute values": (ends_in(lambda m, x: x / x.abs().mean(-1, keepdim=True)), "mixes all units .*mean in end"),
    "another length": (
        ends_in(lambda m, x: x / torch.linalg.vector_norm(x, 1, dim=-1, keepdim=True)), "mixes all units .*vector_norm",
    ),
    "a length by the width": (
        ends_in(lambda m, x: x / (length(x) * x.shape[-1] ** -0.5 + m.eps)), "computes a plain number from its size",
    ),
    "what a norm was given": (reads(seen_too, end=lambda: Keeps(12)), "mixes all units .*sum"),
}  # fmt: skip
"""Models whose stream must not be gated, and why."""

EXACT: dict[str, Callable[[], nn.Module]] = {
    "what a norm was given, by weights": reads(seen_by_weights, end=lambda: Keeps(12), other=lambda: nn.Linear(12, 3)),
    "a weight used transposed": reads(transposed, other=lambda: nn.Linear(3, 12, bias=False)),
    "two layers in one norm": reads(
        in_one_norm, other=lambda: nn.Linear(5, 7), end=lambda: nn.LayerNorm(19), read=lambda: nn.Linear(19, 3)
    ),
    "every unit twice": reads(twice_in_one_norm, end=lambda: nn.LayerNorm(24), read=lambda: nn.Linear(24, 3)),
    "hooks of the user": with_hooks,
    "a bound on its variance": ends_in(bounded_square),
    "tied norms": tied_norms,
    "a norm over time": over_time,
    "called by keyword": reads(lambda m, x: m.out(m.last(input=m.stream(x)))),
    "in place": ends_in(lambda m, x: x.mul_(torch.rsqrt(mean_square(x) + m.eps)).mul_(m.weight)),
    "an eps in the forward": reads(lambda m, x: m.out(m.end(m.stream(x))), end=lambda: WritesRmsEps(12)),
    "a variance": ends_in(
        lambda m, x: (
            m.weight * (x - x.mean(-1, keepdim=True)) * torch.rsqrt(x.var(-1, correction=0, keepdim=True) + m.eps)
        )
    ),
    "a length by a constant": ends_in(lambda m, x: m.weight * x / (length(x) * 0.3 + 1e-3)),
    "a length by PyTorch": ends_in(lambda m, x: F.normalize(x, dim=-1) * 12**0.5 * m.weight),
    "batch norm beside": reads(
        lambda m, x: m.out(m.last(m.batch(m.stream(x).transpose(1, 2)).transpose(1, 2))),
        batch=lambda: nn.BatchNorm1d(12),
    ),
    "two kinds of norm": reads(lambda m, x: m.out(m.end(m.stream(x))), end=lambda: HandRms(12)),
    "an adapter": reads(
        lambda m, x: m.out(m.last(m.stream(x) + m.wide(m.narrow(m.stream(x))))),
        narrow=lambda: nn.Linear(12, 4, bias=False), wide=lambda: nn.Linear(4, 12, bias=False),
    ),
}  # fmt: skip
"""Models whose stream looks as bad and is exact."""
