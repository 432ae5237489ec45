"""Small networks whose blocks and branches have gates of their own: what stays exact, and what has to be refused."""

from __future__ import annotations

import torch
from torch import nn

WIDTH = 6


def linear(out=WIDTH, given=WIDTH):
    return nn.Linear(given, out)


def mlp(width=WIDTH):
    return nn.Sequential(nn.Linear(width, 5), nn.GELU(), nn.Linear(5, width))


class Attention(nn.Module):
    """Two heads of self-attention over [B, T, 6]."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 12), nn.Linear(4, WIDTH)

    def forward(self, x):
        q, k, v = (part.unflatten(-1, (-1, 2)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        mixed = torch.softmax(q @ k.transpose(-1, -2), -1) @ v
        return self.out(mixed.transpose(1, 2).flatten(2))


class PreNorm(nn.Module):
    """A block of a transformer that normalises what its branches read."""

    def __init__(self, attention=Attention, drop=0.0):
        super().__init__()
        self.norm1, self.attn, self.norm2, self.mlp = nn.LayerNorm(WIDTH), attention(), nn.LayerNorm(WIDTH), mlp()
        self.drop = nn.Dropout(drop)

    def forward(self, x):
        x = x + self.drop(self.attn(self.norm1(x)))
        return x + self.drop(self.mlp(self.norm2(x)))


class PostNorm(PreNorm):
    """A block of the first transformers, which normalises sums."""

    def forward(self, x):
        x = self.norm1(x + self.attn(x))
        return self.norm2(x + self.mlp(x))


class Parallel(PreNorm):
    """A block whose branches read the same."""

    def forward(self, x):
        normal = self.norm1(x)
        return x + self.attn(normal) + self.mlp(normal)


class InPlace(PreNorm):
    """A block that adds into what it is given."""

    def forward(self, x):
        x += self.attn(self.norm1(x))
        x += self.mlp(self.norm2(x))
        return x


class InPlaceOnACopy(PreNorm):
    """A block that adds into a sum of its own."""

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        x += self.mlp(self.norm2(x))
        return x


class Light(nn.Module):
    """A block of two branches that have no units of their own."""

    def __init__(self):
        super().__init__()
        self.norm, self.attn, self.mlp = nn.LayerNorm(WIDTH), linear(), nn.Sequential(linear(), nn.Tanh())

    def forward(self, x):
        x = x + self.attn(self.norm(x))
        return x + self.mlp(x)


class Pair(Light):
    """A block that returns its stream, and None."""

    def forward(self, x):
        return super().forward(x), None


class Weights(Light):
    """A block that returns its stream, and another tensor."""

    def forward(self, x):
        made = super().forward(x)
        return made, made.tanh()


class Table(Light):
    """A block that returns a dict."""

    def forward(self, x):
        return {"x": super().forward(x)}


class ByName(Light):
    """A block whose arguments are all named."""

    def forward(self, *, mask, x):
        return super().forward(x) if mask.all() else x


class Scaled(nn.Module):
    """LayerScale and stochastic depth after a branch."""

    class Path(nn.Module):
        def forward(self, x):
            if not self.training:
                return x
            return x * torch.bernoulli(x.new_full((len(x), 1, 1), 0.9)) / 0.9

    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.gamma = nn.Parameter(torch.full((WIDTH,), 0.3))

        def forward(self, x):
            return x * self.gamma

    def __init__(self):
        super().__init__()
        self.norm1, self.attn, self.norm2, self.mlp = nn.LayerNorm(WIDTH), Attention(), nn.LayerNorm(WIDTH), mlp()
        self.scale1, self.scale2, self.path = self.Scale(), self.Scale(), self.Path()

    def forward(self, x):
        x = x + self.path(self.scale1(self.attn(self.norm1(x))))
        return x + self.path(self.scale2(self.mlp(self.norm2(x))))


class Residual(nn.Module):
    """A block of one branch."""

    def __init__(self, width=WIDTH, inner=5):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x):
        return x + self.fc2(torch.relu(self.fc1(x)))


class Basic(nn.Module):
    """The basic block of a ResNet."""

    def __init__(self, given, width, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(given, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        moves = stride > 1 or given != width
        self.down = nn.Sequential(nn.Conv2d(given, width, 1, stride), nn.BatchNorm2d(width)) if moves else None

    def forward(self, x):
        made = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        made += x if self.down is None else self.down(x)
        return self.relu(made)


class Bottleneck(nn.Module):
    """The bottleneck block of a ResNet, without the ReLU at its end where it is not asked for."""

    def __init__(self, given, width, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(given, 3, 1, bias=False), nn.BatchNorm2d(3)
        self.conv2, self.bn2 = nn.Conv2d(3, 3, 3, stride, 1, bias=False), nn.BatchNorm2d(3)
        self.conv3, self.bn3 = nn.Conv2d(3, width, 1, bias=False), nn.BatchNorm2d(width)
        moves = stride > 1 or given != width
        self.down = nn.Conv2d(given, width, 1, stride) if moves else nn.Identity()

    def forward(self, x):
        made = torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))
        return torch.relu(self.bn3(self.conv3(made)) + self.down(x))


class ResNet(nn.Module):
    """Three stages, each with a first block that changes the size: the rest of a stage can leave."""

    def __init__(self, block, depths=(2, 3, 2), widths=(4, 6, 8)):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 3, 1, 1), nn.BatchNorm2d(widths[0]), nn.ReLU())
        given = widths[0]
        for number, (depth, width) in enumerate(zip(depths, widths, strict=True), start=1):
            blocks = [
                block(given if first else width, width, 2 if first and number > 1 else 1)
                for first in [True] + [False] * (depth - 1)
            ]
            setattr(self, f"layer{number}", nn.Sequential(*blocks))
            given = width
        self.fc = nn.Linear(given, 3)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.stem(x))))
        return self.fc(x.mean((2, 3)))


class Stack(nn.Module):
    """Blocks between an embedding of [B, T, 4] and a head, called as :meth:`run` says."""

    def __init__(self, blocks, container=nn.ModuleList):
        super().__init__()
        self.make = nn.Linear(4, WIDTH)
        self.layers = container(blocks) if container is nn.ModuleList else container(*blocks)
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, x):
        return self.head(self.norm(self.run(self.make(x))))

    def run(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def stack(run, block=Light, count=4, container=nn.ModuleList, extra=None):
    """A :class:`Stack` whose blocks are called by ``run(stack, x)``, with what ``extra(stack)`` adds to it."""
    kind = type("Own", (Stack,), {"run": run})
    made = kind([block() for _ in range(count)], container)
    if extra is not None:
        extra(made)
    return made


def in_turn(self, x):
    for layer in self.layers:
        x = layer(x)
    return x


def whole(self, x):
    return self.layers(x)


def by_number(self, x):
    x = self.layers[0](x)
    x = self.layers[1](x)
    x = self.layers[2](x)
    return self.layers[3](x)


def by_range(self, x):
    for i in range(4):
        x = self.layers[i](x)
    return x


def by_length(self, x):
    for i in range(len(self.layers)):
        x = self.layers[i](x)
    return x


def enumerated(self, x):
    for i, layer in enumerate(self.layers):
        x = layer(x) * (1 + i)
    return x


def numbered_and_unread(self, x):
    for _, layer in enumerate(self.layers):
        x = layer(x)
    return x


def zipped(self, x):
    for layer, scale in zip(self.layers, self.scales, strict=True):
        x = layer(x) * scale
    return x


def zipped_loosely(self, x):
    for layer, scale in zip(self.layers, self.scales, strict=False):
        x = layer(x) * scale
    return x


def scales(self):
    self.scales = [1.0, 0.5, 2.0, 0.25]


def u_net(self, x):
    kept = []
    for layer in self.layers[:2]:
        x = layer(x)
        kept.append(x)
    for layer in self.layers[2:]:
        x = layer(x + kept.pop())
    return x


def u_net_in_two(self, x):
    kept = []
    for layer in self.layers:
        x = layer(x)
        kept.append(x)
    for layer in self.up:
        x = layer(x + kept.pop())
    return x


def up(self):
    self.up = nn.ModuleList(Light() for _ in range(4))


def all_states(self, x):
    states = [x]
    for layer in self.layers:
        x = layer(x)
        states.append(x)
    return torch.stack(states)


def sum_of_states(self, x):
    total = x
    for layer in self.layers:
        x = layer(x)
        total = total + x
    return total


def last_of_states(self, x):
    states = [x]
    for layer in self.layers:
        x = layer(x)
        states.append(x)
    return states[-1] + states[-2]


def twice(self, x):
    for _ in range(2):
        for layer in self.layers:
            x = layer(x)
    return x


def first_twice(self, x):
    x = self.layers[0](x)
    for layer in self.layers:
        x = layer(x)
    return x


def first_is_special(self, x):
    x = self.layers[0](x) * 2.0
    for layer in self.layers[1:]:
        x = layer(x)
    return x


def reads_a_weight_of_the_first(self, x):
    x = x * self.layers[0].mlp[0].bias.sum()
    return in_turn(self, x)


def heads(self, x):
    total = 0
    for layer, head in zip(self.layers, self.heads, strict=True):
        x = layer(x)
        total = total + head(x)
    return total


def own_heads(self):
    self.heads = nn.ModuleList(linear() for _ in range(4))


def first_of_pairs(self, x):
    for layer in self.layers:
        x = layer(x)[0]
    return x


def both_of_pairs(self, x):
    total = 0
    for layer in self.layers:
        x, seen = layer(x)
        total = total + seen
    return x + total


def from_tables(self, x):
    for layer in self.layers:
        x = layer(x)["x"]
    return x


def named(self, x):
    for layer in self.layers:
        x = layer(x=x, mask=torch.ones(3, dtype=torch.bool))
    return x


def mask_first(self, x):
    for layer in self.layers:
        x = layer(mask=torch.ones(3, dtype=torch.bool), x=x)
    return x


def unless_there_is_none(self, x):
    for layer in self.layers:
        if layer is not None:
            x = layer(x)
    return x


def one_is_none(self):
    self.layers._modules["1"] = None


def one_is_identity(self):
    self.layers[1] = nn.Identity()


def shared(self):
    for layer in self.layers[1:]:
        layer.mlp[0].weight = self.layers[0].mlp[0].weight


def one_block_all_over(self):
    self.layers = nn.ModuleList([self.layers[0]] * 3)


class Wide(nn.Module):
    """Stages of different widths with linears between them, in one list."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(
            [nn.Linear(4, 6), Residual(6), Residual(6), nn.Linear(6, 8), Residual(8), Residual(8), nn.Linear(8, 3)]
        )

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class Towers(nn.Module):
    """Two stacks that meet."""

    def __init__(self):
        super().__init__()
        self.make = nn.Linear(4, WIDTH)
        self.left = nn.ModuleList(Light() for _ in range(3))
        self.right = nn.Sequential(*(Light() for _ in range(2)))
        self.head = nn.Linear(2 * WIDTH, 3)

    def forward(self, x):
        x = left = self.make(x)
        for layer in self.left:
            left = layer(left)
        return self.head(torch.cat([left, self.right(x)], -1))


class Stages(nn.Module):
    """Stages of blocks, each in a container in a container."""

    def __init__(self):
        super().__init__()
        self.make, self.head = nn.Linear(4, WIDTH), nn.Linear(WIDTH, 3)
        self.stages = nn.ModuleList(
            nn.ModuleDict({"blocks": nn.Sequential(*(Light() for _ in range(depth)))}) for depth in (2, 1, 3)
        )

    def forward(self, x):
        x = self.make(x)
        for stage in self.stages:
            x = stage["blocks"](x)
        return self.head(x)


class Stage(nn.Module):
    """A residual stage of residual blocks: blocks in blocks."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(Residual() for _ in range(2))
        self.out = linear()

    def forward(self, x):
        made = x
        for block in self.blocks:
            made = block(made)
        return x + self.out(made)


class Normed(nn.Module):
    """A residual block with BatchNorm over [B, 6, T]."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv1d(WIDTH, 5, 1), nn.BatchNorm1d(5)
        self.conv2, self.bn2 = nn.Conv1d(5, WIDTH, 1), nn.BatchNorm1d(WIDTH)

    def forward(self, x):
        y = x.transpose(1, 2)
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(y)))))
        return x + y.transpose(1, 2)


class Recurrent(nn.Module):
    """One block, three times, after two others."""

    def __init__(self):
        super().__init__()
        self.make, self.again, self.head = nn.Linear(4, WIDTH), Light(), nn.Linear(WIDTH, 3)
        self.layers = nn.ModuleList(Light() for _ in range(2))

    def forward(self, x):
        x = self.make(x)
        for layer in self.layers:
            x = layer(x)
        for _ in range(3):
            x = self.again(x)
        return self.head(x)


EXACT = {  # name -> (build, how blocks are closed in turn)
    "pre-norm": (lambda: stack(in_turn, PreNorm), "removed " * 4),
    "post-norm": (lambda: stack(in_turn, PostNorm), "removed " * 4),
    "a Sequential called whole": (lambda: stack(whole, container=nn.Sequential), "removed " * 4),
    "a Sequential gone through": (lambda: stack(in_turn, container=nn.Sequential), "removed " * 4),
    "by number": (lambda: stack(by_number), "identity " * 4),
    "by range": (lambda: stack(by_range), "identity " * 4),
    "by length": (lambda: stack(by_length), "removed " * 4),
    "enumerate": (lambda: stack(enumerated), "identity " * 4),
    "enumerate unread": (lambda: stack(numbered_and_unread), "removed " * 4),
    "zip strict": (lambda: stack(zipped, extra=scales), "identity " * 4),
    "zip loose": (lambda: stack(zipped_loosely, extra=scales), "identity " * 4),
    "U-Net in one list": (lambda: stack(u_net), "identity " * 4),
    "U-Net in two lists": (lambda: stack(u_net_in_two, extra=up), "identity " * 8),
    "all states": (lambda: stack(all_states), "identity " * 4),
    "sum of states": (lambda: stack(sum_of_states), "identity " * 4),
    "last two states": (lambda: stack(last_of_states), "identity " * 4),
    "first special": (lambda: stack(first_is_special), "identity removed removed removed"),
    "heads between": (lambda: stack(heads, extra=own_heads), "identity " * 4),
    "pairs": (lambda: stack(first_of_pairs, Pair), "removed " * 4),
    "pairs unread": (lambda: stack(first_of_pairs, Weights), "removed " * 4),
    "named arguments": (lambda: stack(named, ByName), "removed " * 4),
    "a mask first": (lambda: stack(mask_first, ByName), "removed " * 4),
    "an entry that is None": (lambda: stack(unless_there_is_none, extra=one_is_none), "removed " * 3),
    "an entry that passes on": (lambda: stack(in_turn, extra=one_is_identity), "removed " * 3),
    "weights shared": (lambda: stack(in_turn, extra=shared), "removed " * 4),
    "parallel branches": (lambda: stack(in_turn, Parallel), "removed " * 4),
    "in place on a sum": (lambda: stack(in_turn, InPlaceOnACopy), "removed " * 4),
    "scales and paths": (lambda: stack(in_turn, Scaled), "removed " * 4),
    "dropout": (lambda: stack(in_turn, lambda: PreNorm(drop=0.5)), "removed " * 4),
    "one branch": (lambda: stack(in_turn, Residual), "removed " * 4),
    "blocks in blocks": (lambda: stack(in_turn, Stage, 2), "removed removed"),
    "BatchNorm": (lambda: stack(in_turn, Normed), "removed " * 4),
    "widths": (Wide, "removed " * 4),
    "towers": (Towers, "removed " * 5),
    "stages": (Stages, "removed " * 6),
    "recurrent beside": (Recurrent, "removed removed"),
    "ResNet basic": (lambda: ResNet(Basic), "removed " * 5),
    "ResNet of single blocks": (lambda: ResNet(Basic, (1, 2, 2)), "removed " * 3),
    "ResNet bottleneck": (lambda: ResNet(Bottleneck), "removed " * 5),
}

REFUSED = {  # name -> (build, path of a block, why it has no gate)
    "twice": (lambda: stack(twice), "layers.0", "runs more than once"),
    "first twice": (lambda: stack(first_twice), "layers.0", "runs more than once"),
    "one all over": (lambda: stack(in_turn, extra=one_block_all_over), "layers.0", "runs more than once"),
    "tables": (lambda: stack(from_tables, Table), "layers.2", "neither a tensor nor a tuple"),
    "in place": (lambda: stack(in_turn, InPlace), "layers.3", "writes into the very tensor"),
    "both results": (lambda: stack(both_of_pairs, Weights), "layers.1", "what follows reads the others too"),
    "weight read": (lambda: stack(reads_a_weight_of_the_first), "layers.0", "reads into it, past its call"),
    "single": (lambda: stack(in_turn, count=1), "layers.0", "one single block"),
}


def built(build, dtype=torch.float64):
    """The network in eval mode, with statistics and scales that are not what they were initialised to."""
    torch.manual_seed(0)
    model = build().to(dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.2)
        for name, buffer in model.named_buffers():
            if name.endswith("running_var"):
                buffer.add_(torch.rand_like(buffer))
    return model


def given(name, batch, size, dtype=torch.float64):
    """Random inputs of the network called ``name``."""
    shape = (batch, 3, size, size) if name.startswith("ResNet") else (batch, size, 4)
    return torch.randn(shape, generator=torch.Generator().manual_seed(batch)).to(dtype)


def close_some(gates, share, seed):
    """A random deployable set: about ``share`` of all gates closed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        closed = torch.rand(len(gates), generator=generator) < share
        gates.log_alpha.copy_(torch.where(closed, -9.0, 1.0 + 2 * torch.rand(len(gates), generator=generator)))


def blocks_in(plan):
    """All blocks of a plan that are no branches, in the order of the model."""
    order = list(plan.shapes)
    found = [block for group in plan for block in group.blocks if block.closed != "zero"]
    outer = [b for b in found if not any(b.path.startswith(f"{other.path}.") for other in found)]
    return sorted(outer, key=lambda block: order.index(block.tensors[0]))
