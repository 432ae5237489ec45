"""Pooling, resizing, padding and sampling: channels keep their units, places are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from tracing.rules.follow import SAME, UNITS, A, B, C, Case, D, check_every_op

from lzero.tracing.label import fixed
from lzero.tracing.op_call import OpCall
from lzero.tracing.rules import find_rule
from lzero.tracing.tensor_table import TensorTable

aten = torch.ops.aten


def unpool(x: Tensor, n: int) -> Tensor:
    values, where = getattr(F, f"max_pool{n}d")(torch.ones_like(x), 2, return_indices=True)
    part = x[(..., *[slice(values.shape[-1])] * n)]
    more = ([2] * 3, [0] * 3) if n == 3 else ()  # stride and padding
    return getattr(aten, f"max_unpool{n}d")(part, where, x.shape[2:], *more)


def resize(mode: str, **options: Any) -> Callable[[Tensor, int], Any]:
    return lambda x, n: F.interpolate(x, size=(3,) * n, mode=mode, **options)


# By name: an op over the last n dims, the n that there are, and how many tensors it makes.
OVER: dict[str, tuple[Callable[[Tensor, int], Any], tuple[int, ...], int]] = {
    "max pool": (lambda x, n: getattr(F, f"max_pool{n}d")(x, 2), (1, 2, 3), 1),
    "max pool with places": (lambda x, n: getattr(aten, f"max_pool{n}d_with_indices")(x, [2] * n), (2, 3), 2),
    "average pool": (lambda x, n: getattr(aten, f"avg_pool{n}d")(x, [2] * n), (1, 2, 3), 1),
    "adaptive average pool": (lambda x, n: getattr(aten, f"adaptive_avg_pool{n}d")(x, [2] * n), (1, 2, 3), 1),
    "adaptive average pool, inner": (lambda x, n: getattr(aten, f"_adaptive_avg_pool{n}d")(x, [2] * n), (2, 3), 1),
    "adaptive max pool": (lambda x, n: getattr(aten, f"adaptive_max_pool{n}d")(x, [2] * n), (1, 2, 3), 2),
    "fractional max pool": (
        lambda x, n: getattr(aten, f"fractional_max_pool{n}d")(x, [2] * n, [2] * n, torch.rand(2, x.shape[1], n))[0],
        (2, 3), 1,
    ),
    "max unpool": (unpool, (2, 3), 1),
    "reflect": (lambda x, n: getattr(aten, f"reflection_pad{n}d")(x, [1] * 2 * n), (1, 2, 3), 1),
    "replicate": (lambda x, n: getattr(aten, f"replication_pad{n}d")(x, [1] * 2 * n), (1, 2, 3), 1),
    "nearest": (resize("nearest"), (1, 2, 3), 1),
    "nearest exact": (resize("nearest-exact"), (1, 2, 3), 1),
    "linear": (resize("linear"), (1,), 1),
    "bilinear": (resize("bilinear"), (2,), 1),
    "bicubic": (resize("bicubic"), (2,), 1),
    "trilinear": (resize("trilinear"), (3,), 1),
    "smooth bilinear": (resize("bilinear", antialias=True), (2,), 1),
    "smooth bicubic": (resize("bicubic", antialias=True), (2,), 1),
}  # fmt: skip

CASES = {
    **{f"{name} {n}d": Case(lambda x, op=op, n=n: op(x, n), SAME * outs, shape=(2, 4, *[4] * n))
       for name, (op, dims, outs) in OVER.items() for n in dims},
    **{f"{name} {n}d over units": Case(lambda x, op=op, n=n: op(x, n), [{}] * outs, UNITS, (2, 3, *[4] * n), n + 1)
       for name, (op, dims, outs) in OVER.items() for n in dims},
    "to one": Case(lambda x: F.adaptive_avg_pool2d(x, 1), SAME),
    "pool of one image": Case(lambda x: F.max_pool2d(x, 2), [{0: UNITS}], shape=(4, 6, 6), dim=0),
    "by a factor": Case(lambda x: F.interpolate(x, scale_factor=2), SAME),
    "pad space": Case(lambda x: F.pad(x, (1, 1)), SAME),
    "crop space": Case(lambda x: F.pad(x, (0, -1, -2, 1)), SAME),
    "pad units": Case(lambda x: F.pad(x, (0, 0, 0, 0, 1, 2)), [{1: [0, *UNITS, 0, 0]}]),
    "crop units": Case(lambda x: F.pad(x, (0, 0, 0, 0, -1, 0)), [{}], UNITS),
    "pad and crop units": Case(lambda x: F.pad(x, (0, 0, 0, 0, -1, 1)), [{}], UNITS),
    "pad by a number": Case(lambda x: F.pad(x, (1, 1), value=3.0), SAME),
    "grid sample": Case(lambda x: F.grid_sample(x, torch.zeros(2, 3, 5, 2), align_corners=False), SAME),
    "grid sample 3d": Case(lambda x: F.grid_sample(x, torch.zeros(2, 3, 5, 4, 3), align_corners=False), SAME,
                           shape=(2, 4, 3, 3, 3)),
    "grid sample of the batch": Case(lambda x: F.grid_sample(x, torch.zeros(4, 3, 5, 2), align_corners=False),
                                     [{0: UNITS}], shape=(4, 2, 3, 3), dim=0),
    "windows": Case(lambda x: F.unfold(x, 3), [{1: [unit for unit in UNITS for _ in range(9)]}]),
    "windows over units": Case(lambda x: F.unfold(x, 3), [{}], UNITS, (2, 3, 4, 6), 2),
    "windows and back": Case(lambda x: F.fold(F.unfold(x, 2, stride=2), (6, 6), 2, stride=2), SAME, ties=[]),
    "units to pixels": Case(lambda x: F.fold(x, (4, 4), 2, stride=2), [{1: [A]}], [], (2, 4, 4), ties=[{A, B, C, D}]),
    "sliding windows": Case(lambda x: x.unfold(2, 2, 1), SAME),
    "sliding windows over units": Case(lambda x: x.unfold(1, 2, 2), [{}], UNITS),
    "units as places": Case(lambda x: F.grid_sample(torch.ones(2, 3, 5, 5), x, align_corners=False), [{}], UNITS[:2],
                            (2, 6, 6, 2), 3),
    "units as rows of places": Case(lambda x: F.grid_sample(torch.ones(2, 3, 5, 5), x, align_corners=False), [{}],
                                    UNITS, (2, 4, 6, 2)),
}  # fmt: skip

# The names are made for one, two and three dims; PyTorch has not all of them.
ABSENT = [f"aten.{name}" for name in (
    "max_pool1d_with_indices", "_adaptive_avg_pool1d", "fractional_max_pool1d", "max_unpool1d",
    "upsample_linear2d", "upsample_linear3d", "upsample_bilinear1d", "upsample_bilinear3d", "upsample_bicubic1d",
    "upsample_bicubic3d", "upsample_trilinear1d", "upsample_trilinear2d", "_upsample_bilinear1d_aa",
    "_upsample_bilinear3d_aa", "_upsample_bicubic1d_aa", "_upsample_bicubic3d_aa",
)]  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_spatial(name: str) -> None:
    CASES[name].check()


def test_the_sampler_of_other_devices_goes_by_other_names() -> None:
    table = TensorTable()
    image, grid, out = torch.randn(2, 4, 3, 3), torch.zeros(2, 5, 6, 2), torch.zeros(2, 4, 5, 6)
    labels = table.book.enrol("x", (4,))[0]
    table.add(image, (fixed((2,))[0], labels, *fixed((3, 3))))
    op = aten.cudnn_grid_sampler.default
    call = OpCall(op, (image, grid), {}, out, table, "")
    rule = find_rule(op)
    assert rule is not None
    rule.label(call)
    found = table.find(out)
    assert found is not None and found.axes[1].tolist() == UNITS and not found.axes[2].any()


def test_every_op_is_run() -> None:
    check_every_op("spatial", CASES.values(), absent=ABSENT, elsewhere=["aten.cudnn_grid_sampler"])
