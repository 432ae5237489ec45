"""Networks that lay traps for whole blocks: what counts them, numbers them, or reads more of them than their stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WIDTH, DEPTH = 6, 4


class Block(nn.Module):
    """x + a small network of norm(x)."""

    def __init__(self, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.norm, self.up, self.down = norm or nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 8), nn.Linear(8, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(F.silu(self.up(self.norm(x))))


class Net(nn.Module):
    """Blocks between two layers, a forward of (self, stream), and what it reads beside them."""

    def __init__(self, body: Callable[[Any, Tensor], Any], block: Callable[[], nn.Module] = Block, **held: Any) -> None:
        super().__init__()
        self.make = nn.Linear(5, WIDTH)
        self.layers = nn.ModuleList([block() for _ in range(DEPTH)])
        self.last, self.out, self._body = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3), body
        for name, value in held.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Any:
        return self._body(self, self.make(x))

    def head(self, x: Tensor) -> Tensor:
        return self.out(self.last(x))


class Pair(Block):
    """A second result beside the stream."""

    def forward(self, x: Tensor) -> Any:
        return super().forward(x), self.up(x).mean()


class Own(nn.Module):
    """A block that holds its weights itself: units are called by its path."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Parameter(torch.randn(WIDTH, 8) / 3), nn.Parameter(torch.randn(8, WIDTH) / 3)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.silu(x @ self.up) @ self.down


class Frozen(nn.Module):
    """A block without a weight that a unit gate could stand on: its weights are scaled in the forward."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.inside = nn.LayerNorm(WIDTH), nn.Parameter(torch.randn(WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        return x + F.linear(self.norm(x), self.inside / self.inside.abs().amax())


def each(net: Any, x: Tensor) -> Tensor:
    for layer in net.layers:
        x = layer(x)
    return x


def plain(net: Any, x: Tensor) -> Tensor:
    return net.head(each(net, x))


def averaged(net: Any, x: Tensor) -> Tensor:
    total = torch.zeros_like(x)
    for layer in net.layers:
        x = layer(x)
        total = total + x
    return net.head(total / len(net.layers))


def counted_by_attribute(net: Any, x: Tensor) -> Tensor:
    for place in range(net.n_layers):
        x = net.layers[place](x)
    return net.head(x)


def beside_norms(net: Any, x: Tensor) -> Tensor:
    for layer, norm in zip(net.layers, net.norms, strict=False):
        x = norm(layer(x))
    return net.head(x)


def pyramid(net: Any, x: Tensor) -> list[Tensor]:
    found = []
    for place, layer in enumerate(net.layers):
        x = layer(x)
        if place in (1, 3):
            found.append(x)
    return [head(x) for head, x in zip(net.heads, found, strict=True)]


def heads_in_training(net: Any, x: Tensor) -> Any:
    made = []
    for place, layer in enumerate(net.layers):
        x = layer(x)
        if net.training:
            made.append(net.heads[place](x))
    return (net.head(x), sum(made)) if net.training else net.head(x)


def scaled_in_training(net: Any, x: Tensor) -> Tensor:
    for place, layer in enumerate(net.layers):
        x = layer(x) * (1 - 0.1 * place / len(net.layers) if net.training else 1)
    return net.head(x)


def pairs(net: Any, x: Tensor) -> Tensor:
    for layer in net.layers:
        x, _ = layer(x)
    return net.head(x)


def pairs_in_training(net: Any, x: Tensor) -> Any:
    beside = []
    for layer in net.layers:
        x, more = layer(x)
        beside.append(more)
    return (net.head(x), sum(beside)) if net.training else net.head(x)


def pairs_added(net: Any, x: Tensor) -> Any:
    total: Any = 0.0
    for layer in net.layers:
        x, more = layer(x)
        total = total + more
    return net.head(x), total


def alternating(net: Any, x: Tensor) -> Tensor:
    for place, layer in enumerate(net.layers):
        x = layer(x)
        x = x.roll(1, 1) if place % 2 else x
    return net.head(x)


def louder_in_the_middle(net: Any, x: Tensor) -> Tensor:
    for place, layer in enumerate(net.layers):
        x = layer(x) * (1.5 if place == len(net.layers) // 2 else 1.0)
    return net.head(x)


def first_again(net: Any, x: Tensor) -> Tensor:
    return net.head(net.layers[0](each(net, x)))


def lists(*parts: nn.Module) -> nn.ModuleList:
    return nn.ModuleList(parts)


def shared_attention() -> nn.Module:
    norm = nn.LayerNorm(WIDTH)
    net = Net(plain, lambda: Block(norm))
    net.last = norm
    return net


def in_pairs(block: Callable[[], nn.Module]) -> nn.Module:
    """Every list holds one block alone, beside something else."""

    def body(net: Any, x: Tensor) -> Tensor:
        for scale, inner in net.layers:
            x = inner(scale(x))
        return net.head(x)

    return Net(body, lambda: lists(nn.Linear(WIDTH, WIDTH), block()))


def sequential() -> nn.Module:
    return nn.Sequential(
        nn.Linear(5, WIDTH), *(Block() for _ in range(DEPTH)), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3)
    )


def hooked() -> nn.Module:
    net = Net(plain)
    for layer in net.layers:
        layer.register_forward_hook(lambda module, args, made: made * 0.9)
    return net


def tied_pair() -> nn.Module:
    """Two of the blocks have one weight: it leaves with the last of them."""
    net = Net(plain)
    net.layers[2].down.weight = net.layers[0].down.weight
    return net


def alternating_five() -> nn.Module:
    net = Net(alternating)
    net.layers.append(Block())
    return net


def seen_by_hooks() -> nn.Module:
    seen: list[Tensor] = []

    def body(net: Any, x: Tensor) -> Tensor:
        net.seen.clear()
        return net.head(each(net, x)) + sum(made.mean() for made in net.seen)

    net = Net(body, seen=seen)
    for layer in net.layers:
        layer.register_forward_hook(net_keeps(net))
    return net


def net_keeps(net: nn.Module) -> Any:
    return Keeps(net).keep


class Keeps:
    """A hook that writes down in ``net`` what it is given."""

    def __init__(self, net: Any) -> None:
        self.net = net

    def keep(self, module: nn.Module, args: Any, made: Tensor) -> None:
        self.net.seen.append(made)


def heads(count: int) -> dict[str, nn.Module]:
    return {"heads": lists(*(nn.Linear(WIDTH, 2) for _ in range(count)))}


EXACT: dict[str, tuple[Callable[[], nn.Module], dict[str, tuple[int, str]]]] = {
    "averaged": (lambda: Net(averaged), {"layers": (4, "identity")}),
    "counted by an attribute": (lambda: Net(counted_by_attribute, n_layers=DEPTH), {"layers": (4, "removed")}),
    "beside norms": (
        lambda: Net(beside_norms, norms=lists(*(nn.LayerNorm(WIDTH) for _ in range(DEPTH)))),
        {"layers": (4, "identity")},
    ),
    "a pyramid by places": (lambda: Net(pyramid, **heads(2)), {"layers": (4, "identity")}),
    "heads in train mode": (lambda: Net(heads_in_training, **heads(DEPTH)), {"layers": (4, "identity")}),
    "scaled in train mode": (lambda: Net(scaled_in_training), {"layers": (4, "identity")}),
    "a second result that nobody reads": (lambda: Net(pairs, Pair), {"layers": (4, "removed")}),
    "no unit but whole blocks": (lambda: Net(plain, Frozen), {"layers": (4, "removed")}),
    "a norm of all blocks": (shared_attention, {"layers": (4, "removed")}),
    "blocks that are alone in their lists": (lambda: in_pairs(Block), {"layers.*.1": (4, "identity")}),
    "alone, with units of their names": (lambda: in_pairs(Own), {"layers.*.1": (4, "identity")}),
    "children of the model": (sequential, {"*": (4, "removed")}),
    "a weight of two blocks": (tied_pair, {"layers": (3, "removed")}),
    "hooks of the user": (hooked, {"layers": (4, "removed")}),
    "alternating": (lambda: Net(alternating), {"layers": (4, "identity")}),
    "louder in the middle": (lambda: Net(louder_in_the_middle), {"layers": (4, "identity")}),
    "alternating, where any one alone may leave": (alternating_five, {"layers": (5, "identity")}),
    "the first one again": (lambda: Net(first_again), {"layers": (3, "removed")}),
}  # fmt: skip
"""What can be closed as a whole, group by group, and what a closed one leaves."""

REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "a second result in train mode": (lambda: Net(pairs_in_training, Pair), "in train mode the purged model fails"),
    "a second result that is added": (lambda: Net(pairs_added, Pair), "reads the others too: .*NoneType"),
    "what hooks have seen": (seen_by_hooks, "differ by .*a hook"),
}  # fmt: skip
