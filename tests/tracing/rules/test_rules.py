"""Every op rule on one battery: four labelled units on dim 1 (or where ``dim`` says) of one tensor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lzero.host.module_path import ModulePath
from lzero.host.tensors import tensors_in
from lzero.tracing.label import Classes, fixed
from lzero.tracing.rules import RULES, rule
from lzero.tracing.rules.registry import Rule
from lzero.tracing.tensor_table import TensorTable
from lzero.tracing.tracer import Tracer

A, B, C, D = UNITS = [1, 2, 3, 4]


@dataclass
class Followed:
    """What became of the labels: by output the labelled dims, the classes, and the table."""

    out: list[dict[int, list[int]]]
    classes: Classes
    table: TensorTable

    @property
    def frozen(self) -> list[int]:
        return [label for label in range(1, self.classes.root.size) if self.classes.reason[label] >= 0]

    @property
    def reasons(self) -> str:
        return "; ".join(reason.text for reason in self.classes.reasons)


def follow(
    op: Callable[..., Any], shape: tuple[int, ...] = (2, 4, 6, 6), dim: int = 1, **parameters: Tensor
) -> Followed:
    """Run ``op`` on a tensor whose units 1, 2, ... lie on ``dim``, and on ``parameters`` with labels of their own."""
    table = TensorTable()
    x = torch.randn(shape)
    axes = list(fixed(shape))
    axes[dim] = table.book.enrol("x", (shape[dim],))[0]
    table.add(x, tuple(axes))
    for name, tensor in parameters.items():
        table.add(tensor, table.book.enrol(name, tuple(tensor.shape)), source=name)
    enrolled = table.book.size
    with torch.no_grad(), Tracer(table, ModulePath(nn.Identity())):
        result = op(x, **parameters)
    out = []
    for tensor in tensors_in(result):
        found = table.find(tensor)
        known = found.axes if found is not None else fixed(tuple(tensor.shape))
        assert [labels.size for labels in known] == list(tensor.shape)
        own = [np.where(labels <= enrolled, labels, 0) for labels in known]
        out.append({d: labels.tolist() for d, labels in enumerate(own) if labels.any()})
    return Followed(out, table.book.classes(), table)


@dataclass
class Case:
    op: Callable[[Tensor], Any]
    out: list[dict[int, list[int]]]
    frozen: list[int] = field(default_factory=list)
    shape: tuple[int, ...] = (2, 4, 6, 6)
    dim: int = 1


SAME = [{1: UNITS}]

CASES: dict[str, Case] = {
    "relu": Case(F.relu, SAME),
    "in-place": Case(lambda x: x.mul_(2).relu_(), SAME),
    "hardswish": Case(F.hardswish, SAME),
    "logsigmoid": Case(F.logsigmoid, SAME),
    "compare and where": Case(lambda x: torch.where(x > 0, x, 0.0), SAME),
    "masked fill": Case(lambda x: x.masked_fill(x > 0, 1.0), SAME),
    "broadcast a number": Case(lambda x: x + torch.ones(()), SAME),
    "broadcast over space": Case(lambda x: x * x[:, :, :1, :1], SAME),
    "a constant of its size": Case(lambda x: x + torch.ones(4, 1, 1), SAME),
    "a constant that counts": Case(lambda x: x + torch.ones(4, 1, 1).cumsum(0), SAME, UNITS),
    "a random constant": Case(lambda x: x + torch.ones(4, 1, 1).uniform_(), SAME, UNITS),
    "numbers of its size": Case(lambda x: x + torch.arange(4.0)[:, None, None], SAME, UNITS),
    "zeros_like": Case(torch.zeros_like, SAME),
    "fill": Case(lambda x: x.fill_(1.0), SAME),
    "new_zeros": Case(lambda x: x.new_zeros(4), [{}]),
    "cast and copy": Case(lambda x: x.double().clone().contiguous(), SAME),
    "copy into": Case(lambda x: torch.zeros_like(x).copy_(x), SAME),
    "copy into a constant": Case(lambda x: torch.zeros(2, 4, 6, 6).copy_(x), SAME),
    "item": Case(lambda x: x.sum((0, 2, 3)).max().item(), [], UNITS),
    "max pool": Case(lambda x: F.max_pool2d(x, 2), SAME),
    "average pool": Case(lambda x: F.avg_pool2d(x, 2), SAME),
    "adaptive pool": Case(lambda x: F.adaptive_avg_pool2d(x, 2), SAME),
    "adaptive pool to one": Case(lambda x: F.adaptive_avg_pool2d(x, 1), SAME),
    "adaptive max pool 1d": Case(lambda x: F.adaptive_max_pool1d(x, 2), SAME, shape=(2, 4, 6)),
    "max pool 1d": Case(lambda x: F.max_pool1d(x, 2), SAME, shape=(2, 4, 6)),
    "average pool 3d": Case(lambda x: F.avg_pool3d(x, 2), SAME, shape=(2, 4, 6, 6, 6)),
    "pool of one image": Case(lambda x: F.max_pool2d(x, 2), [{0: UNITS}], shape=(4, 6, 6), dim=0),
    "pool over units": Case(lambda x: F.max_pool2d(x, 2), [{}], UNITS, shape=(2, 2, 4, 6), dim=2),
    "nearest": Case(lambda x: F.interpolate(x, scale_factor=2), SAME),
    "bilinear": Case(lambda x: F.interpolate(x, size=(5, 7), mode="bilinear"), SAME),
    "reflect": Case(lambda x: F.pad(x, (1, 1, 2, 2), mode="reflect"), SAME),
    "grid sample": Case(lambda x: F.grid_sample(x, torch.zeros(2, 3, 5, 2), align_corners=False), SAME),
    "grid sample 3d": Case(
        lambda x: F.grid_sample(x, torch.zeros(2, 3, 5, 4, 3), align_corners=False), SAME, shape=(2, 4, 3, 3, 3)
    ),
    "units as places": Case(
        lambda x: F.grid_sample(torch.ones(2, 3, 5, 5), x, align_corners=False), [{}], UNITS[:2], (2, 6, 6, 2), 3
    ),
    "rotate pairs": Case(
        lambda x: torch.view_as_real(torch.view_as_complex(x.contiguous()) * torch.polar(torch.ones(3), torch.ones(3))),
        SAME,
        shape=(2, 4, 3, 2),
    ),
    "pairs of units": Case(lambda x: torch.view_as_complex(x).abs(), [{}], UNITS[:2], (2, 3, 2), 2),
    "sparse product": Case(lambda x: torch.sparse.mm(torch.eye(5).to_sparse(), x), SAME, shape=(5, 4)),
    "sparse product over units": Case(
        lambda x: torch.sparse.mm(torch.eye(4).to_sparse(), x), [{}], UNITS, shape=(4, 5), dim=0
    ),
    "pad space": Case(lambda x: F.pad(x, (1, 1)), SAME),
    "pad units": Case(lambda x: F.pad(x, (0, 0, 0, 0, 1, 2)), [{1: [0, *UNITS, 0, 0]}]),
    "crop units": Case(lambda x: F.pad(x, (0, 0, 0, 0, -1, 0)), [{}], UNITS),
    "flatten": Case(lambda x: x.flatten(1), [{1: [A] * 4 + [B] * 4 + [C] * 4 + [D] * 4}], shape=(2, 4, 2, 2)),
    "flatten units inside": Case(lambda x: x.flatten(1), [{1: UNITS * 3}], shape=(2, 3, 4), dim=2),
    "flatten the batch": Case(lambda x: x.flatten(0, 1), [{1: UNITS}], shape=(2, 3, 4), dim=2),
    "flatten and back": Case(lambda x: x.flatten(1).view(2, 4, 6, 6), SAME),
    "unflatten": Case(lambda x: x.unflatten(1, (2, 2)), [{}]),  # which of the two dims carries is decided later
    "unflatten and back": Case(lambda x: x.unflatten(1, (2, 2)).flatten(1, 2).cumsum(1), [{}], UNITS),
    "unflatten, then pick": Case(lambda x: x.unflatten(1, (2, 2)).amax(1), [{}]),
    "unflatten, then mix": Case(lambda x: x.unflatten(1, (2, 2)).amax((1, 2)), [{}], UNITS),
    "glu": Case(lambda x: F.glu(x, 1), [{1: [A, B]}]),
    "pixel shuffle": Case(lambda x: F.pixel_shuffle(x, 2), [{1: [A]}], shape=(2, 4, 3, 3)),
    "pixel unshuffle": Case(lambda x: F.pixel_unshuffle(x, 2), [{1: [A] * 4 + [B] * 4 + [C] * 4 + [D] * 4}]),
    "channel shuffle": Case(lambda x: F.channel_shuffle(x, 2), [{1: [A, C, B, D]}]),
    "index by constant": Case(lambda x: x[:, torch.tensor([2, 0])], [{}], UNITS),
    "index elsewhere": Case(lambda x: x[torch.tensor([1, 0])], SAME),
    "index of two dims": Case(lambda x: x[:, :, torch.tensor([1, 0]), torch.tensor([1, 0])], SAME),
    "index of two dims apart": Case(lambda x: x[torch.tensor([1, 0]), :, torch.tensor([1, 0])], SAME),
    "index by mask": Case(lambda x: x[torch.tensor([True, False])], SAME),
    "index_select": Case(lambda x: x.index_select(1, torch.tensor([1])), [{}], UNITS),
    "index_add elsewhere": Case(lambda x: x.index_add(0, torch.tensor([1]), x[:1]), SAME),
    "index_put elsewhere": Case(lambda x: x.index_put((torch.tensor([1]),), x[0]), SAME),
    "gather": Case(lambda x: x.gather(1, torch.zeros(2, 1, 6, 6).long()), [{}], UNITS),
    "attention over heads": Case(lambda x: F.scaled_dot_product_attention(x, x, x), SAME),
    "attention over positions": Case(
        lambda x: F.scaled_dot_product_attention(x, x, x), [{2: UNITS}], UNITS, (2, 3, 4, 6), 2
    ),
    "attention over features": Case(
        lambda x: F.scaled_dot_product_attention(x, x, x), [{3: UNITS}], UNITS, (2, 3, 5, 4), 3
    ),
    "attention with a mask": Case(lambda x: F.scaled_dot_product_attention(x, x, x, torch.zeros(6, 6)), SAME),
    "attention that shares keys": Case(
        lambda x: F.scaled_dot_product_attention(x, x[:, :2], x[:, :2], enable_gqa=True), [{1: [A, A, B, B]}]
    ),
    "add a dim": Case(lambda x: x[:, None].unsqueeze(-1), [{2: UNITS}]),
    "squeeze": Case(lambda x: x.squeeze((2, 3)), SAME, shape=(2, 4, 1, 1)),
    "squeeze of a dim that has one unit left": Case(lambda x: x.squeeze(), SAME, UNITS, shape=(2, 4, 1, 1)),
    "view of size one": Case(lambda x: x.view(1, 8, 1, 6, 6), [{1: UNITS * 2}]),
    "permute": Case(lambda x: x.permute(0, 2, 3, 1), [{3: UNITS}]),
    "transpose": Case(lambda x: x.transpose(1, -1), [{3: UNITS}]),
    "expand": Case(lambda x: x.expand(3, -1, -1, 5), SAME, shape=(1, 4, 6, 1)),
    "repeat": Case(lambda x: x.repeat(1, 2, 1, 1), [{1: UNITS * 2}]),
    "repeat interleaved": Case(lambda x: x.repeat_interleave(2, 1), [{1: [A, A, B, B, C, C, D, D]}]),
    "flip": Case(lambda x: x.flip(1), [{1: [D, C, B, A]}]),
    "slice space": Case(lambda x: x[..., 1:3], SAME),
    "slice half": Case(lambda x: x[:, 2:], [{1: [C, D]}]),
    "slice a part": Case(lambda x: x[:, :3], [{1: [A, B, C]}], UNITS),
    "slice with a step": Case(lambda x: x[:, ::2], [{1: [A, C]}], UNITS),
    "select": Case(lambda x: x[:, 0], [{}], UNITS),
    "select space": Case(lambda x: x[..., 0], SAME),
    "unbind": Case(lambda x: x.unbind(1), [{}] * 4, UNITS),
    "chunk": Case(lambda x: x.chunk(2, 1), [{1: [A, B]}, {1: [C, D]}]),
    "unequal split": Case(lambda x: x.split([1, 3], 1), [{1: [A]}, {1: [B, C, D]}], UNITS),
    "cat": Case(lambda x: torch.cat([x, torch.ones(2, 1, 6, 6), x], 1), [{1: [*UNITS, 0, *UNITS]}]),
    "cat space": Case(lambda x: torch.cat([x, x], 2), SAME),
    "stack": Case(lambda x: torch.stack([x, x]), [{2: UNITS}]),
    "mean over space": Case(lambda x: x.mean((2, 3)), SAME),
    "mean over space, kept": Case(lambda x: x.mean((2, 3), keepdim=True), SAME),
    "maximum over space": Case(lambda x: x.max(-1), [{1: UNITS}, {1: UNITS}]),
    "sum over units": Case(lambda x: x.sum(1), [{}], UNITS),
    "variance over all": Case(lambda x: x.var(), [{}], UNITS),
    "norm over units": Case(lambda x: x.norm(dim=1, keepdim=True), [{}], UNITS),
    "maximum of two": Case(lambda x: torch.maximum(x, x * 2).max(x), SAME),
    "softmax over units": Case(lambda x: x.softmax(1), SAME, UNITS),
    "softmax over space": Case(lambda x: x.flatten(2).log_softmax(-1), SAME),
    "cumsum over units": Case(lambda x: x.cumsum(1), SAME, UNITS),
    "sort over units": Case(lambda x: x.sort(1), SAME * 2, UNITS),
    "roll over units": Case(lambda x: x.roll(1, 1), SAME, UNITS),
    "roll over space": Case(lambda x: x.roll((1, 1), (2, 3)), SAME),
    "topk over units": Case(lambda x: x.topk(2, 1).values, [{}], UNITS),
    "topk over space": Case(lambda x: x.topk(2, -1).values, SAME),
    "layer norm of units": Case(lambda x: F.layer_norm(x, (4,)), [{2: UNITS}], UNITS, shape=(2, 3, 4), dim=2),
    "layer norm of space": Case(lambda x: F.layer_norm(x, (6, 6)), SAME),
    "rms norm of units": Case(lambda x: F.rms_norm(x, (4,)), [{2: UNITS}], UNITS, shape=(2, 3, 4), dim=2),
    "group norm": Case(lambda x: F.group_norm(x, 2), SAME, UNITS),
    "group norm by channel": Case(lambda x: F.group_norm(x, 4), SAME),
    "batch statistics": Case(lambda x: F.batch_norm(x, None, None, training=True), SAME),
    "product of activations": Case(lambda x: x @ torch.randn(4, 3), [{}], UNITS, shape=(2, 5, 4), dim=2),
    "heads in a product": Case(lambda x: x @ x.transpose(2, 3), SAME),
    "no rule": Case(lambda x: torch.renorm(x, 2, 0, 1.0), [{}], UNITS),
    "out argument": Case(lambda x: torch.add(x, x, out=torch.empty(2, 4, 6, 6)), [{}], UNITS),
}


@pytest.mark.parametrize("name", CASES)
def test_rule(name: str) -> None:
    case = CASES[name]
    followed = follow(case.op, case.shape, case.dim)
    assert followed.out == case.out
    assert followed.frozen == case.frozen


def ties(followed: Followed) -> list[set[int]]:
    """Classes with more than one label."""
    roots = followed.classes.root[1:]
    return [set((np.flatnonzero(roots == root) + 1).tolist()) for root in np.unique(roots) if (roots == root).sum() > 1]


class TestTies:
    def test_unflatten_makes_one_unit_of_a_block(self) -> None:
        assert ties(follow(lambda x: x.unflatten(1, (2, 2)))) == [{A, B}, {C, D}]

    def test_equal_parts_lose_alike(self) -> None:
        assert ties(follow(lambda x: x.chunk(2, 1))) == ties(follow(lambda x: x[:, :2])) == [{A, C}, {B, D}]

    def test_residual_addition(self) -> None:
        assert ties(follow(lambda x, b: x + b[:, None, None], b=torch.randn(4))) == [{1, 5}, {2, 6}, {3, 7}, {4, 8}]

    def test_batch_norm_couples_parameters_and_statistics(self) -> None:
        parameters = {name: torch.rand(4) for name in ("mean", "var", "weight", "bias")}
        followed = follow(lambda x, mean, var, weight, bias: F.batch_norm(x, mean, var, weight, bias), **parameters)
        assert ties(followed) == [{unit, unit + 4, unit + 8, unit + 12, unit + 16} for unit in UNITS]


class TestContractions:
    """Each reads the four units through parameter ``w``, whose labels start at 5."""

    @pytest.mark.parametrize(
        ("op", "shape", "dim", "weight", "read", "made", "macs"),
        [
            (lambda x, w: x @ w, (2, 4), 1, (4, 3), [5, 6, 7, 8], {1: [9, 10, 11]}, 24),
            (lambda x, w: w @ x, (4, 2), 0, (3, 4), [8, 9, 10, 11], {0: [5, 6, 7]}, 24),
            (lambda x, w: F.linear(x, w), (2, 5, 4), 2, (3, 4), [8, 9, 10, 11], {2: [5, 6, 7]}, 120),
            (lambda x, w: x @ w, (2, 4), 1, (4,), [5, 6, 7, 8], {}, 8),
            (lambda x, w: x @ w, (4,), 0, (4,), [5, 6, 7, 8], {}, 4),
            (lambda x, w: torch.einsum("blc,cd->bld", x, w), (2, 5, 4), 2, (4, 3), [5, 6, 7, 8], {2: [9, 10, 11]}, 120),
            (lambda x, w: torch.baddbmm(torch.zeros(1), x, w.expand(2, 4, 3)), (2, 5, 4), 2, (4, 3), [5, 6, 7, 8],
             {2: [9, 10, 11]}, 120),
            (lambda x, w: F.conv1d(x, w), (2, 4, 7), 1, (3, 4, 2), [8, 9, 10, 11], {1: [5, 6, 7]}, 288),
            (lambda x, w: F.conv_transpose2d(x, w), (2, 4, 3, 3), 1, (4, 3, 2, 2), [5, 6, 7, 8], {1: [9, 10, 11]}, 864),
        ],
        ids=["mm", "mm from the left", "linear", "mv", "dot", "einsum", "baddbmm", "conv1d", "transposed"],
    )  # fmt: skip
    def test_reads(
        self,
        op: Callable[..., Tensor],
        shape: tuple[int, ...],
        dim: int,
        weight: tuple[int, ...],
        read: list[int],
        made: dict[int, list[int]],
        macs: int,
    ) -> None:
        followed = follow(op, shape, dim, w=torch.randn(weight))
        assert followed.out == [made]
        assert np.flatnonzero(followed.classes.consumer).tolist() == read
        assert ties(followed) == [{unit, label} for unit, label in zip(UNITS, read, strict=True)]
        assert not set(followed.frozen) & {*UNITS, *read, *(label for labels in made.values() for label in labels)}
        assert followed.table.macs == {"w": macs}

    def test_bias_follows_the_output(self) -> None:
        parameters = {"w": torch.randn(3, 4), "b": torch.randn(3)}
        followed = follow(lambda x, w, b: F.linear(x, w, b), (2, 4), 1, **parameters)
        assert {5, 12} in ties(followed)

    def test_depthwise_multiplier(self) -> None:
        followed = follow(lambda x, w: F.conv2d(x, w, groups=4), w=torch.randn(8, 1, 3, 3))
        assert ties(followed) == [{1, 5, 6}, {2, 7, 8}, {3, 9, 10}, {4, 11, 12}]
        assert not followed.classes.consumer.any()

    def test_transposed_depthwise(self) -> None:
        followed = follow(lambda x, w: F.conv_transpose2d(x, w, groups=4), w=torch.randn(4, 1, 3, 3))
        assert ties(followed) == [{1, 5}, {2, 6}, {3, 7}, {4, 8}]
        assert followed.out == [{1: UNITS}]

    def test_transposed_groups(self) -> None:
        followed = follow(lambda x, w: F.conv_transpose2d(x, w, groups=2), w=torch.randn(4, 3, 1, 1))
        assert ties(followed) == [{1, 3, 5, 7}, {2, 4, 6, 8}]
        assert followed.out == [{1: [9, 10, 11, 9, 10, 11]}]

    @pytest.mark.parametrize("change", [lambda w: w * 2, lambda w: w - w.mean(0, keepdim=True), lambda w: w.softmax(0)])
    def test_computed_weight_reads_nothing(self, change: Callable[[Tensor], Tensor]) -> None:
        followed = follow(lambda x, w: x @ change(w), (2, 4), w=torch.randn(4, 3))
        assert set(UNITS) <= set(followed.frozen)
        assert not followed.classes.consumer.any()

    def test_product_of_two_parameters(self) -> None:
        followed = follow(lambda x, v, w: v @ w, (2, 4), v=torch.randn(3, 4), w=torch.randn(4, 3))
        assert "a product of two parameters" in followed.reasons

    def test_embedding_freezes_the_vocabulary(self) -> None:
        followed = follow(lambda x, w: F.embedding(torch.tensor([[0, 1]]), w), w=torch.randn(3, 4))
        assert followed.out == [{2: [8, 9, 10, 11]}]
        assert followed.frozen == [5, 6, 7]

    @pytest.mark.parametrize("mode", ["sum", "mean", "max"])
    def test_bags_keep_the_embedded_dim(self, mode: str) -> None:
        bags = torch.tensor([[0, 2, 1], [3, 3, 0]])
        followed = follow(lambda x, w: F.embedding_bag(bags, w, mode=mode), w=torch.randn(5, 3))
        assert followed.out == [{1: [10, 11, 12]}]
        assert followed.frozen == [5, 6, 7, 8, 9]


class TestRegistry:
    def test_new_rule(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lzero.tracing.rules.registry.RULES", dict(RULES))
        monkeypatch.delitem(RULES, "aten.renorm", raising=False)
        assert follow(lambda x: torch.renorm(x, 2, 0, 1.0)).frozen == UNITS
        monkeypatch.undo()
        rule("aten.renorm")(lambda call: call.set_output(call.axes("self")))
        try:
            assert follow(lambda x: torch.renorm(x, 2, 0, 1.0)).frozen == []
        finally:
            del RULES["aten.renorm"]

    def test_rule_that_fails_freezes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(call: Any) -> None:
            raise KeyError("nothing")

        monkeypatch.setitem(RULES, "aten.relu", Rule(broken))
        followed = follow(F.relu)
        assert followed.frozen == UNITS
        assert "the op's rule does not fit: KeyError" in followed.reasons

    def test_unknown_op_is_named(self) -> None:
        assert follow(lambda x: torch.renorm(x, 2, 0, 1.0)).reasons == "there is no rule for the op (aten.renorm)"
