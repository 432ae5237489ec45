"""What gates were part of before some of them left."""

import torch
from compacting import Net, X, gated

import lzero
from lzero.gates.whole import Whole


def test_masks_are_those_of_the_groups_as_they_were():
    plan = lzero.discover(Net().double(), X[:2])
    numbers = torch.tensor([0, 3, 9, 11, 16, 20])
    whole = Whole(plan, numbers, {}, 0)
    masks = whole.masks(torch.tensor([True, False, True, True, True, False]))
    assert {name: mask.nonzero().flatten().tolist() for name, mask in masks.items()} == {
        "c1": [0],
        "c2": [0, 2],
        "f1": [0],
    }
    assert [len(mask) for mask in masks.values()] == [9, 7, 10]


def test_places_are_those_among_the_gates_before():
    plan = lzero.discover(Net().double(), X[:2])
    first = Whole(plan, torch.tensor([0, 2, 5, 9, 20]), {}, 0)
    second = Whole(plan, torch.tensor([2, 9, 20]), {}, 0)
    assert second.places_in(first).tolist() == [1, 3, 4]
    assert first.places_in(None).tolist() == [0, 2, 5, 9, 20]


def test_it_holds_the_shapes_of_the_model_without_gates():
    model, gates = gated()
    expected = {name: tuple(tensor.shape) for name, tensor in Net().state_dict().items()}
    lzero.compact(model)
    assert gates.whole.shapes == expected
    assert gates.whole.size == sum(t.nbytes for t in Net().double().state_dict().values())
