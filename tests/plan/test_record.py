"""Plans go to a file and to other processes, and come back the same; files that are damaged or made up are refused."""

from __future__ import annotations

import copy
import dataclasses
import multiprocessing
import pickle
from collections import OrderedDict, UserDict, namedtuple
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import simple
from torch import nn

import lzero
from lzero import Plan
from lzero.errors import StructureError
from lzero.host.run import run
from lzero.plan import storage
from lzero.plan.block import Block
from lzero.plan.group import GateGroup
from lzero.plan.record import record, unrecorded
from lzero_lab.models import MLP, LeNet5, ResNet

MODELS: dict[str, Any] = {
    "mlp": (lambda: MLP(12, (6, 5), 3), torch.randn(2, 12), "weight"),
    "lenet": (lambda: LeNet5(size=8, hidden=20), torch.randn(2, 1, 8, 8), "input"),
    "resnet": (lambda: ResNet(widths=(4, 6)), (torch.randn(2, 1, 8, 8),), "unit"),
}


def plan_of(name: str) -> Plan:
    build, inputs, granularity = MODELS[name]
    return lzero.discover(build(), inputs, granularity=granularity)


def assert_same(one: Plan, two: Plan) -> None:
    assert str(one) == str(two) and one.refusals == two.refusals
    assert (one.shapes, one.positions, one.granularity) == (two.shapes, two.positions, two.granularity)
    for a, b in zip(one.groups, two.groups, strict=True):
        assert (a.name, a.size, a.kind) == (b.name, b.size, b.kind)
        for m, n in zip(a.members, b.members, strict=True):
            assert (m.tensor, m.dim, m.role) == (n.tensor, n.dim, n.role) and torch.equal(m.index, n.index)
    assert repr(one.example_inputs) == repr(two.example_inputs)


@pytest.mark.parametrize("name", MODELS)
def test_a_plan_is_pickled_copied_and_saved(name: str, tmp_path: Path) -> None:
    plan = plan_of(name)
    plan.save(tmp_path / "plan")
    for made in (pickle.loads(pickle.dumps(plan)), copy.copy(plan), Plan.load(str(tmp_path / "plan"))):
        assert_same(plan, made)
        with pytest.raises(dataclasses.FrozenInstanceError):
            made.shapes = {}
        with pytest.raises(TypeError):
            made.shapes["x"] = (1,)  # type: ignore[index]
    assert [path.name for path in tmp_path.iterdir()] == ["plan"]


def gates_in(plan: Plan) -> int:
    return plan.size


@pytest.mark.slow
def test_a_plan_reaches_another_process() -> None:
    plan = plan_of("lenet")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(gates_in, (plan,)) == plan.size


@pytest.mark.parametrize("name", MODELS)
def test_a_loaded_plan_attaches_to_a_fresh_model(name: str, tmp_path: Path) -> None:
    plan_of(name).save(tmp_path / "plan")
    model, inputs = MODELS[name][0](), MODELS[name][1]
    gates = lzero.attach_gates(model, Plan.load(tmp_path / "plan"))
    with torch.no_grad():
        gates.log_alpha[::3] = -9.0
    small = lzero.purge(model).model
    torch.testing.assert_close(run(small, inputs), run(model, inputs), rtol=1e-4, atol=1e-5)
    with pytest.raises(StructureError, match="the plan says"):
        lzero.attach_gates(MLP(12, (4, 4), 3), Plan.load(tmp_path / "plan"))


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.complex_numbers(allow_nan=False)
)
tensors = st.lists(st.integers(0, 3), max_size=4).map(lambda shape: torch.randn(shape)) | st.just(torch.arange(3))
nested = st.recursive(
    scalars | tensors,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(nested)
def test_example_inputs_of_plain_things_come_back(tmp_path_factory: pytest.TempPathFactory, inputs: Any) -> None:
    path = tmp_path_factory.mktemp("plans") / "plan"
    simple(inputs).save(path)
    assert repr(Plan.load(path).example_inputs) == repr(inputs)


def test_tensors_keep_their_format_and_whether_they_ask_for_a_gradient(tmp_path: Path) -> None:
    images = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    simple((images, torch.randn(9, requires_grad=True)[:3], nn.Parameter(torch.ones(2)))).save(tmp_path / "plan")
    one, two, three = Plan.load(tmp_path / "plan").example_inputs
    assert one.stride() == images.stride() and two.requires_grad and two.untyped_storage().nbytes() == 12
    assert type(three) is torch.Tensor and three.requires_grad


def test_what_a_tokenizer_returns_is_stored_as_a_dict(tmp_path: Path) -> None:
    ids = torch.arange(4)
    simple(UserDict(input_ids=ids)).save(tmp_path / "plan")
    assert repr(Plan.load(tmp_path / "plan").example_inputs) == repr({"input_ids": ids})


class Sub(torch.Tensor):
    pass


cycle: list[Any] = []
cycle.append(cycle)
REFUSED: dict[str, Any] = {
    "an object": object(),
    "nested": {"x": [torch.ones(1), {"y": object()}]},
    "a named tuple": namedtuple("Pair", "a b")(1, 2),
    "a subclass of dict": [OrderedDict(a=1)],
    "a function": print,
    "sparse": torch.eye(2).to_sparse(),
    "meta": torch.ones(2, device="meta"),
    "a subclass": torch.ones(2).as_subclass(Sub),
    "a dtype": torch.float32,
    "a cycle": cycle,
    "a module": nn.Linear(2, 2),
    "keys": {1.5: 2},
    "bytes": b"abc",
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_example_inputs_are_refused_with_the_way_out(case: str, tmp_path: Path) -> None:
    with pytest.raises(StructureError, match=r"^example_inputs.*dataclasses\.replace\(plan, example_inputs=None\)"):
        simple(REFUSED[case]).save(tmp_path / "plan")
    assert not list(tmp_path.iterdir())
    dataclasses.replace(simple(REFUSED[case]), example_inputs=None).save(tmp_path / "plan")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_damage_is_noticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("plans") / "plan"
    plan_of_damage().save(path)
    held = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del held[data.draw(st.integers(0, len(held) - 1)) :]
    else:
        held[data.draw(st.integers(0, len(held) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(held)
    with pytest.raises(StructureError):
        Plan.load(path)


def plan_of_damage(cache: list[Plan] = []) -> Plan:  # noqa: B006
    if not cache:
        cache.append(plan_of("mlp"))
    return cache[0]


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at]
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []:
        found += places(value[key], (*at, key))
    return found


STRANGE = [None, True, -5, 10**30, 0.5, float("nan"), "word", [], {}, (1,), [1, 2], {"a": 1}, torch.ones(2, 1),
           torch.zeros(1, 1, dtype=torch.long), torch.full((5, 1), 99), 1j]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_made_up_file_is_a_plan_or_an_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("plans") / "plan"
    content = copy.deepcopy(record(plan_of_damage().__getstate__()))
    place = data.draw(st.sampled_from(places(content)))
    strange = data.draw(st.sampled_from(STRANGE))
    holder = content
    for key in place[:-1]:
        holder = holder[key]
    if place:
        holder[place[-1]] = strange
    storage.write(path, "lzero plan 3", content if place else strange)
    try:
        plan = Plan.load(path)
    except StructureError as error:
        assert "holds no plan" in str(error)
    else:
        assert str(plan) and plan.size >= 0
        plan.save(path)


def test_one_record_is_the_inverse_of_the_other() -> None:
    plan = plan_of("resnet")
    assert_same(plan, Plan(**unrecorded(record(plan.__getstate__()))))


def test_states_come_back_and_a_plan_without_is_written_as_before(tmp_path: Path) -> None:
    plain = simple(None)
    assert "states" not in record({name: getattr(plain, name) for name in plain.__dataclass_fields__})
    dataclasses.replace(plain, states=("encoder_last_hidden_state",)).save(tmp_path / "plan")
    assert Plan.load(tmp_path / "plan").states == ("encoder_last_hidden_state",)
    plain.save(tmp_path / "plain")
    assert Plan.load(tmp_path / "plain").states == ()


def deep() -> Plan:
    net = nn.Sequential(*(nn.Sequential(nn.Linear(3, 3)) for _ in range(2)))
    blocks = tuple(Block(f"{n}", "identity", (f"{n}.0.weight", f"{n}.0.bias"), n) for n in range(2))
    shapes = {name: tuple(parameter.shape) for name, parameter in net.named_parameters()}
    group = GateGroup("net", 2, "depth", (), blocks=blocks)
    return Plan((group,), (), shapes, {}, granularity={"": "depth"})


def test_blocks_are_saved_with_all_that_is_known_of_them(tmp_path: Path) -> None:
    plan = deep()
    plan.save(tmp_path / "plan")
    again = Plan.load(str(tmp_path / "plan"))
    assert_same(plan, again)
    assert [group.blocks for group in again] == [group.blocks for group in plan]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda row: row.__setitem__(6, []), "expected a module for each gate of depth, found 0"),
        (lambda row: row.__setitem__(6, row[6][:1]), "expected a module for each gate of depth, found 1"),
        (lambda row: row.__setitem__(2, "unit"), "expected a module for each gate of depth, found 2"),
        (lambda row: row[6][0].__setitem__(0, 3), r"blocks\[0\] path: expected a word"),
        (lambda row: row[6][0].__setitem__(1, "ajar"), r"blocks\[0\] closed"),
        (lambda row: row[6][1].__setitem__(2, ("a",)), r"blocks\[1\] tensors: expected a list"),
        (lambda row: row[6][1].__setitem__(3, -1), r"blocks\[1\] returns"),
        (lambda row: row[6][1].append(1), r"blocks\[1\]: expected 4 entries"),
    ],
)
def test_damaged_blocks_are_refused(change: Any, why: str) -> None:
    plan = deep()
    content = record({field.name: getattr(plan, field.name) for field in dataclasses.fields(plan) if field.init})
    change(content["groups"][0])
    with pytest.raises(StructureError, match=why):
        unrecorded(content)


@pytest.mark.parametrize("asked", [8, {"fc1": 4}, {"": 8, "fc1": 4}])
def test_what_widths_are_rounded_to_comes_back_and_a_plan_without_is_written_as_before(asked: Any) -> None:
    plan = dataclasses.replace(plan_of("mlp"), round_to=asked)
    content = record(plan.__getstate__())
    assert type(content["round_to"]) is type(asked) and Plan(**unrecorded(content)).round_to == asked
    assert pickle.loads(pickle.dumps(plan)).round_to == asked
    assert "round_to" not in record(plan_of("mlp").__getstate__())
    for damaged in (0, True, "8", None, {"fc1": 0}, {1: 8}):
        with pytest.raises(StructureError, match="round_to"):
            unrecorded({**content, "round_to": damaged})
