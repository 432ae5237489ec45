import copy

import pytest
import torch
from plans import same, snapshot
from purged import CASES, purged
from torch import nn

import lzero
from lzero.errors import StructureError
from lzero.reload import load_purged
from lzero.surgery.gathered_linear import GatheredLinear
from lzero_lab.models import MLP


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_purged_model_comes_back_from_its_file_to_the_bit(case, tmp_path):
    build, shape, granularity = CASES[case]
    x = torch.randn(shape)
    small = purged(build, x, granularity)
    torch.save(small.state_dict(), tmp_path / "purged.pt")
    fresh = build()
    again = load_purged(fresh, torch.load(tmp_path / "purged.pt", weights_only=True))
    assert again is fresh
    assert again.eval()(x).equal(small(x))
    for (name, module), (other, twin) in zip(small.named_modules(), again.named_modules(), strict=True):
        sizes = [{key: value for key, value in vars(m).items() if isinstance(value, int)} for m in (module, twin)]
        assert (name, sizes[0]) == (other, sizes[1])


def test_a_selection_of_inputs_comes_back_as_a_gathered_linear():
    x = torch.randn(4, 12)
    small = purged(lambda: MLP(12, (9, 7), 3), x, "input")
    again = load_purged(MLP(12, (9, 7), 3), small.state_dict())
    assert type(again.fc1) is GatheredLinear and type(again.fc1.linear) is nn.Linear
    assert again.fc1.columns.equal(small.fc1.columns)


def test_tied_parameters_stay_tied_and_frozen_ones_frozen():
    def build():
        model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
        model[2].weight = model[0].weight
        model[0].bias.requires_grad_(False)
        return model

    again = load_purged(build(), build().state_dict())
    assert again[2].weight is again[0].weight
    assert not again[0].bias.requires_grad


def test_the_saved_state_is_copied_not_shared():
    state = nn.Linear(4, 2).state_dict()
    model = load_purged(nn.Linear(4, 3), state)
    with torch.no_grad():
        model.weight.zero_()
    assert state["weight"].any()


def selected(columns, width=2):
    """The state of a Linear of 4 features that reads ``columns``."""
    tensors = {"linear.weight": torch.ones(3, width), "linear.bias": torch.ones(3)}
    return {**tensors, "columns": torch.tensor(columns)}


WRONG = {
    "missing": ({"weight": torch.ones(3, 4)}, "lacks bias"),
    "unknown": ({**nn.Linear(4, 3).state_dict(), "scale": torch.ones(3)}, "has an unknown scale"),
    "both": ({"weight": torch.ones(3, 4), "b": torch.ones(3)}, "lacks bias and has an unknown b"),
    "larger": ({"weight": torch.ones(5, 4), "bias": torch.ones(3)}, r"weight: saved with shape \[5, 4\]"),
    "other dims": ({"weight": torch.ones(3), "bias": torch.ones(3)}, r"weight: .* which no purge of \[3, 4\] has"),
    "no tensor": ({"weight": 1.0, "bias": torch.ones(3)}, "weight: expected a saved tensor, found float"),
    "too few columns": (selected([0]), r"columns: expected 2 indices in int64.*found \[1\]"),
    "columns of floats": (selected([0.0, 1.0]), "columns: expected 2 indices in int64.*in float32"),
    "columns outside": (selected([0, 4]), r"columns: expected distinct indices from 0 to 3, found \[0, 4\]"),
    "one column twice": (selected([1, 1]), r"columns: expected distinct indices from 0 to 3, found \[1, 1\]"),
    "columns alone": (
        {"weight": torch.ones(3, 4), "bias": torch.ones(3), "columns": torch.arange(4)},
        "unknown col",
    ),
    "both weights": (selected([0, 1]) | {"weight": torch.ones(3, 2)}, "unknown linear.weight"),
}


WIDE = nn.Linear(4, 3).state_dict()
WRONG |= {
    "no mapping": ([("weight", torch.ones(3, 4))], "state: expected a state dict"),
    "no names": ({**WIDE, 3: torch.ones(3)}, "state: expected names as keys, found 3"),
    "a list": ({**WIDE, "bias": [1.0, 1.0, 1.0]}, "bias: expected a saved tensor, found list"),
    "sparse": ({**WIDE, "weight": torch.ones(3, 4).to_sparse()}, r"weight: .* is sparse .*to_dense"),
    "meta": ({**WIDE, "weight": torch.ones(3, 4, device="meta")}, "weight: .* on the meta device"),
    "lazy": ({**WIDE, "weight": nn.UninitializedParameter()}, "weight: .* is lazy"),
    "integers": ({**WIDE, "weight": torch.ones(3, 4).long()}, r"weight: expected .* floats, found torch\.int64"),
    "complex": ({**WIDE, "bias": torch.ones(3) + 0j}, r"bias: expected .* floats, found torch\.complex64"),
    "two dtypes": ({**WIDE, "bias": torch.ones(3).double()}, "weight and bias: expected one dtype .*float32, float64"),
    "widths": ({**WIDE, "weight": torch.ones(2, 4)}, r"weight and bias: .*shapes \[2, 4\] and \[3\]"),
    "many": ({**WIDE, **{f"x{i:02}": torch.ones(1) for i in range(20)}}, "unknown x00.* x07 and 12 more"),
}


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_a_state_that_does_not_fit_is_refused_and_the_model_left_as_it_was(case):
    state, message = WRONG[case]
    model = nn.Linear(4, 3)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(StructureError, match=message):
        load_purged(model, state)
    assert type(model) is nn.Linear
    assert all(tensor.equal(before[name]) for name, tensor in model.state_dict().items())


def test_aliases_saved_with_different_shapes_are_refused():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    state = {**model.state_dict(), "1.weight": torch.ones(3, 4)}
    with pytest.raises(StructureError, match=r"0\.weight and 1\.weight: one tensor in the model"):
        load_purged(model, state)


def test_a_model_with_gates_is_refused():
    model = MLP(12, (9, 7), 3)
    state = copy.deepcopy(model.state_dict())
    lzero.attach_gates(model, torch.randn(2, 12))
    with pytest.raises(StructureError, match="MLP: has gated tensors; expected a fresh model without gates"):
        load_purged(model, state)


def test_a_failure_half_way_leaves_the_model_as_it_was(monkeypatch):
    x = torch.randn(4, 12)
    state = purged(lambda: MLP(12, (9, 7), 3), x, "input").state_dict()
    model = MLP(12, (9, 7), 3)
    order = [list(vars(module)) for module in model.modules()]
    before, tables = snapshot(model), [list(module._buffers) for module in model.modules()]

    def fails(*_):
        raise MemoryError("no memory left")

    for step in ("correct_sizes", "set_numbers"):
        with monkeypatch.context() as patch:
            patch.setattr(f"lzero.reload.{step}", fails)
            with pytest.raises(StructureError, match=r"loading failed .*no memory left.*as it was"):
                load_purged(model, state)
        same(before, snapshot(model))
        assert tables == [list(module._buffers) for module in model.modules()]
        assert order == [list(vars(module)) for module in model.modules()]
    load_purged(model, state)


def test_a_stop_half_way_leaves_the_model_as_it_was(monkeypatch):
    state = purged(lambda: MLP(12, (9, 7), 3), torch.randn(4, 12), "input").state_dict()
    model = MLP(12, (9, 7), 3)
    before = snapshot(model)

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("lzero.reload.set_numbers", stopped)
    with pytest.raises(KeyboardInterrupt):
        load_purged(model, state)
    same(before, snapshot(model))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (None, "model: expected an nn.Module, found None"),
        (nn.Linear, "model: expected an nn.Module"),
        (nn.Linear(4, 3, device="meta"), "weight has no values, it is on the meta device.*to_empty"),
        (nn.LazyLinear(3), "weight has no shape yet"),
    ],
    ids=str,
)
def test_a_model_that_nothing_can_be_loaded_into_is_refused(model, message):
    with pytest.raises(StructureError, match=message):
        load_purged(model, WIDE)


def test_a_state_dict_of_other_names_is_refused():
    class Renamed(nn.Linear):
        def state_dict(self, *args, **kwargs):
            return {"w": self.weight, "b": self.bias}

    with pytest.raises(StructureError, match=r"b: Renamed\.state_dict\(\) has it"):
        load_purged(Renamed(4, 3), {"w": torch.ones(3, 4), "b": torch.ones(3)})


def test_aliases_saved_with_different_values_are_refused():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    state = copy.deepcopy(model.state_dict())
    state["0.weight"] = state["1.weight"].clone()
    load_purged(copy.deepcopy(model), state)
    state["0.weight"][0, 0] = torch.nan
    with pytest.raises(StructureError, match=r"0\.weight and 1\.weight: .*different values"):
        load_purged(model, state)


@pytest.mark.parametrize("saved", [0.5, float("nan"), 9, 0, [2], 1j])
def test_a_number_that_no_purge_leaves_is_refused(saved):
    class Heads(nn.Linear):
        def __init__(self):
            super().__init__(4, 3)
            self.heads = 4

    with pytest.raises(StructureError, match="purged_heads: expected one whole number from 1 to 4 in int64"):
        load_purged(Heads(), {**WIDE, "purged_heads": torch.tensor(saved)})
    assert load_purged(Heads(), {**WIDE, "purged_heads": torch.tensor(2)}).heads == 2


def test_parameters_stay_in_the_order_of_the_architecture():
    build, shape, granularity = CASES["resnet, units"]
    state = purged(build, torch.randn(shape), granularity).state_dict()
    fresh = build()
    order = [name for name, _ in fresh.named_parameters()]
    again = load_purged(fresh, dict(reversed(state.items())))
    assert [name for name, _ in again.named_parameters()] == order
