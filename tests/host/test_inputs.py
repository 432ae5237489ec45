"""Example inputs of every form, and models that cannot be studied at all: supported, or refused in words."""

from __future__ import annotations

from collections import OrderedDict, UserDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import torch
from exactness import largest_difference
from nets import Net
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from lzero import attach_gates, purge
from lzero.discover import discover
from lzero.errors import StructureError
from lzero.host.inputs import Arguments, ExampleInputs
from lzero.host.run import run
from lzero.host.tensors import map_tensors, tensors_in
from lzero.plan.plan import Plan

AssertExact = Callable[..., Plan]

X = torch.randn(3, 5)


@dataclass
class Batch:
    x: Tensor
    n: int = 3


@dataclass(frozen=True)
class Frozen:
    x: Tensor


class Named(NamedTuple):
    x: Tensor
    n: int


class Plain:
    def __init__(self, x: Tensor) -> None:
        self.x, self.itself = x, self


class Model(nn.Module):
    """Takes the tensor out of its argument, or out of its keyword arguments."""

    def __init__(self, take: Callable[[Any], Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.take = nn.Linear(5, 8), nn.Linear(8, 2), take

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.b(torch.relu(self.a(self.take(args[0] if args else kwargs))))


def by_key(value: Any) -> Tensor:
    return value["x"]


def by_name(value: Any) -> Tensor:
    return value.x


FORMS: dict[str, tuple[Callable[[Any], Tensor], Any]] = {
    "tensor": (lambda x: x, X),
    "keywords": (by_key, {"x": X}),
    "nested keywords": (lambda d: d["x"]["y"][0], {"x": {"y": [X]}}),
    "nested dict": (lambda d: d["x"]["y"][0], ({"x": {"y": [X]}},)),
    "keys that are tuples": (lambda d: d["u", "v"], ({("u", "v"): X},)),
    "keys that are tuples, alone": (lambda d: d["u", "v"], {("u", "v"): X}),
    "keys that are numbers": (lambda d: d[1], {1: X}),
    "ordered dict": (by_key, (OrderedDict(x=X),)),
    "default dict": (lambda d: d["x"] + d.default_factory(), (defaultdict(float, x=X),)),
    "user's dict": (by_key, UserDict(x=X)),
    "mapping without setters": (by_key, (MappingProxyType({"x": X}),)),
    "dataclass": (by_name, Batch(X)),
    "dataclass in a tuple": (by_name, (Batch(X),)),
    "frozen dataclass": (by_name, Frozen(X)),
    "named tuple in a tuple": (by_name, (Named(X, 1),)),
    "plain object that holds itself": (by_name, Plain(X)),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("form", FORMS)
def test_inputs_of_every_form(form: str) -> None:
    take, inputs = FORMS[form]
    model = Model(take)
    gates = attach_gates(model, inputs)
    assert gates.plan.groups[0].size == 8
    with torch.no_grad():
        gates.log_alpha.copy_(torch.tensor([-9.0, 0.2, 1.0, -9.0, 0.5, -9.0, 3.0, 0.1]))
    assert purge(model, settle=False).model.a.out_features == 5


def test_model_outputs_of_hugging_face_go_in_and_out() -> None:
    library = pytest.importorskip("transformers")
    output = library.modeling_outputs.BaseModelOutput
    model = Model(lambda out: out.last_hidden_state)
    assert len(discover(model, (output(last_hidden_state=X),))) == 1
    assert len(list(tensors_in(output(last_hidden_state=X)))) == 1


def test_mapping_leaves_what_was_given_as_it_was() -> None:
    given = (Batch(X), {"x": [X]}, Plain(X), defaultdict(list, x=X), "text", None, 3)
    made = map_tensors(given, lambda tensor: tensor + 1)
    assert all(tensor is X for tensor in tensors_in(given))
    assert all(torch.equal(tensor, X + 1) for tensor in tensors_in(made)) and len(list(tensors_in(made))) == 4
    assert made[4:] == given[4:] and made[2].itself is made[2] and made[3]["y"] == []


class Packed(nn.Module):
    """A recurrent layer on a packed sequence, which it packs itself unless given one."""

    def __init__(self, kind: type[nn.RNNBase], **options: Any) -> None:
        super().__init__()
        self.recurrent, self.out = kind(5, 8, batch_first=True, **options), nn.Linear(8, 2)

    def forward(self, x: Any, lengths: Tensor | None = None) -> Tensor:
        if lengths is not None:
            x = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.out(pad_packed_sequence(self.recurrent(x)[0], batch_first=True)[0])


STEPS, LENGTHS = torch.randn(3, 6, 5), torch.tensor([6, 4, 2])


@pytest.mark.parametrize("options", [{}, {"num_layers": 2}], ids=str)
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_packed_sequences(kind: type[nn.RNNBase], options: dict[str, Any], assert_exact: AssertExact) -> None:
    packed = pack_padded_sequence(STEPS, LENGTHS, batch_first=True)
    for inputs in ((STEPS, LENGTHS), packed, (packed,)):
        model = Packed(kind, **options).double()
        gates = attach_gates(model, map_tensors(inputs, lambda t: t.double() if t.is_floating_point() else t))
        assert [(group.name, group.size) for group in gates.plan] == [("recurrent", 8)]
        with torch.no_grad():
            gates.log_alpha.copy_(torch.tensor([-9.0, 0.2, 1.0, -9.0, 0.5, -9.0, 3.0, 0.1]))
        small = purge(model, settle=False).model
        difference, scale = largest_difference(
            run(model, gates.plan.example_inputs), run(small, gates.plan.example_inputs)
        )
        assert small.recurrent.hidden_size == 5 and difference <= 1e-12 * scale


class Scripted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.relu(self.a(x)))


def on_meta(part: str) -> nn.Module:
    model = Scripted()
    model.get_submodule(part).to("meta")
    return model


REFUSED: dict[str, tuple[Callable[[], nn.Module], Any, str]] = {
    "all on meta": (lambda: on_meta(""), X.to("meta"), r"a.weight has no values, it is on the meta device: call"),
    "partly on meta": (lambda: on_meta("b"), X, r"b.weight has no values"),
    "scripted": (lambda: torch.jit.script(Scripted()), X, r"the model was made by torch.jit"),
    "partly traced": (
        lambda: nn.Sequential(nn.Linear(5, 5), torch.jit.trace(Scripted(), X)), X, r"1 was made by torch.jit.* pass the"
    ),
    "nested tensors": (
        Scripted, torch.nested.nested_tensor([X, X[:2]]), r"does not run on the example inputs.*Tensors given: nested"
    ),
    "no inputs": (Scripted, None, "example_inputs: expected what the training loop passes .*, found None"),
    "too many": (Scripted, (X, X), r"Scripted raised TypeError.*Pass what the training loop passes"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*nested tensors.*")
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_studied_is_refused(case: str) -> None:
    build, inputs, message = REFUSED[case]
    with pytest.raises(StructureError, match=message):
        discover(build(), inputs)


def adding_in_place(net: Any, x: Tensor) -> Tensor:
    x += 1.0
    return net.b(net.a(x).relu())


def overwriting(net: Any, x: Tensor) -> Tensor:
    x[:, :2] = 0.0
    return net.b(net.a(x).relu())


def marking(net: Any, x: Tensor) -> Tensor:
    return net.b(net.a(x.requires_grad_()).relu()).detach()


@pytest.mark.parametrize("forward", [adding_in_place, overwriting, marking])
def test_a_forward_may_change_its_inputs_and_the_users_stay(forward: Callable[..., Any]) -> None:
    net = Net(forward, a=nn.Linear(5, 12), b=nn.Linear(12, 2))
    x = torch.randn(3, 5)
    before = x.clone()
    gates = attach_gates(net, x)
    with torch.no_grad():
        gates.log_alpha[::2] = -9.0
    small = purge(net, settle=False).model
    assert torch.equal(x, before) and not x.requires_grad
    torch.testing.assert_close(small(x.clone()), net.eval()(x.clone()), rtol=1e-4, atol=1e-6)


def test_a_forward_may_take_entries_out_of_its_dict() -> None:
    net = Net(lambda net, batch: net.b(net.a(batch.pop("x")).relu()), a=nn.Linear(5, 12), b=nn.Linear(12, 2))
    batch = {"x": torch.randn(3, 5), "y": torch.zeros(3)}
    assert [group.size for group in discover(net, (batch,)).groups] == [12]
    assert set(batch) == {"x", "y"}
    with pytest.raises(StructureError, match="a forward that takes one dict: a tuple that holds it"):
        discover(net, batch)


class TestExampleInputs:
    def test_what_is_inputs_already_stays(self) -> None:
        inputs = ExampleInputs.of(X)
        assert ExampleInputs.of(inputs) is inputs and inputs.value is X and [id(t) for t in inputs] == [id(X)]

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (X, ((X,), {})), ((X, 3), ((X, 3), {})), ([X], ((X,), {})), ({"x": X}, ((), {"x": X})),
            ({1: X}, (({1: X},), {})), (({"x": X},), (({"x": X},), {})),
            (Arguments((X, 1), {"y": X}), ((X, 1), {"y": X})), ("word", (("word",), {})),
        ],
    )  # fmt: skip
    def test_a_call_spreads_tuples_and_keywords(self, value: Any, expected: Any) -> None:
        class Echo(nn.Module):
            def forward(self, *args: Any, **kwargs: Any) -> Any:
                return args, kwargs

        assert repr(ExampleInputs(value).call(Echo())) == repr(expected)

    def test_a_copy_holds_nothing_of_the_users(self) -> None:
        x = torch.ones(2, 3, requires_grad=True)
        (copied,) = ExampleInputs((x,)).copy()
        assert copied.data_ptr() != x.data_ptr() and not copied.requires_grad

    @pytest.mark.parametrize(("value", "expected"), [(X, 3), ((), 1), (torch.ones(()), 1), ({"a": 1, "b": X[:2]}, 2)])
    def test_examples_are_counted_by_the_first_tensor(self, value: Any, expected: int) -> None:
        assert ExampleInputs(value).examples == expected

    def test_a_dtype_is_for_floats(self) -> None:
        x, ids = ExampleInputs((X, torch.arange(3))).to(dtype=torch.float64)
        assert x.dtype == torch.float64 and ids.dtype == torch.int64

    def test_redrawn_floats_are_random_and_counts_stay(self) -> None:
        given = ExampleInputs((X, torch.arange(3)))
        x, ids = given.redraw(torch.float64, torch.Generator().manual_seed(0))
        assert x.dtype == torch.float64 and not torch.isclose(x.float(), X).any() and ids.tolist() == [0, 1, 2]
        kept, ids = given.redraw(torch.float64, None)
        assert torch.equal(kept, X.double()) and kept.data_ptr() != X.data_ptr()

    @pytest.mark.parametrize(
        ("shapes", "times", "expected"),
        [
            ([(3, 5)], 4, [12]), ([(3, 5), (3,)], 2, [6, 6]), ([(3, 5), (2, 5)], 2, [3, 2]), ([], 4, []),
            ([(3, 5), ()], 2, [3, None]), ([(1024, 2)], 8, [2048]), ([(5000,)], 8, [5000]), ([(3, 0)], 4, [12]),
        ],
    )  # fmt: skip
    def test_a_batch_several_times(self, shapes: Any, times: int, expected: Any) -> None:
        made = ExampleInputs([torch.ones(shape) for shape in shapes]).several(times)
        assert [len(tensor) if tensor.dim() else None for tensor in made] == expected

    @pytest.mark.parametrize(
        ("shapes", "steps", "expected"),
        [
            ([(5, 9, 4)], 3, [(2, 3, 4)]), ([(5, 9, 4)], None, [(2, 9, 4)]), ([(5, 4), (5,)], 3, [(2, 4), (2,)]),
            ([(5, 9, 4), (5, 7, 4)], 3, [(2, 9, 4), (2, 7, 4)]), ([(5, 9, 4), (6, 9, 4)], 3, [(5, 3, 4), (6, 3, 4)]),
            ([(1, 2, 4)], 3, [(1, 2, 4)]), ([(5, 9, 4, 4)], 3, [(2, 9, 4, 4)]), ([], 3, []),
        ],
    )  # fmt: skip
    def test_fewer_examples_and_steps(self, shapes: Any, steps: int | None, expected: Any) -> None:
        made = ExampleInputs([torch.ones(shape) for shape in shapes]).fewer(2, steps)
        assert [tuple(tensor.shape) for tensor in made] == expected

    def test_one_more_repeats_the_first_of_whatever_is_as_long(self) -> None:
        x, other, number = ExampleInputs((X, X[:2], torch.ones(()))).one_more()
        assert torch.equal(x, torch.cat([X, X[:1]])) and torch.equal(other, X[:2]) and not number.dim()

    @pytest.mark.parametrize(
        ("shapes", "examples", "expected"),
        [
            ([(3, 5), (3,), ()], 7, [(7, 5), (7,), ()]), ([(3, 5)], 2, [(2, 5)]), ([(3, 5)], 3, [(3, 5)]),
            ([(3, 5), (2, 5)], 7, [(3, 5), (2, 5)]), ([], 7, []), ([()], 7, [()]),
        ],
    )  # fmt: skip
    def test_another_number_of_examples(self, shapes: Any, examples: int, expected: Any) -> None:
        made = ExampleInputs([torch.ones(shape) for shape in shapes]).resized(examples)
        assert [tuple(tensor.shape) for tensor in made] == expected
        assert torch.equal(next(iter(ExampleInputs(X).resized(len(X) + 2)))[len(X) :], X[:2])

    def test_bare_ones_are_passed_themselves(self) -> None:
        seen: list[Tensor] = []
        model = nn.Identity()
        model.register_forward_pre_hook(lambda module, args: seen.extend(args))
        ExampleInputs(X).bare(model)
        ExampleInputs((X,)).bare(model)
        ExampleInputs({"input": X}).bare(model)
        assert [x is X for x in seen] == [True, True]
