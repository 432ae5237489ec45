"""What the numbers of modules stand for: by the family of the class, and last by the words in their names."""

from __future__ import annotations

import copy
import doctest

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lzero
import lzero.surgery.numbers.registry as registry
from lzero.errors import StructureError
from lzero.host.run import run
from lzero.surgery.numbers import Role, number_family

HEADS, WIDTH = 4, 24


@pytest.fixture(autouse=True)
def _table_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "FAMILIES", list(registry.FAMILIES))


def role(module: nn.Module, name: str) -> Role:
    return registry.roles_of(module, [name])[0]


def of_class(name: str, base: type[nn.Module] = nn.Module) -> nn.Module:
    """A module of an empty class of this dotted name."""
    place, _, leaf = name.rpartition(".")
    return type(leaf, (base,), {"__module__": place, "__qualname__": leaf})()


WORDS = {
    "num_heads": Role.HEADS, "h": Role.HEADS, "n_head": Role.HEADS, "head_dim": Role.HEAD_SIZE, "d_k": Role.HEAD_SIZE,
    "key_size": Role.HEAD_SIZE, "all_head_size": Role.INNER, "split_size": Role.INNER, "hidden_size": Role.INNER,
    "attn_dim": Role.INNER, "embed_dim": Role.SIZE, "channels": Role.SIZE, "n": Role.SIZE, "num_layers": Role.STAYS,
    "patch_size": Role.STAYS, "head_groups": Role.STAYS, "vocab_size": Role.STAYS, "answer": Role.STAYS,
}  # fmt: skip


@pytest.mark.parametrize("name", WORDS)
def test_words_tell_of_what_nobody_knows(name: str) -> None:
    assert role(nn.Module(), name) is WORDS[name]


def test_a_known_class_tells_before_the_words() -> None:
    attention = of_class("transformers.models.some.modeling_some.SomeAttention")
    assert role(attention, "embed_dim") is Role.INNER
    assert role(attention, "num_key_value_heads") is Role.HEADS
    assert role(attention, "num_key_value_groups") is Role.STAYS
    assert role(attention, "out_channels") is Role.SIZE  # a name that the family does not know
    assert role(of_class("transformers.models.some.modeling_some.SomeMLP"), "embed_dim") is Role.SIZE
    assert role(of_class("mine.Own", type(attention)), "embed_dim") is Role.INNER
    assert role(of_class("timm.models.swin_transformer.WindowAttention"), "key_dim") is Role.HEAD_SIZE


def test_a_later_family_and_that_of_a_nearer_class_are_asked_first() -> None:
    base = of_class("mine.Base")
    near = of_class("mine.Near", type(base))

    @number_family(type(base))
    def first(name: str) -> Role | None:
        return {"fans": Role.HEADS, "wings": Role.HEADS}.get(name)

    @number_family("mine.Ba*")
    def second(name: str) -> Role | None:
        return {"fans": Role.SIZE}.get(name)

    @number_family("mine.Near")
    def nearer(name: str) -> Role | None:
        return {"wings": Role.STAYS}.get(name)

    assert registry.roles_of(base, ["fans", "wings"]) == [Role.SIZE, Role.HEADS]
    assert registry.roles_of(near, ["fans", "wings"]) == [Role.SIZE, Role.STAYS]


class Attention(nn.Module):
    """As timm has it, its heads behind one projection, and as wide together as the stream."""

    __module__ = "timm.layers.attention"

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.attn_dim = HEADS, WIDTH // HEADS, WIDTH
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        x = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, self.attn_dim)
        return self.proj(x)


def internvl() -> nn.Module:
    """A layer of Hugging Face that joins its heads by ``embed_dim``, which is the stream's width too."""
    library = pytest.importorskip("transformers.models.internvl.modeling_internvl")
    config = library.InternVLVisionConfig(hidden_size=WIDTH, num_attention_heads=HEADS)
    config._attn_implementation = "eager"
    return Joined(library.InternVLVisionAttention(config).eval())


class Joined(nn.Module):
    """What it makes, without the attention weights."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)[0]


@pytest.mark.parametrize("build", [Attention, internvl])
@pytest.mark.filterwarnings("ignore:.*no budget was given")
def test_heads_of_a_library_are_found_purged_and_reloaded(build: type[nn.Module]) -> None:
    x, model = torch.randn(2, 5, WIDTH), build()
    fresh = copy.deepcopy(model)
    gates = lzero.attach_gates(model, x)
    assert [group.size for group in gates.plan.groups] == [HEADS]
    with torch.no_grad():
        gates.log_alpha.copy_(torch.tensor([9.0, -9.0, 1.0, -9.0]))
    small = lzero.purge(model).model
    again = lzero.load_purged(fresh, small.state_dict())
    attention = getattr(again, "inner", again)
    assert attention.num_heads == 2 and attention.head_dim == WIDTH // HEADS
    assert run(again, x)[0].equal(run(small, x)[0])
    torch.testing.assert_close(run(small, x), run(model, x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [3, "Attention", Tensor], ids=str)
def test_what_is_no_class_of_modules_is_refused(kind: object) -> None:
    with pytest.raises(StructureError, match=r"kinds: expected classes of modules, or dotted names"):
        number_family(kind)(lambda _: None)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:.*no budget was given")
def test_the_example_runs() -> None:
    found = doctest.testmod(registry)
    assert found.attempted > 5 and not found.failed
