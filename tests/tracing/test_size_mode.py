"""Watching a forward: the sizes that it reads are followed, and where they cannot be, the units freeze."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lzero.host.module_path import ModulePath
from lzero.tracing.guards import Guard, ModuleNumber
from lzero.tracing.label import Classes, fixed
from lzero.tracing.op_mode import OpMode
from lzero.tracing.size_int import SizeInt, plain
from lzero.tracing.size_mode import SizeMode
from lzero.tracing.tensor_table import TensorTable, storage_pointer


def watch(forward: Callable[[Tensor], Any]) -> tuple[Any, Classes, list[Guard], SizeMode]:
    """``forward`` of a tensor [3, 6] with units on its last dim: result, classes, guards, and the mode itself."""
    table, where = TensorTable(), ModulePath(nn.Identity())
    x = torch.randn(3, 6)
    table.add(x, (fixed((3,))[0], table.book.enrol("x", (6,))[0]))
    mode = SizeMode(table, where)
    with torch.no_grad(), OpMode(table, where), mode:
        made = forward(x)
    classes = table.book.classes()
    return made, classes, mode.guards(classes), mode


READS: dict[str, Callable[[Tensor], Any]] = {
    "shape": lambda x: x.shape[1], "shape from behind": lambda x: x.shape[-1], "size": lambda x: x.size()[1],
    "size of a dim": lambda x: x.size(1), "size by name": lambda x: x.size(dim=-1), "numel": lambda x: x.numel(),
    "nelement": lambda x: x.nelement(), "torch.numel": torch.numel, "of a copy": lambda x: x.relu().T.shape[0],
    "of a constant of its size": lambda x: x.new_zeros(x.shape[1]).shape[0],
    "of all": lambda x: torch.ones(x.shape).numel(),
}  # fmt: skip


@pytest.mark.parametrize("read", READS)
def test_a_size_that_units_may_leave_is_watched(read: str) -> None:
    size, classes, guards, mode = watch(READS[read])
    assert isinstance(size, SizeInt) and plain(size) in (6, 18) and mode.read
    assert not guards and (classes.reason < 0).all()


def test_a_size_that_stays_is_a_plain_number() -> None:
    (first, other), _, guards, _ = watch(lambda x: (x.shape[0], torch.ones(5).shape[0]))
    assert type(first) is int and first == 3 and plain(other) == 5 and not guards


def test_shapes_of_a_watched_tensor_are_sizes() -> None:
    shape, *_ = watch(lambda x: x.shape)
    assert isinstance(shape, torch.Size) and [type(size) for size in shape] == [int, SizeInt]


def test_a_branch_is_a_guard() -> None:
    _, classes, guards, _ = watch(lambda x: x if x.shape[1] == 6 else -x)
    assert [guard.act for guard in guards] == ["compares its size with 6"] and (classes.reason < 0).all()


LEAVES: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "NumPy": (lambda x: x.numpy(), "turns it into a NumPy array"),
    "a list": (lambda x: x.tolist(), "turns it into a list"),
    "strides": (lambda x: x.stride(), "reads its strides"),
    "memory": (lambda x: x.untyped_storage(), "reads its memory"),
    "bytes": (lambda x: x.nbytes, "reads its size in bytes"),
    "length": (lambda x: len(x.T), "takes its len()"),
}


@pytest.mark.parametrize("way", LEAVES)
def test_what_hands_sizes_out_of_torch_freezes(way: str) -> None:
    forward, why = LEAVES[way]
    _, classes, _, mode = watch(forward)
    assert (classes.reason[1:] >= 0).all() and any(f"the forward {why}" in reason.text for reason in classes.reasons)
    assert mode.read


def test_a_length_freezes_its_own_dim_alone() -> None:
    length, classes, _, _ = watch(len)
    assert length == 3 and (classes.reason < 0).all()


def test_an_op_that_fails_freezes_what_it_was_given() -> None:
    def forward(x: Tensor) -> Tensor:
        try:
            return x.view(4, 5)
        except RuntimeError:
            return x

    _, classes, _, _ = watch(forward)
    assert "fails (RuntimeError) and the forward goes on" in classes.reasons[0].text


def test_a_size_of_what_cannot_be_followed_freezes_what_it_came_from() -> None:
    _, classes, _, _ = watch(lambda x: x.as_strided((6, 3), (1, 6)).data.shape)
    assert (classes.reason[1:] >= 0).all()


HANDED: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "a product": (lambda x: x * x.shape[1], "computes (mul) with its size"),
    "from the right": (lambda x: x.shape[1] - x, "computes (sub) with its size"),
    "a quotient": (lambda x: x / x.shape[1], "computes (div) with its size"),
    "a comparison": (lambda x: x > x.shape[1], "computes (gt) with its size"),
    "numbers": (lambda x: torch.arange(x.shape[1]), "makes a tensor that cannot be followed (arange) of its size"),
    "an identity": (lambda x: torch.eye(x.shape[1]), "makes a tensor that cannot be followed (eye) of its size"),
}


@pytest.mark.parametrize("way", HANDED)
def test_a_size_that_becomes_a_value_is_a_guard(way: str) -> None:
    forward, act = HANDED[way]
    assert act in {guard.act for guard in watch(forward)[2]}


def test_a_size_that_is_handed_on_as_a_size_is_none() -> None:
    made, classes, guards, _ = watch(lambda x: x.reshape(x.shape[0], x.shape[1], 1).expand(-1, x.shape[1], 2))
    assert made.shape == (3, 6, 2) and not guards and (classes.reason < 0).all()


def test_a_constant_of_its_size_that_turns_out_fixed_is_a_guard() -> None:
    _, _, kept, _ = watch(lambda x: x + x.new_ones(x.shape[1]))
    _, _, lost, _ = watch(lambda x: (x.new_ones(x.shape[1]) + torch.arange(6)).sum())
    assert not kept and "makes a constant of its size" in {guard.act for guard in lost}


class Keeps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.width, self.flag, self.one, self.ratio, self._private = 6, True, 1, 0.5, 7
        self.inner = nn.Linear(2, 3)


def test_whole_numbers_of_modules_are_watched_and_put_back() -> None:
    model, mode = Keeps(), SizeMode(TensorTable(), ModulePath(nn.Identity()))
    before = [dict(vars(module)) for module in model.modules()]
    with pytest.raises(ZeroDivisionError), mode.numbers_of(model):
        width: Any = model.width
        (symbol,) = width.expr.symbols
        assert isinstance(symbol, ModuleNumber) and (symbol.path, symbol.name) == ("", "width")
        assert isinstance(model.inner.in_features, SizeInt) and isinstance(model.inner.out_features, SizeInt)
        assert not any(isinstance(value, SizeInt) for value in (model.flag, model.one, model.ratio, model._private))
        raise ZeroDivisionError
    after = [dict(vars(module)) for module in model.modules()]
    assert before == after and type(model.width) is int


def test_memory_of_what_was_read_is_remembered() -> None:
    held: list[int] = []

    def forward(x: Tensor) -> None:
        held.append(storage_pointer(x))
        x.relu()
        x.T.shape  # noqa: B018

    assert watch(forward)[3].read == set(held)
