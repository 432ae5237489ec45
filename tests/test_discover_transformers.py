"""Attention heads and hidden units of transformers: found, exact, trained, purged, reloaded."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from exactness import largest_difference
from torch import Tensor, nn
from torch.nn import functional as F

from lzero import attach_gates, purge
from lzero.host.inputs import ExampleInputs
from lzero.host.run import run
from lzero.host.tensors import tensors_in
from lzero.plan.plan import Plan
from lzero.reload import load_purged

AssertExact = Callable[..., Plan]

WIDTH, HEADS, HIDDEN = 24, 4, 20
X = torch.randn(2, 5, WIDTH)
MEMORY = torch.randn(2, 7, WIDTH)
IDS = torch.randint(0, 50, (2, 7))


class SelfAttention(nn.Module):
    """Attention over one sequence in the way that ``way`` names; ``heads`` and ``head_dim`` are plain numbers."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.heads, self.head_dim, self.inner_dim = way, HEADS, WIDTH // HEADS, WIDTH
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.q, self.k, self.v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        if self.way in ("fused", "fused, by hand"):
            q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        elif self.way == "fused, indexed":
            qkv = self.qkv(x).view(b, n, 3, -1, self.head_dim).permute(2, 0, 3, 1, 4)
            q, k, v = qkv[0], qkv[1], qkv[2]
        elif self.way == "chunks":
            q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        elif self.way == "split":
            parts = self.qkv(x).split(self.inner_dim, -1)
            q, k, v = (t.unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for t in parts)
        else:
            q, k, v = (m(x).view(b, n, self.heads, self.head_dim).transpose(1, 2) for m in (self.q, self.k, self.v))
        if self.way == "fused, by hand":
            out = (q @ k.transpose(-2, -1) * self.head_dim**-0.5).softmax(-1) @ v
        elif self.way == "einsum":
            weights = torch.einsum("bhqd,bhkd->bhqk", q, k).softmax(-1)
            out = torch.einsum("bhqk,bhkd->bhqd", weights, v)
        elif self.way == "batched":
            q, k, v = (t.reshape(b * self.heads, n, self.head_dim) for t in (q, k, v))
            out = torch.bmm(torch.baddbmm(torch.zeros(1).to(q), q, k.transpose(1, 2)).softmax(-1), v)
            out = out.view(b, self.heads, n, self.head_dim)
        elif self.way == "causal":
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        elif self.way == "masked":
            out = F.scaled_dot_product_attention(q, k, v, torch.ones(n, n).tril().to(q))
        else:
            out = F.scaled_dot_product_attention(q, k, v)
        return self.proj(out.transpose(1, 2).flatten(2))


WAYS = [
    "fused",
    "fused, by hand",
    "fused, indexed",
    "chunks",
    "split",
    "apart",
    "einsum",
    "batched",
    "causal",
    "masked",
]


def sizes(plan: Plan) -> dict[str, int]:
    return {group.name: group.size for group in plan.groups}


@pytest.mark.parametrize("way", WAYS)
def test_heads_of_attention_written_by_hand(way: str, assert_exact: AssertExact) -> None:
    model = nn.Sequential(SelfAttention(way))
    plan = assert_exact(model, X)
    (group,) = plan.groups
    width = WIDTH // HEADS
    assert group.size == HEADS
    assert {m.tensor: m.width for m in group.consumers} == {"0.proj.weight": width}
    fused = "0.qkv.weight" in {m.tensor for m in group.members}
    assert {m.width for m in group.members if m.role == "producer"} == {3 * width if fused else width}


class ByHead(nn.Module):
    """Attention whose weights have a dim for the head and one for its features."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Parameter(torch.randn(WIDTH, HEADS, WIDTH // HEADS)) for _ in range(3))
        self.o = nn.Parameter(torch.randn(HEADS, WIDTH // HEADS, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (torch.einsum("bne,ehd->bhnd", x, weight) for weight in (self.q, self.k, self.v))
        weights = torch.einsum("bhnd,bhmd->bhnm", q, k).softmax(-1)
        return torch.einsum("bhnd,hde->bne", torch.einsum("bhnm,bhmd->bhnd", weights, v), self.o)


def test_heads_that_are_a_dim_of_the_weights(assert_exact: AssertExact) -> None:
    (group,) = assert_exact(nn.Sequential(ByHead()), X).groups
    assert {m.tensor: (m.dim, m.role) for m in group.members} == {
        "0.q": (1, "producer"), "0.k": (1, "producer"), "0.v": (1, "producer"), "0.o": (0, "consumer")
    }  # fmt: skip


def test_weights_that_are_returned_freeze_the_heads(assert_exact: AssertExact) -> None:
    plan = assert_exact(nn.MultiheadAttention(WIDTH, HEADS), (X, X, X))
    assert not plan.groups
    assert any("aten.mean" in refusal.reason for refusal in plan.refusals)


def test_literal_width_of_the_residual_stream_is_refused(assert_exact: AssertExact) -> None:
    class Literal(SelfAttention):
        def forward(self, x: Tensor) -> Tensor:
            q, k, v = (m(x).view(*x.shape[:2], HEADS, -1).transpose(1, 2) for m in (self.q, self.k, self.v))
            return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape))

    plan = assert_exact(nn.Sequential(Literal("")), X)
    assert not plan.groups
    assert any("hard-coded" in refusal.reason for refusal in plan.refusals)


def encoder(**options: Any) -> nn.Module:
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, batch_first=True, **options), 2)


class Attended(nn.Module):
    """``nn.MultiheadAttention`` in one of its many forms, its weights left unused."""

    def __init__(self, *, wanted: bool = True, **options: Any) -> None:
        super().__init__()
        self.attention, self.wanted = nn.MultiheadAttention(WIDTH, HEADS, **options), wanted

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return self.attention(query, key, value, need_weights=self.wanted)[0]


BUILT_IN: dict[str, tuple[Callable[[], nn.Module], Any, int]] = {
    "encoder": (encoder, X, 4),
    "encoder, norm first": (lambda: encoder(norm_first=True, activation="gelu"), X, 4),
    "encoder in train mode": (lambda: encoder(dropout=0.3).train(), X, 4),
    "encoder without biases": (lambda: encoder(bias=False), X, 4),
    "decoder": (
        lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(WIDTH, HEADS, HIDDEN, batch_first=True), 2),
        (X, MEMORY), 6,
    ),
    "encoder and decoder": (lambda: nn.Transformer(WIDTH, HEADS, 1, 1, HIDDEN, batch_first=True), (MEMORY, X), 5),
    "self-attention": (lambda: Attended(batch_first=True), (X, X, X), 1),
    "time first": (lambda: Attended(), (X, X, X), 1),
    "cross-attention": (lambda: Attended(batch_first=True, wanted=False), (X, MEMORY, MEMORY), 1),
    "other keys and values": (lambda: Attended(batch_first=True, kdim=9, vdim=7, wanted=False),
                              (X, torch.randn(2, 7, 9), torch.randn(2, 7, 7)), 1),
    "three inputs": (lambda: Attended(batch_first=True), (X, MEMORY, MEMORY.flip(1)), 1),
    "learned key and value": (lambda: Attended(batch_first=True, add_bias_kv=True), (X, X, X), 1),
    "a zero position": (lambda: Attended(batch_first=True, add_zero_attn=True), (X, X, X), 1),
    "one sequence": (lambda: Attended(wanted=False), (X[0], MEMORY[0], MEMORY[0]), 1),
}  # fmt: skip


@pytest.mark.parametrize("name", BUILT_IN)
def test_attention_of_pytorch(name: str, assert_exact: AssertExact) -> None:
    build, inputs, groups = BUILT_IN[name]
    plan = assert_exact(build(), inputs)
    assert len(plan.groups) == groups, str(plan)
    assert {group.size for group in plan.groups} <= {HEADS, HIDDEN}


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("wanted", [False, True])
def test_purged_attention_takes_all_arguments(padded: bool, wanted: bool) -> None:
    model = Attended(batch_first=True).double().eval()
    gates = attach_gates(model, (X.double(), X.double(), X.double()))
    with torch.no_grad():
        gates.log_alpha.copy_(torch.tensor([-9.0, 1.0, -9.0, 0.3]))
    small = purge(model).model.attention
    padding = torch.zeros(2, 5, dtype=torch.bool)
    padding[1, 3:] = True
    causal = torch.ones(5, 5, dtype=torch.bool).triu(1)
    arguments = {"key_padding_mask": padding if padded else None, "attn_mask": causal, "need_weights": wanted}
    expected, _ = model.attention(X.double(), X.double(), X.double(), **arguments)
    found, weights = small(X.double(), X.double(), X.double(), **arguments, average_attn_weights=False)
    torch.testing.assert_close(found, expected)
    assert (small.num_heads, small.head_dim) == (2, WIDTH // HEADS)
    assert weights is None if not wanted else weights.shape == (2, 2, 5, 5)


def hugging_face(name: str) -> tuple[nn.Module, dict[str, Tensor], dict[str, int]]:
    """A small random model, its inputs, and how many groups of heads and of hidden units are expected."""
    library = pytest.importorskip("transformers")
    common = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
              "intermediate_size": 20, "max_position_embeddings": 16}  # fmt: skip
    if name == "bert":
        model = library.BertModel(library.BertConfig(**common))
    elif name == "gpt2":
        options = {"bos_token_id": 0, "eos_token_id": 0, "n_inner": 20, "use_cache": False}
        config = library.GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=4, n_positions=16, **options)
        model = library.GPT2LMHeadModel(config)
    elif name.startswith("llama"):
        shared = 4 if name == "llama" else 2
        config = library.LlamaConfig(**common, num_key_value_heads=shared, use_cache=False)
        model = library.LlamaForCausalLM(config)
        return model, {"input_ids": IDS}, {"heads": 2, "hidden": 2, "size": shared}
    elif name == "vit":
        common = {key: value for key, value in common.items() if key not in ("vocab_size", "max_position_embeddings")}
        model = library.ViTModel(library.ViTConfig(**common, image_size=16, patch_size=4))
        return model, {"pixel_values": torch.randn(2, 3, 16, 16)}, {"heads": 2, "hidden": 2, "size": 4}
    else:
        options = {"feed_forward_proj": "gated-gelu" if name == "t5, gated" else "relu", "use_cache": False}
        config = library.T5Config(vocab_size=50, d_model=32, d_kv=8, d_ff=20, num_layers=2, num_heads=4, **options)
        model = library.T5ForConditionalGeneration(config)
        return model, {"input_ids": IDS, "decoder_input_ids": IDS}, {"heads": 3, "hidden": 4, "size": 4}
    return model, {"input_ids": IDS}, {"heads": 2, "hidden": 2, "size": 4}


NAMES = ["bert", "gpt2", "llama", "llama, shared keys", "vit", "t5", "t5, gated"]


@pytest.mark.parametrize("kind", ["sdpa", "eager"])
@pytest.mark.parametrize("name", NAMES)
def test_hugging_face(name: str, kind: str, assert_exact: AssertExact) -> None:
    model, inputs, expected = hugging_face(name)
    model.config._attn_implementation = kind
    found = list(sizes(assert_exact(model, inputs)).values())
    assert found.count(expected["size"]) == expected["heads"]
    assert found.count(20) == expected["hidden"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", [*NAMES, "encoder", "decoder"])
def test_gates_train_and_what_is_purged_is_what_was_gated(name: str, dtype: torch.dtype) -> None:
    if name in NAMES:
        model, inputs, _ = hugging_face(name)
    else:
        build, inputs, _ = BUILT_IN[name]
        model = build()
    model = model.to(dtype)
    inputs = torch.utils._pytree.tree_map(lambda t: t.to(dtype) if t.is_floating_point() else t, inputs)
    plain = copy.deepcopy(model)
    gates = attach_gates(model, inputs)
    next(tensors_in(ExampleInputs(inputs).call(model.train()))).pow(2).sum().backward()
    assert gates.log_alpha.grad is not None and gates.log_alpha.grad.isfinite().all() and gates.log_alpha.grad.any()
    with torch.no_grad():
        gates.log_alpha.copy_(torch.linspace(-6, 4, len(gates))[torch.randperm(len(gates))])
    small = purge(model).model
    difference, scale = largest_difference(run(model, inputs), run(small, inputs))
    assert difference <= (1e-9 if dtype is torch.float64 else 1e-5) * scale
    again = load_purged(plain, small.state_dict())
    assert largest_difference(run(small, inputs), run(again, inputs))[0] == 0
