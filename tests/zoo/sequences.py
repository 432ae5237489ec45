"""Transformers, recurrent networks, mixtures of experts and other models of sequences and tables, small."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from zoo.blocks import Entry, Net, Residual

WORDS, WIDTH, HEADS = 30, 24, 4


def words(length: int = 7) -> Callable[[], Tensor]:
    return lambda: torch.randint(0, WORDS, (2, length))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(9, 16), nn.ReLU(), nn.Linear(16, 12), nn.GELU(), nn.Linear(12, 4))


def mixer() -> nn.Module:
    class Mix(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norms = nn.ModuleList([nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)])
            self.tokens = nn.Sequential(nn.Linear(16, 10), nn.GELU(), nn.Linear(10, 16))
            self.channels = nn.Sequential(nn.Linear(WIDTH, 20), nn.GELU(), nn.Linear(20, WIDTH))

        def forward(self, x: Tensor) -> Tensor:
            x = x + self.tokens(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
            return x + self.channels(self.norms[1](x))

    patches = nn.Sequential(nn.Conv2d(3, WIDTH, 4, 4), nn.Flatten(2))
    return Net(lambda net, x: net.out(net.blocks(net.patches(x).transpose(1, 2)).mean(1)), patches=patches,
               blocks=nn.Sequential(Mix(), Mix()), out=nn.Linear(WIDTH, 5))  # fmt: skip


class Attention(nn.Module):
    """Self-attention with one fused projection."""

    def __init__(self, width: int, heads: int, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.head_dim, self.causal = heads, width // heads, causal
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.out(h.transpose(1, 2).reshape(b, n, -1))


def block(width: int = WIDTH, hidden: int = 20, causal: bool = False) -> nn.Module:
    attention = Residual(nn.Sequential(nn.LayerNorm(width), Attention(width, HEADS, causal)))
    feeds = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Dropout(0.1),
                          nn.Linear(hidden, width))  # fmt: skip
    return nn.Sequential(attention, Residual(feeds))


class ViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, 4, 4)
        self.token, self.position = nn.Parameter(torch.randn(1, 1, WIDTH)), nn.Parameter(torch.randn(1, 17, WIDTH))
        self.blocks, self.norm = nn.Sequential(block(), block()), nn.LayerNorm(WIDTH)
        self.out = nn.Linear(WIDTH, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.position
        return self.out(self.norm(self.blocks(x))[:, 0])


class Windows(nn.Module):
    """Attention in shifted windows of a square of tokens."""

    def __init__(self, size: int = 4, window: int = 2) -> None:
        super().__init__()
        self.size, self.window = size, window
        self.norm, self.attention = nn.LayerNorm(WIDTH), Attention(WIDTH, HEADS)
        self.feeds = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 20), nn.GELU(), nn.Linear(20, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        side, count = self.window, self.size // self.window
        h = self.norm(x).view(b, self.size, self.size, c).roll((-1, -1), (1, 2))
        h = h.view(b, count, side, count, side, c).transpose(2, 3).reshape(-1, side * side, c)
        h = self.attention(h).view(b, count, count, side, side, c).transpose(2, 3).reshape(b, self.size, self.size, c)
        x = x + h.roll((1, 1), (1, 2)).view(b, n, c)
        return x + self.feeds(x)


def swin() -> nn.Module:
    patches = nn.Sequential(nn.Conv2d(3, WIDTH, 4, 4), nn.Flatten(2))
    return Net(lambda net, x: net.out(net.blocks(net.patches(x).transpose(1, 2)).mean(1)), patches=patches,
               blocks=nn.Sequential(Windows(), Windows()), out=nn.Linear(WIDTH, 5))  # fmt: skip


class Decoder(nn.Module):
    """A language model whose last layer shares the embedding."""

    def __init__(self, blocks: nn.Module) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, WIDTH), nn.Embedding(16, WIDTH)
        self.blocks, self.norm, self.out = blocks, nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WORDS, bias=False)
        self.out.weight = self.words.weight

    def forward(self, x: Tensor) -> Tensor:
        places = torch.arange(x.shape[1], device=x.device)
        return self.out(self.norm(self.blocks(self.words(x) + self.places(places))))


def gpt() -> nn.Module:
    return Decoder(nn.Sequential(block(causal=True), block(causal=True)))


class Rotary(nn.Module):
    """Attention with rotary positions in which several queries share each key, and a SwiGLU after it."""

    def __init__(self, heads: int, keys: int) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.head_dim = heads, keys, WIDTH // heads
        self.norm, self.norm2 = nn.RMSNorm(WIDTH), nn.RMSNorm(WIDTH)
        self.q, self.k = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, keys * self.head_dim, bias=False)
        self.v, self.o = nn.Linear(WIDTH, keys * self.head_dim, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.gate_up, self.down = nn.Linear(WIDTH, 2 * 18, bias=False), nn.Linear(18, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        h = self.norm(x)
        q = self.turn(self.q(h).view(b, n, self.n_heads, self.head_dim).transpose(1, 2))
        k = self.turn(self.k(h).view(b, n, self.n_kv_heads, self.head_dim).transpose(1, 2))
        v = self.v(h).view(b, n, self.n_kv_heads, self.head_dim).transpose(1, 2)
        times = self.n_heads // self.n_kv_heads
        k, v = k.repeat_interleave(times, 1), v.repeat_interleave(times, 1)
        x = x + self.o(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, n, -1))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)

    def turn(self, x: Tensor) -> Tensor:
        angles = torch.arange(x.shape[2]).to(x)[:, None] / 10.0 ** torch.arange(self.head_dim // 2).to(x)
        cos, sin = angles.cos().repeat(1, 2), angles.sin().repeat(1, 2)
        first, second = x.chunk(2, -1)
        return x * cos + torch.cat([-second, first], -1) * sin


class ComplexRotary(Rotary):
    """The same, with pairs of neighbours turned as complex numbers."""

    def turn(self, x: Tensor) -> Tensor:
        angles = torch.arange(x.shape[2]).to(x)[:, None] / 10.0 ** torch.arange(self.head_dim // 2).to(x)
        pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), angles)).flatten(-2)


class Biased(nn.Module):
    """Attention with a learned bias for each head and distance."""

    def __init__(self) -> None:
        super().__init__()
        self.heads, self.inner_dim = HEADS, WIDTH
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.bias = nn.Embedding(16, HEADS)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = (m(x).view(b, n, self.heads, -1).transpose(1, 2) for m in (self.q, self.k, self.v))
        places = torch.arange(n, device=x.device)
        bias = self.bias((places[:, None] - places).abs()).permute(2, 0, 1)
        h = (q @ k.transpose(-2, -1) + bias).softmax(-1) @ v
        return self.o(h.transpose(1, 2).reshape(b, n, self.inner_dim))


def biased() -> nn.Module:
    return Decoder(nn.Sequential(Residual(nn.Sequential(nn.LayerNorm(WIDTH), Biased())), block()))


def translator() -> nn.Module:
    def forward(net: Net, source: Tensor, target: Tensor) -> Tensor:
        return net.out(net.body(net.words(source), net.words(target)))

    body = nn.Transformer(WIDTH, HEADS, 2, 2, 20, batch_first=True)
    return Net(forward, words=nn.Embedding(WORDS, WIDTH), body=body, out=nn.Linear(WIDTH, WORDS))


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 20, batch_first=True, activation="gelu")
    return nn.Sequential(nn.Embedding(WORDS, WIDTH), nn.TransformerEncoder(layer, 2), nn.Linear(WIDTH, 3))


def tagger(kind: Callable[..., nn.RNNBase], layers: int, both: bool) -> nn.Module:
    recurrent = kind(10, 12, num_layers=layers, bidirectional=both, batch_first=True)
    return Net(lambda net, x: net.out(net.recurrent(net.words(x))[0]), words=nn.Embedding(WORDS, 10),
               recurrent=recurrent, out=nn.Linear(24 if both else 12, 4))  # fmt: skip


def listener() -> nn.Module:
    def forward(net: Net, source: Tensor, target: Tensor) -> Tensor:
        memory, state = net.encoder(net.words(source))
        h, _ = net.decoder(net.words(target), state)
        h = torch.cat([h, (h @ net.key(memory).transpose(1, 2)).softmax(-1) @ memory], -1)
        return net.out(F.relu(net.hidden(h)))

    return Net(forward, words=nn.Embedding(WORDS, 10), encoder=nn.GRU(10, 12, batch_first=True),
               decoder=nn.GRU(10, 12, batch_first=True), key=nn.Linear(12, 12), hidden=nn.Linear(24, 14),
               out=nn.Linear(14, WORDS))  # fmt: skip


class Mixture(nn.Module):
    """Experts, all of them or the strongest ``chosen`` for each token."""

    def __init__(self, chosen: int | None) -> None:
        super().__init__()
        self.chosen, self.router = chosen, nn.Linear(WIDTH, 3)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, 10), nn.GELU(), nn.Linear(10, WIDTH)) for _ in range(3)
        )

    def forward(self, x: Tensor) -> Tensor:
        weights = self.router(x).softmax(-1)
        if self.chosen is None:
            return sum(weights[..., i, None] * expert(x) for i, expert in enumerate(self.experts))  # type: ignore
        flat, out = x.flatten(0, 1), torch.zeros_like(x.flatten(0, 1))
        best, which = weights.flatten(0, 1).topk(self.chosen, -1)
        for number, expert in enumerate(self.experts):
            token, place = (which == number).nonzero(as_tuple=True)
            out.index_add_(0, token, expert(flat[token]) * best[token, place, None])
        return out.view_as(x)


def experts(chosen: int | None) -> nn.Module:
    mixed = Residual(nn.Sequential(nn.LayerNorm(WIDTH), Mixture(chosen)))
    return nn.Sequential(nn.Embedding(WORDS, WIDTH), block(), mixed, nn.Linear(WIDTH, 4))


def stacked_experts(route: Callable[[Tensor], Tensor]) -> nn.Module:
    """Experts as two parameters with a dim for the expert, each weighed by what ``route`` makes of the scores."""

    class Stacked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.router = nn.Linear(WIDTH, 3)
            self.up, self.down = nn.Parameter(torch.randn(3, WIDTH, 10)), nn.Parameter(torch.randn(3, 10, WIDTH))

        def forward(self, x: Tensor) -> Tensor:
            flat = x.flatten(0, 1).expand(self.up.shape[0], -1, -1)
            h = torch.bmm(F.gelu(torch.bmm(flat, self.up)), self.down)
            weights = route(self.router(x)).flatten(0, 1).T[..., None]
            return (h * weights).sum(0).view_as(x)

    return nn.Sequential(nn.Linear(5, WIDTH), nn.LayerNorm(WIDTH), Residual(Stacked()), nn.Linear(WIDTH, 4))


def packed() -> nn.Module:
    def forward(net: Net, x: Tensor, lengths: Tensor) -> Tensor:
        steps = pack_padded_sequence(net.up(x).relu(), lengths, batch_first=True, enforce_sorted=False)
        return net.out(pad_packed_sequence(net.run(steps)[0], batch_first=True)[0])

    return Net(forward, up=nn.Linear(5, 12), run=nn.GRU(12, 10, batch_first=True), out=nn.Linear(10, 4))


def autoencoder() -> nn.Module:
    def forward(net: Net, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, spread = net.encoder(x).chunk(2, -1)
        return net.decoder(mean + spread.exp()), mean, spread

    return Net(forward, encoder=nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 8)),
               decoder=nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 12)))  # fmt: skip


def recommender() -> nn.Module:
    def forward(net: Net, user: Tensor, item: Tensor, dense: Tensor) -> dict[str, Tensor]:
        h = torch.cat([net.users(user), net.items(item), net.dense(dense).relu()], -1)
        return {"score": net.deep(h).squeeze(-1), "rating": net.rating(net.users(user) * net.items(item))}

    return Net(forward, users=nn.Embedding(20, 8), items=nn.Embedding(25, 8), dense=nn.Linear(6, 10),
               deep=nn.Sequential(nn.Linear(26, 16), nn.ReLU(), nn.Linear(16, 1)), rating=nn.Linear(8, 1))  # fmt: skip


def bags() -> nn.Module:
    def forward(net: Net, words: Tensor, tags: Tensor) -> Tensor:
        return net.deep(torch.cat([net.words(words), net.tags(tags)], -1))

    return Net(forward, words=nn.EmbeddingBag(20, 8), tags=nn.EmbeddingBag(12, 6, mode="max"),
               deep=nn.Sequential(nn.Linear(14, 16), nn.ReLU(), nn.Linear(16, 3)))  # fmt: skip


def graph() -> nn.Module:
    def forward(net: Net, x: Tensor, edges: Tensor) -> Tensor:
        for layer in net.layers:
            x = F.relu(layer(edges @ x))
        return net.out(x.mean(1))

    layers = nn.ModuleList([nn.Linear(6, 12), nn.Linear(12, 10)])
    return Net(forward, layers=layers, out=nn.Linear(10, 3))


SEQUENCES, RECURRENT, OTHER = "Transformers", "Recurrent", "Mixtures, tables, graphs"
ZOO: dict[str, Entry] = {
    "ViT": Entry(SEQUENCES, ViT, lambda: torch.randn(2, 3, 16, 16), 0.7),
    "Shifted windows": Entry(SEQUENCES, swin, lambda: torch.randn(2, 3, 16, 16), 0.6),
    "MLP-Mixer": Entry(SEQUENCES, mixer, lambda: torch.randn(2, 3, 16, 16), 0.4),
    "GPT": Entry(SEQUENCES, gpt, words(), 0.7),
    "Llama": Entry(SEQUENCES, lambda: Decoder(nn.Sequential(Rotary(4, 4), Rotary(4, 4))), words(), 0.7),
    "Llama, shared keys": Entry(SEQUENCES, lambda: Decoder(nn.Sequential(Rotary(4, 2), Rotary(4, 2))), words(), 0.7),
    "Llama, complex rotary": Entry(
        SEQUENCES, lambda: Decoder(nn.Sequential(ComplexRotary(4, 2), ComplexRotary(4, 2))), words(), 0.7
    ),
    "Relative bias": Entry(SEQUENCES, biased, words(), 0.7),
    "nn.TransformerEncoder": Entry(SEQUENCES, encoder, words(), 0.7),
    "nn.Transformer": Entry(SEQUENCES, translator, lambda: (words(7)(), words(5)()), 0.7),
    "LSTM": Entry(RECURRENT, lambda: tagger(nn.LSTM, 1, False), words(), 0.9),
    "LSTM, stacked, both directions": Entry(RECURRENT, lambda: tagger(nn.LSTM, 2, True), words(), 0.9),
    "GRU": Entry(RECURRENT, lambda: tagger(nn.GRU, 1, False), words(), 0.9),
    "GRU, stacked": Entry(RECURRENT, lambda: tagger(nn.GRU, 2, False), words(), 0.9),
    "GRU, packed": Entry(
        RECURRENT, packed, lambda: {"x": torch.randn(4, 7, 5), "lengths": torch.tensor([7, 3, 5, 2])}, 0.9
    ),
    "Sequence to sequence": Entry(RECURRENT, listener, lambda: (words(7)(), words(5)()), 0.3),
    "MLP": Entry(OTHER, mlp, lambda: torch.randn(3, 9), 0.9),
    "Experts, all": Entry(OTHER, lambda: experts(None), words(), 0.7),
    "Experts, routed": Entry(OTHER, lambda: experts(2), words(), 0.4, routed=True),
    "Experts, stacked": Entry(
        OTHER, lambda: stacked_experts(lambda scores: scores.softmax(-1)), lambda: torch.randn(2, 4, 5), 0.75
    ),
    "Experts, each weighed alone": Entry(
        OTHER, lambda: stacked_experts(torch.sigmoid), lambda: torch.randn(2, 4, 5), 0.75
    ),
    "Autoencoder, variational": Entry(OTHER, autoencoder, lambda: torch.randn(3, 12), 0.7),
    "Recommender": Entry(
        OTHER, recommender, lambda: {"user": torch.arange(3), "item": torch.arange(3), "dense": torch.randn(3, 6)}, 0.9
    ),
    "Bags of words": Entry(OTHER, bags, lambda: (words(5)() % 20, words(3)() % 12), 0.9),
    "Graph convolution": Entry(OTHER, graph, lambda: (torch.randn(2, 5, 6), torch.rand(2, 5, 5)), 0.9),
}
