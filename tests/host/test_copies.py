"""Copies hold nothing of the model they were made of, whatever its modules hold; and so nothing happens to it."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from nets import Net, sizes
from torch import Tensor, nn

import lzero
from lzero.discover import discover
from lzero.errors import StructureError
from lzero.host.copies import deep_copy, linked_copy, private_copy

X = torch.randn(4, 5)


def normed(hold: Callable[[Any], None]) -> Net:
    """5 -> 12 units -> 2, with a batch norm that the forward reaches through what ``hold`` puts on the module."""
    net = Net(lambda net, x: net.b(net.act(net.a(x))), a=nn.Linear(5, 12), n=nn.BatchNorm1d(12), b=nn.Linear(12, 2))
    hold(net)
    return net


def by_lambda(net: Any) -> None:
    net.act = lambda h: net.n(h).relu()


def by_nested_function(net: Any) -> None:
    def inner(h: Tensor) -> Tensor:
        return net.n(h)

    def outer(h: Tensor) -> Tensor:
        return inner(h).relu()

    net.act = outer


def by_default_argument(net: Any) -> None:
    net.act = lambda h, norm=net.n: norm(h).relu()


def by_keyword_default(net: Any) -> None:
    def act(h: Tensor, *, norm: Any = net.n) -> Tensor:
        return norm(h)

    net.act = act


def by_partial(net: Any) -> None:
    net.act = functools.partial(lambda norm, h: norm(h), net.n)


def by_bound_method(net: Any) -> None:
    net.act = net.n.forward


def by_wrapped_forward(net: Any) -> None:
    net.act = net.n
    inner = net.forward
    net.forward = lambda x: inner(x) * 2.0


def by_list(net: Any) -> None:
    net.steps = [lambda h: net.n(h)]
    net.act = lambda h: net.steps[0](h)


def by_compiled_method(net: Any) -> None:
    net.act = net.n
    net.forward = torch.compile(net.forward, backend="eager")


def by_compiled_function(net: Any) -> None:
    net.act = torch.compile(lambda h: net.n(h), backend="eager")


WAYS = [
    by_lambda,
    by_nested_function,
    by_default_argument,
    by_keyword_default,
    by_partial,
    by_bound_method,
    by_wrapped_forward,
    by_list,
    by_compiled_method,
    by_compiled_function,
]


@pytest.mark.parametrize("hold", WAYS)
def test_what_functions_hold_is_the_copys(hold: Callable[[Any], None]) -> None:
    net = normed(hold)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    copied = deep_copy(net).train()
    copied(X)
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert float(copied.n.running_mean.abs().max()) > 0  # type: ignore[union-attr,operator]
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not torch.equal(net.eval()(X), copied.eval()(X))


@pytest.mark.parametrize("hold", WAYS)
def test_gating_and_purging_leave_the_users_model_alone(hold: Callable[[Any], None]) -> None:
    net = normed(hold).double()
    net.train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    assert sizes(discover(net, X.double())) == {"a": 12}
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    gates = lzero.attach_gates(net, X.double())
    with torch.no_grad():
        gates.log_alpha[::3] = -9.0
    small = lzero.purge(net).model.eval()
    expected = net.eval()(X.double())
    torch.testing.assert_close(small(X.double()), expected, rtol=1e-9, atol=1e-12)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.n.running_mean.fill_(7.0)  # type: ignore[union-attr,operator]
    torch.testing.assert_close(small(X.double()), expected, rtol=1e-9, atol=1e-12)


def test_a_hook_writes_into_lists_of_its_own_copy() -> None:
    net, seen = normed(by_lambda), list[Tensor]()
    features: dict[str, Tensor] = {}
    net.a.register_forward_hook(lambda module, args, out: seen.append(out))  # type: ignore[union-attr,arg-type]
    net.n.register_forward_pre_hook(lambda module, args: features.update(last=args[0]))  # type: ignore[union-attr]
    assert sizes(discover(net, X)) == {"a": 12}
    assert not seen and not features
    net(X)
    assert len(seen) == 1 and set(features) == {"last"}


def test_tensors_with_a_history_are_copied_without_it() -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        h = net.a(x).relu()
        net.aux, net.kept = h.pow(2).mean(), {"maps": [h]}
        return net.b(h)

    net = Net(forward, a=nn.Linear(5, 12), b=nn.Linear(12, 2))
    gates = lzero.attach_gates(net, X)
    net(X).sum().backward()
    copied: Any = deep_copy(net)
    assert torch.equal(copied.aux, net.aux) and copied.aux.grad_fn is None and not copied.kept["maps"][0].requires_grad  # type: ignore[arg-type]
    with torch.no_grad():
        gates.log_alpha[::3] = -9.0
    small = lzero.purge(net).model.eval()
    torch.testing.assert_close(small(X), net.eval()(X), rtol=1e-4, atol=1e-6)


def test_functions_that_hold_no_part_of_the_model_stay_the_same_objects() -> None:
    scale = 2.0

    def act(h: Tensor, slope: float = 0.5) -> Tensor:
        return h * scale * slope

    other = nn.BatchNorm1d(12)
    net = normed(lambda net: setattr(net, "act", act))
    net.teacher = lambda x: other(x)  # type: ignore[assignment]
    copied: Any = deep_copy(net)
    assert copied.act is act and copied.teacher is net.teacher


def test_a_linked_copy_shares_parameters_and_not_buffers() -> None:
    net = normed(by_lambda)
    linked: Any = linked_copy(net)
    assert linked.a.weight is net.a.weight and linked.n.running_mean is not net.n.running_mean
    assert linked.act.__closure__[0].cell_contents is linked


def test_what_cannot_be_copied_is_an_error_with_the_way_out() -> None:
    net = normed(by_lambda)
    net.stream = (number for number in ())  # type: ignore[assignment]
    with pytest.raises(StructureError, match=r"cannot be deep-copied .*generator.*remove open handles"):
        private_copy(net)


def test_a_private_copy_is_in_eval_mode_and_the_model_stays_in_its_own() -> None:
    model = nn.Dropout().train()
    assert not private_copy(model).training and model.training


class Told(nn.Linear):
    """Says itself how it is copied: with what its part, which is copied before it, has learnt."""

    def __init__(self) -> None:
        super().__init__(3, 3)
        self.part = nn.Linear(3, 3)

    def __deepcopy__(self, memo: dict[int, Any]) -> Told:
        made = memo[id(self)] = Told()
        made.load_state_dict(self.state_dict())
        made.part = copy.deepcopy(self.part, memo)
        made.width = made.part.weight.shape[0]  # type: ignore[assignment]
        return made


def test_modules_are_copied_as_deepcopy_does() -> None:
    net = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.LSTM(3, 2), nn.MultiheadAttention(4, 2), Told())
    net[0].table, net[1].table = shared = [{}, {}]  # type: ignore[assignment]
    net[1].other, net[2].names = net[0].table, {"a": [1, {2}]}  # type: ignore[assignment]
    net[3].__dict__["parent"] = net
    net[0].register_forward_hook(lambda *_: None)
    copied, expected = deep_copy(net), copy.deepcopy(net)
    for made in (copied, expected):
        assert made[1].other is made[0].table is not shared[0]  # type: ignore[union-attr]
        assert made[3].parent is made
        assert made[4].width == 3
    for (path, one), two in zip(copied.named_modules(), expected.modules(), strict=True):
        assert type(one) is type(two) and list(vars(one)) == list(vars(two)), path
        held = [(vars(one)[name], vars(two)[name], vars(net.get_submodule(path)).get(name)) for name in vars(one)]
        for a, b, original in held:
            assert type(a) is type(b)
            assert (a is original) == (b is original)
    assert [name for name, _ in copied.named_parameters()] == [name for name, _ in expected.named_parameters()]
    assert all(torch.equal(a, b) for a, b in zip(copied.parameters(), expected.parameters(), strict=True))


def test_a_module_with_a_copy_of_its_own_on_the_instance_keeps_it() -> None:
    net = nn.Sequential(nn.Linear(2, 2))
    net[0].__dict__["__deepcopy__"] = lambda memo: nn.Identity()
    assert isinstance(deep_copy(net)[0], nn.Identity)  # type: ignore[index]
