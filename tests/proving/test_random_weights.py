"""Random weights: nothing of the old survives, and signals neither die nor explode."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from lzero.proving.random_weights import cast, dtypes_kept, randomise


def test_randomise_leaves_no_value_and_keeps_variances_positive() -> None:
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4))
    mask = torch.tensor([0.0, -math.inf])
    model.register_buffer("mask", mask.clone())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    randomise(model, torch.Generator().manual_seed(0))
    after = model.state_dict()
    changed = {name for name in before if not (before[name] == after[name]).any()}
    assert changed == set(before) - {"mask", "1.num_batches_tracked"}
    assert torch.equal(after["mask"], mask)
    assert (after["1.running_var"] > 0).all()


def drawn(model: nn.Module, seed: int = 0) -> nn.Module:
    made = copy.deepcopy(model)
    randomise(made, torch.Generator().manual_seed(seed))
    return made


@pytest.mark.parametrize(
    "layer", [nn.Linear(300, 200), nn.Conv2d(40, 60, 3), nn.Embedding(50, 400), nn.ConvTranspose1d(30, 50, 5)]
)
def test_matrices_have_variance_two_over_fan_in(layer: nn.Module) -> None:
    weight = drawn(layer).get_parameter("weight").detach().double()
    fan_in = weight.numel() // weight.shape[0]
    n = weight.numel()
    squares = float(weight.pow(2).sum()) * fan_in / 2  # chi-squared with n degrees of freedom
    assert abs(squares - n) / math.sqrt(2 * n) < 5
    assert abs(float(weight.sum()) * math.sqrt(fan_in / 2)) / math.sqrt(n) < 5


def test_vectors_keep_their_sign_where_they_were_nowhere_negative() -> None:
    model = nn.Module()
    signs = {"scale": torch.rand(4000), "shift": torch.randn(4000), "zeros": torch.zeros(4000)}
    for name, value in signs.items():
        model.register_parameter(name, nn.Parameter(value))
        model.register_buffer(f"{name}_buffer", value.clone())
    made = drawn(model).state_dict()
    for name in ("scale", "scale_buffer"):  # uniform in (0.5, 1.5): mean 1, variance 1 / 12
        assert float(made[name].min()) >= 0.5 and float(made[name].max()) <= 1.5
        assert abs(float(made[name].mean()) - 1) * math.sqrt(12 * 4000) < 5
    for name in ("shift", "shift_buffer", "zeros", "zeros_buffer"):  # normal, standard deviation 0.5
        assert abs(float(made[name].mean())) * 2 * math.sqrt(4000) < 5
        assert abs(float(made[name].pow(2).sum()) * 4 - 4000) / math.sqrt(8000) < 5


@pytest.mark.parametrize("build", [lambda: nn.LSTM(4, 5, 2), lambda: nn.MultiheadAttention(8, 2), lambda: nn.PReLU(3)])
def test_no_zero_survives(build: type[nn.Module]) -> None:
    model = build()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    assert all(bool((parameter != 0).all()) for parameter in drawn(model).parameters())


def test_buffers_that_are_no_numbers_to_draw_keep_their_values() -> None:
    model = nn.Module()
    kept = {
        "mask": torch.tensor([0.0, -math.inf]), "broken": torch.tensor([math.nan, 1.0]), "count": torch.arange(3),
        "flags": torch.tensor([True, False]), "spread": torch.ones(1).expand(3),
    }  # fmt: skip
    for name, value in kept.items():
        model.register_buffer(name, value.clone() if name != "spread" else value)
    made = dict(drawn(model).named_buffers())
    assert all(torch.equal(made[name].nan_to_num(7.0), value.nan_to_num(7.0)) for name, value in kept.items())


def test_the_generator_alone_decides() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    one, two, other = drawn(model), drawn(model), drawn(model, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    state = torch.get_rng_state()
    drawn(model)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_casting_gives_every_float_the_dtype_and_vectors_their_values(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first = model[0].weight
    cast(model, dtype)
    assert model[0].weight is first and first.shape == (4, 3)  # the parameter itself, with other memory
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == (dtype if before[name].is_floating_point() else torch.int64)
        assert name == "0.weight" or torch.equal(tensor, before[name].to(tensor.dtype))


def test_what_a_forward_casts_is_as_it_was_for_those_who_share_it() -> None:
    model = nn.Linear(3, 4).double()
    before = model.weight.clone()
    with pytest.raises(ZeroDivisionError), dtypes_kept(model):
        assert model.float().weight.dtype is torch.float32
        raise ZeroDivisionError
    assert torch.equal(model.weight, before) and model.weight.dtype is torch.float64
