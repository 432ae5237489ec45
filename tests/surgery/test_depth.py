"""Cutting whole modules out, and doing the same again from what was saved."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lzero.errors import StructureError
from lzero.plan.block import Block
from lzero.surgery.depth import KEPT, cut_as_saved, cut_blocks, saved_cuts
from lzero.surgery.left_out import MARK, LeftOut


class Block_(nn.Module):
    def __init__(self, number):
        super().__init__()
        self.number, self.layer_idx, self.branch = number, number, nn.Linear(2, 2)

    def forward(self, x):
        return x + self.branch(x) * (self.number + 1)


class Net(nn.Module):
    def __init__(self, count=5):
        super().__init__()
        self.num_layers, self.layers = count, nn.ModuleList(Block_(number) for number in range(count))

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


def closing(paths, closed="removed"):
    return [Block(path, closed, ()) for path in paths]


def numbers(model):
    return [getattr(layer, "number", None) for layer in model.layers]


@given(st.sets(st.integers(0, 4), max_size=4), st.sets(st.integers(0, 4), max_size=2))
def test_what_is_cut_is_cut_again_from_the_state_dict(gone, branches):
    torch.manual_seed(0)
    model = Net()
    cut_blocks(
        model, closing([f"layers.{n}" for n in gone]) + closing([f"layers.{n}.branch" for n in branches], "zero")
    )
    stay = [number for number in range(5) if number not in gone]
    assert numbers(model) == stay and list(model.layers._modules) == [str(n) for n in range(len(stay))]
    assert model.num_layers == len(stay) and [layer.layer_idx for layer in model.layers] == list(range(len(stay)))
    assert [isinstance(layer.branch, LeftOut) for layer in model.layers] == [n in branches for n in stay]
    kept, closed = saved_cuts(model.state_dict())
    assert kept == ({"layers": stay} if gone else {})
    again = Net()
    cut_as_saved(again, kept, closed)
    again.load_state_dict(model.state_dict())
    x = torch.randn(3, 2)
    assert torch.equal(again(x), model(x)) and numbers(again) == stay
    assert again.num_layers == model.num_layers


def test_twice_cut_it_says_what_is_left_of_the_first():
    model = Net()
    cut_blocks(model, closing(["layers.1", "layers.3"]))
    cut_blocks(model, closing(["layers.0", "layers.2"]))
    assert numbers(model) == [2] and model.layers.get_buffer(KEPT).tolist() == [2] and model.num_layers == 1


def test_one_that_stays_in_its_place_passes_on():
    model, x = Net(3), torch.randn(2, 2)
    expected = model.layers[2](model.layers[0](x))
    cut_blocks(model.eval(), closing(["layers.1"], "identity"))
    assert torch.equal(model(x), expected) and len(model.layers) == 3 and model.num_layers == 3
    assert not model.layers[1].training


def test_entries_with_names_of_their_own_keep_them():
    model = nn.Sequential()
    for name in ("first", "second", "third"):
        model.add_module(name, nn.Linear(2, 2))
    cut_blocks(model, closing(["second"]))
    assert list(model._modules) == ["first", "third"] and model.get_buffer(KEPT).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ({f"layers.{KEPT}": torch.tensor([2, 1])}, "places in ascending order"),
        ({f"layers.{KEPT}": torch.tensor([-1, 1])}, "places in ascending order"),
        ({f"layers.{KEPT}": torch.tensor([0.0, 1.0])}, "places in ascending order"),
        ({f"layers.{KEPT}": torch.tensor(1)}, "places in ascending order"),
        ({f"layers.0.{MARK}": torch.tensor([1])}, "one whole number"),
        ({f"layers.0.{MARK}": torch.tensor(1.0)}, "one whole number"),
        ({f"layers.0.{MARK}": torch.tensor(1000)}, "one whole number"),
    ],
)
def test_damaged_entries_are_refused(state, why):
    with pytest.raises(StructureError, match=why):
        saved_cuts(state)


@pytest.mark.parametrize(
    ("kept", "closed", "why"),
    [
        ({"layers": [0, 7]}, {}, r"layers\.purged_blocks: the saved model kept entries that this one lacks"),
        ({"other": [0]}, {}, r"other\.purged_blocks"),
        ({}, {"layers.9": torch.tensor(0)}, r"layers\.9\.purged_closed: the saved model left out"),
        ({}, {"": torch.tensor(0)}, "purged_closed"),
    ],
)
def test_what_another_model_has_is_refused(kept, closed, why):
    with pytest.raises(StructureError, match=why):
        cut_as_saved(Net(), kept, closed)
