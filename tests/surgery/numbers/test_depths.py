"""Counts, lists and places that follow the blocks that leave a container."""

import types

import pytest
from torch import nn

from lzero.surgery.numbers.depths import Places, follow_entries


class Entry(nn.Module):
    def __init__(self, place):
        super().__init__()
        self.layer_idx, self.attn = place, nn.Identity()
        self.attn.layer_idx = place


def model(count=4, container="layers", entry=Entry, **config):
    """A model with a configuration, and a container of entries at a path of one or two names."""
    made = nn.Module()
    made.config = types.SimpleNamespace(**config)
    *above, leaf = container.split(".")
    home = made
    for name in above:
        home.add_module(name, nn.Module())
        home = home.get_submodule(name)
    home.add_module(leaf, nn.ModuleList(entry(place) for place in range(count)))
    return made


@pytest.mark.parametrize(
    "name",
    ["num_hidden_layers", "n_layer", "num_layers", "depth", "n_blocks", "layers", "number_of_layers", "encoder_layers"],
)
def test_counts_of_layers_follow_in_a_copy_of_the_configuration(name):
    made = model(**{name: 4})
    config = made.config
    follow_entries(made, "layers", 4, [0, 3])
    assert getattr(made.config, name) == 2 and getattr(config, name) == 4


@pytest.mark.parametrize("name", ["num_heads", "hidden_size", "layer_scale", "num_layers_of_heads", "vocab_size"])
def test_other_numbers_of_the_same_value_do_not(name):
    made = model(**{name: 4})
    follow_entries(made, "layers", 4, [0])
    assert getattr(made.config, name) == 4


def test_a_count_of_another_length_does_not():
    made = model(num_hidden_layers=6)
    follow_entries(made, "layers", 4, [0])
    assert made.config.num_hidden_layers == 6


def test_lists_of_layers_keep_the_items_of_those_that_stay():
    made = model(layer_types=["a", "b", "c", "d"], block_sizes=(1, 2, 3, 4), names=["w", "x", "y", "z"])
    follow_entries(made, "layers", 4, [1, 3])
    assert made.config.layer_types == ["b", "d"] and made.config.block_sizes == (2, 4)
    assert made.config.names == ["w", "x", "y", "z"]


@pytest.mark.parametrize(("path", "counts"), [("decoder.layers", (4, 2)), ("encoder.layers", (2, 4))])
def test_encoders_and_decoders_have_counts_of_their_own(path, counts):
    made = model(container=path, num_layers=4, num_decoder_layers=4)
    follow_entries(made, path, 4, [0, 1])
    assert (made.config.num_layers, made.config.num_decoder_layers) == counts


def test_a_decoder_alone_has_the_only_count():
    made = model(container="decoder.layers", num_hidden_layers=4)
    follow_entries(made, "decoder.layers", 4, [0, 1])
    assert made.config.num_hidden_layers == 2


def test_of_stages_the_item_of_the_stage_follows_and_no_count_of_stages():
    made = model(count=3, container="stages", depths=[3, 3, 2], num_hidden_layers=3)
    made.stages[1].layers = nn.ModuleList(Entry(place) for place in range(3))
    follow_entries(made, "stages.1.layers", 3, [0])
    assert made.config.depths == [3, 1, 2] and made.config.num_hidden_layers == 3


def left(made, kept):
    entries = [made.layers[place] for place in kept]
    made.layers._modules.clear()
    made.layers.extend(entries)


def places(made):
    return [(entry.layer_idx, entry.attn.layer_idx) for entry in made.layers]


def test_places_are_counted_anew():
    made = model()
    numbers = Places(made, ["layers.0", "layers.2"])
    left(made, [1, 3])
    numbers.follow()
    assert places(made) == [(0, 0), (1, 1)]


def test_places_begin_where_they_began():
    made = model(entry=lambda place: Entry(place + 1))
    numbers = Places(made, ["layers.0"])
    left(made, [1, 2, 3])
    numbers.follow()
    assert places(made) == [(1, 1), (2, 2), (3, 3)]


def test_closed_branches_have_no_place_and_leave_no_hole():
    made = model()
    numbers = Places(made, ["layers.1.attn"])
    made.layers[1].attn = nn.Identity()
    numbers.follow()
    assert [getattr(entry.attn, "layer_idx", None) for entry in made.layers] == [0, None, 1, 2]


def test_where_layers_are_of_several_kinds_places_go_by_the_entry():
    made = model(layer_types=["a", "b", "a", "b"])
    numbers = Places(made, ["layers.1.attn"])
    made.layers[1].attn = nn.Identity()
    numbers.follow()
    assert [getattr(entry.attn, "layer_idx", None) for entry in made.layers] == [0, None, 2, 3]


def test_numbers_that_are_no_places_stay():
    made = model(entry=lambda place: Entry(7))
    numbers = Places(made, ["layers.0"])
    left(made, [1, 2, 3])
    numbers.follow()
    assert places(made) == [(7, 7)] * 3


class Seeing:
    def __init__(self):
        self.num_hidden_layers = 3


class Reading:
    def __init__(self):
        self.num_hidden_layers, self.vision_config = 3, Seeing()


def test_of_two_kinds_of_configurations_the_nearest_one_follows():
    model, eye = nn.Module(), nn.Module()
    model.config, model.eye = Reading(), eye
    eye.config = model.config.vision_config
    eye.layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
    follow_entries(model, "eye.layers", 3, [0, 2])
    assert eye.config.num_hidden_layers == model.config.vision_config.num_hidden_layers == 2
    assert model.config.num_hidden_layers == 3
