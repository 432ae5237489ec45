"""Norms that do not see closed units: the closed forms, in float64, and what a fill must never do."""

import copy

import pytest
import torch
from plans import sized
from torch import nn
from torch.nn import functional as F

from lzero.gates.fill import Fill, OpenAlways, OpenNow, filled, root_of_share
from lzero.gates.gates import Gates
from lzero.plan.norm import Norm

N, EPS = 12, 0.05
PATTERNS = [1, 2, 5, 11, 12]


def norm_of(statistic, weight="weight", dim=-1, over=(-1,), channel_groups=0, bias="bias"):
    return Norm("", dim, over, channel_groups, statistic, torch.arange(N)[:, None], N, weight, bias, "eps")


def drawn(k, shape=(3, 4, N), dim=-1):
    """An input with its open units far from the closed ones, which of them are open, and a weight and a bias."""
    generator = torch.Generator().manual_seed(k)
    open_ = torch.zeros(N, dtype=torch.bool)
    open_[torch.randperm(N, generator=generator)[:k]] = True
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    x = torch.where(open_.view([-1 if d == dim % len(shape) else 1 for d in range(len(shape))]), x, 100 + 50 * x)
    weight, bias = torch.randn(2, N, generator=generator, dtype=torch.float64)
    return x, open_, weight, bias


def equal(one, two):
    torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("k", PATTERNS)
def test_a_layer_norm_of_the_filled_is_one_of_the_open_units_with_another_weight_and_eps(k):
    x, open_, weight, bias = drawn(k)
    found = F.layer_norm(filled(x, open_, norm_of("mean")), (N,), weight, bias, EPS)[..., open_]
    larger = weight[open_] * (N / k) ** 0.5
    equal(found, F.layer_norm(x[..., open_], (k,), larger, bias[open_], EPS * N / k))


@pytest.mark.parametrize("k", PATTERNS)
def test_scaled_it_is_one_with_its_own_weight(k):
    x, open_, weight, bias = drawn(k)
    layer = nn.LayerNorm(N, eps=EPS).double()
    layer.weight.data, layer.bias.data = weight, bias
    Fill(norm_of("mean", weight=""), OpenAlways(open_)).attach(layer)
    equal(layer(x)[..., open_], F.layer_norm(x[..., open_], (k,), weight[open_], bias[open_], EPS * N / k))


@pytest.mark.parametrize("k", PATTERNS)
def test_a_root_mean_square_is_that_of_the_open_units(k):
    x, open_, weight, _ = drawn(k)
    found = F.rms_norm(filled(x, open_, norm_of("square", weight="")), (N,), weight, EPS)[..., open_]
    equal(found, F.rms_norm(x[..., open_], (k,), weight[open_], EPS))
    found = F.rms_norm(filled(x, open_, norm_of("square")), (N,), weight, EPS)[..., open_]
    equal(found, F.rms_norm(x[..., open_], (k,), weight[open_] * (N / k) ** 0.5, EPS * N / k))


@pytest.mark.parametrize("k", PATTERNS)
def test_a_length_is_that_of_the_open_units(k):
    x, open_, *_ = drawn(k)
    found = filled(x, open_, norm_of("length"))
    equal(F.normalize(found, dim=-1)[..., open_], F.normalize(x[..., open_], dim=-1))


@pytest.mark.parametrize("each", [1, 2, 3, 4])
def test_a_group_norm_keeps_the_statistics_of_every_group(each):
    x, _, weight, bias = drawn(6, (2, N, 5, 3), 1)
    open_ = torch.isin(torch.arange(N) % 4, torch.randperm(4)[:each])
    norm = norm_of("mean", dim=1, over=(-3, -2, -1), channel_groups=3)
    found = F.group_norm(filled(x, open_, norm), 3, weight, bias, EPS)[:, open_]
    larger = weight[open_] * (4 / each) ** 0.5
    equal(found, F.group_norm(x[:, open_], 3, larger, bias[open_], EPS * 4 / each))
    assert torch.allclose(root_of_share(open_.double(), norm, 4), torch.tensor(each / 4, dtype=torch.float64).sqrt())


def test_statistics_over_several_dims():
    x, open_, *_ = drawn(5, (2, N, 5, 3), 1)
    norm = norm_of("mean", dim=-3, over=(-3, -2, -1))
    found = F.layer_norm(filled(x, open_, norm), (N, 5, 3), eps=EPS)[:, open_] * (5 / N) ** 0.5
    equal(found, F.layer_norm(x[:, open_], (5, 5, 3), eps=EPS * N / 5))


@pytest.mark.parametrize("statistic", ["mean", "square", "length"])
@pytest.mark.parametrize("weight", ["weight", ""])
def test_what_is_open_stays_to_the_bit_and_what_is_closed_is_never_seen(statistic, weight):
    x, open_, *_ = drawn(5)
    norm = norm_of(statistic, weight)
    assert torch.equal(filled(x, torch.ones(N, dtype=torch.bool), norm), x)
    strange = torch.where(open_, x, torch.inf)
    found = filled(strange, open_, norm)
    assert torch.equal(found[..., open_], x[..., open_]) and torch.equal(found, filled(x, open_, norm))
    assert filled(x, torch.zeros_like(open_), norm).isfinite().all()  # a draw may close everything


@pytest.mark.parametrize("statistic", ["mean", "square", "length"])
def test_gradients_are_those_of_the_closed_form_and_never_nan(statistic):
    x, open_, *_ = drawn(5, (2, N))
    norm = norm_of(statistic, "")
    x = torch.where(open_, x, 0.0).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: filled(x, open_, norm), x)
    zero = torch.zeros(2, N, dtype=torch.float64, requires_grad=True)
    F.rms_norm(filled(zero, open_, norm), (N,), eps=EPS).sum().backward()
    assert zero.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_in_half_precision_nothing_overflows(dtype):
    x = torch.full((2, N), 60000.0 if dtype is torch.float16 else 1e30, dtype=dtype)
    open_ = torch.arange(N) < 9
    for statistic in ("mean", "length"):
        found = filled(x, open_, norm_of(statistic))
        assert found.dtype is dtype and found.isfinite().all()
    found = filled(torch.full((2, N), 200.0, dtype=dtype), open_, norm_of("square", ""))
    assert found.eq(200).all()


def test_keyword_arguments_are_filled_and_others_left_alone():
    x, open_, *_ = drawn(5)
    fill = Fill(norm_of("mean"), OpenAlways(open_))
    (flag, first, second), named = fill.read(nn.Identity(), (True, x, x), {"more": x})
    assert flag is True and torch.equal(first, filled(x, open_, norm_of("mean"))) and second is x and named["more"] is x
    args, named = fill.read(nn.Identity(), (None,), {"hidden": x, "more": x})
    assert args == (None,) and torch.equal(named["hidden"], first) and named["more"] is x


def test_what_the_gates_leave_open_is_asked_once_a_draw():
    gates = Gates(sized({"a": 2, "b": 3}))
    now = OpenNow(gates, torch.tensor([3, 0, 5, 1]))  # 5 is no gate
    with gates.fixed(torch.tensor([0.0, 0.3, 1.0, 0.0, 1.0])):
        assert now(torch.ones(1)).tolist() == [False, False, True, True]
        assert now(torch.ones(1)) is now(torch.ones(1))
    with gates.fixed(torch.tensor([1.0, 0.0, 1.0, 1.0, 1.0])):
        assert now(torch.ones(1)).tolist() == [True, True, True, False]
    assert copy.deepcopy(now)._last is None
