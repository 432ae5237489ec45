"""A model to put gates to the test on: what it runs in, what it is given, and what it says where it cannot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from nets import Net
from proving.chains import A, B, Model, X
from torch import Tensor, nn

from lzero.host.copies import linked_copy, private_copy
from lzero.host.inputs import ExampleInputs
from lzero.host.run import ForwardError
from lzero.proving.compare import TOLERANCES
from lzero.proving.random_model import RandomModel


def random_model(model: nn.Module, inputs: Any = X, **options: Any) -> RandomModel:
    return RandomModel(private_copy(model), ExampleInputs.of(inputs), **options)


def net(forward: Callable[..., Any]) -> Net:
    return Net(forward, a=nn.Linear(4, 8), b=nn.Linear(8, 2))


def test_a_model_runs_in_double_on_random_numbers() -> None:
    model = random_model(Model())
    assert model.obstacle is None and model.dtype is torch.float64 and model.tolerance == TOLERANCES[torch.float64]
    (x,) = model.inputs
    assert x.dtype == torch.float64 and x.shape == X.shape and not torch.isclose(x.float(), X).any()
    assert model.dense[0].dtype == torch.float64 and model.calls == 1 and not model.trains_more
    assert not any(parameter.requires_grad for parameter in model.model.parameters())


def test_a_model_that_insists_on_single_gets_it() -> None:
    model = random_model(net(lambda net, x: net.b(net.a(x).float())))
    assert model.obstacle is None and model.dtype is torch.float32 and model.tolerance == TOLERANCES[torch.float32]


def test_only_the_dtypes_that_are_asked_for_are_tried() -> None:
    model = random_model(net(lambda net, x: net.b(net.a(x).float())), dtypes=(torch.float64,))
    assert model.obstacle is not None and "with random weights and inputs" in model.obstacle.text


def test_layers_that_a_forward_casts_stay_in_double() -> None:
    model = random_model(net(lambda net, x: net.b.float()(net.a(x).float()).to(x.dtype)))
    assert model.obstacle is None and model.dtype is torch.float64
    assert all(parameter.dtype is torch.float64 for parameter in model.model.parameters())
    assert torch.equal(model.outputs(linked_copy(model.model))[0], model.dense[0])


def test_given_inputs_take_the_place_of_random_ones_that_fail() -> None:
    def picky(net: Any, x: Tensor) -> Tensor:
        if bool((x < 0).any()):
            raise ValueError("negative")
        return net.b(net.a(x))

    inputs = torch.arange(20.0).view(5, 4)
    model = random_model(net(picky), inputs)
    assert model.obstacle is None and torch.equal(next(iter(model.inputs)), inputs.double())
    refused = random_model(net(picky), inputs, given=False)
    assert refused.obstacle is not None and "its forward: ValueError: negative" in refused.obstacle.text


@pytest.mark.parametrize(
    ("forward", "problem"),
    [
        (lambda net, x: net.b(net.a(x)) * torch.nan, "its outputs are NaN"),
        (lambda net, x: net.b(net.a(x)).argmax(-1), "it returns no float tensor"),
        (lambda net, x: None, "it returns no float tensor"),
        (lambda net, x: net.b(net.a(x).view(7, 8)), "its forward: RuntimeError"),
        (lambda net, x: net.b(net.b(net.a(x))), "b: RuntimeError"),
    ],
)
def test_why_nothing_can_be_proved(forward: Callable[..., Any], problem: str) -> None:
    obstacle = random_model(net(forward)).obstacle
    assert obstacle is not None and obstacle.text.startswith("nothing can be proved") and problem in obstacle.text


def test_a_forward_that_leaves_something_behind_is_run_twice() -> None:
    def remembers(net: Any, x: Tensor) -> Tensor:
        before = getattr(net, "last", torch.zeros(()))
        net.last = net.a(x)
        return net.b(net.last) + before.sum()

    model = random_model(net(remembers))
    assert model.calls == 2 and len(model.dense) == 2
    assert not torch.equal(*model.dense)
    assert random_model(net(lambda net, x: net.b(net.a(x)))).calls == 1


def test_train_mode_that_enters_more_is_noticed() -> None:
    forward = lambda net, x: net.b(net.a(x)) + (net.c(x).sum() if net.training else 0)  # noqa: E731
    model = Net(forward, a=nn.Linear(4, 8), b=nn.Linear(8, 2), c=nn.Linear(4, 2))
    assert random_model(model).trains_more and not random_model(model, train=False).trains_more


def test_gates_multiply_the_consumers_of_a_copy() -> None:
    model = random_model(Model())
    z = {"a": torch.linspace(0.1, 1, 8).double(), "b": torch.tensor([0.0] * 9 + [0.5]).double()}
    gated: Any = model.gated([A, B], z)
    assert torch.equal(gated.b.weight, model.model.b.weight * z["a"])  # type: ignore[union-attr,operator]
    assert torch.equal(gated.c.weight, model.model.c.weight * z["b"])  # type: ignore[union-attr,operator]
    assert gated.a.weight is model.model.a.weight and gated.b.bias is model.model.b.bias  # type: ignore[union-attr]


def test_every_draw_is_another_and_larger_where_the_model_takes_it() -> None:
    model = random_model(Model())
    weight, x = model.model.a.weight.clone(), next(iter(model.inputs)).clone()  # type: ignore[union-attr,operator]
    sizes = []
    for draw in range(1, 4):
        assert model.redraw(draw)
        (now,) = model.inputs
        sizes.append(len(now))
        assert not torch.equal(model.model.a.weight, weight) and not torch.equal(now[:5], x)  # type: ignore[union-attr]
        assert len(model.dense[0]) == len(now)
    assert sizes == [40, 40, 320]


def test_a_model_for_one_size_of_batch_keeps_it() -> None:
    model = random_model(net(lambda net, x: net.b(net.a(x)).view(5, 2)))
    assert model.redraw(1) and len(next(iter(model.inputs))) == 5


def test_the_seed_decides_all() -> None:
    model = Model()  # a vector that is nowhere negative is drawn so again
    one, two, other = (random_model(model, seed=seed).dense[0] for seed in (3, 3, 4))
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_a_failure_names_the_place_until_the_hooks_are_off() -> None:
    model = random_model(Model())
    copied: Any = linked_copy(model.model)
    copied.b = nn.Linear(3, 10).double()
    with pytest.raises(ForwardError, match=r"^its forward: RuntimeError|^b: RuntimeError"):
        model.outputs(copied)
    model.release()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.model.modules())
