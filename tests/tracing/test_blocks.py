"""Which entries of containers are blocks, what is theirs alone, and which belong to one group."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from lzero.plan.block import Block
from lzero.tracing.blocks import Found, alike, blocks_of


class Residual(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.a, self.b = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x):
        x = x + self.a(x)
        return x + self.b(x)


def net(*blocks):
    return nn.Sequential(nn.Linear(4, 4), nn.Sequential(*blocks), nn.Linear(4, 2))


def found(model, wanted=lambda path: True):
    return blocks_of(model, (torch.randn(2, 4),), wanted)


def test_a_block_takes_with_it_what_no_other_module_has():
    model = net(Residual(), Residual())
    model[1][1].a.weight = model[1][0].a.weight
    blocks, refused = found(model)
    assert refused == [] and [each.kind for each in blocks] == ["Residual", "Residual"]
    assert blocks[0].block == Block("1.0", "removed", ("1.0.a.bias", "1.0.b.weight", "1.0.b.bias"), 0)
    assert [branch.path for branch in blocks[0].branches] == ["1.0.a", "1.0.b"]
    assert [branch.closed for branch in blocks[0].branches] == ["zero", "zero"]
    assert blocks[1].branches[0].tensors == ("1.1.a.bias",)


def test_the_only_branch_is_the_block():
    model = net(Residual(), Residual())
    model[1][0].b = nn.Identity()
    blocks, _ = found(model)
    assert blocks[0].branches == () and len(blocks[1].branches) == 2


def test_what_is_not_wanted_is_left_out_without_a_word():
    blocks, refused = found(net(Residual(), Residual()), lambda path: path not in ("1.0", "1.1.b"))
    assert [each.block.path for each in blocks] == ["1.1"] and blocks[0].branches == () and refused == []


def test_a_block_of_which_nothing_is_its_own_is_refused():
    model = net(Residual(), Residual())
    model[1].register_parameter("aside", model[1][0].a.weight)
    model[1][0].a.bias = model[1][0].b.bias = None
    model[1][0].b.weight = model[1][0].a.weight
    blocks, refused = found(model)
    assert [each.block.path for each in blocks] == ["1.1"]
    assert [(refusal.name, refusal.tensors) for refusal in refused] == [("1.0", ())]
    assert "stand elsewhere too" in refused[0].reason


def test_blocks_in_a_block_are_its_branches_and_stay_in_their_place():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.out = nn.ModuleList([Residual(), Residual()]), nn.Linear(4, 4)

        def forward(self, x):
            made = self.inner[1](self.inner[0](x))
            return x + self.out(made)

    blocks, _ = found(net(Outer(), Outer()))
    assert [each.block.path for each in blocks] == ["1.0", "1.1"]
    inner = {branch.path: branch.closed for branch in blocks[0].branches}
    assert inner["1.0.inner.0"] == inner["1.0.inner.1"] == "identity"


def at(path, kind="Residual"):
    return Found(Block(path, "removed", ()), kind, ())


@pytest.mark.parametrize(
    ("paths", "groups"),
    [
        (["a.0", "a.1"], {"a": ["a.0", "a.1"]}),
        (["a.0", "a.1", "b.0", "b.1"], {"a": ["a.0", "a.1"], "b": ["b.0", "b.1"]}),
        (["a.1", "b.1", "b.2", "c.1"], {"b": ["a.1", "b.1", "b.2", "c.1"]}),
        (["a.1", "b.1"], {"b.1": ["a.1", "b.1"]}),
        (["a.1"], {"a.1": ["a.1"]}),
    ],
)
def test_blocks_of_a_container_are_one_group_and_single_ones_join_their_like(paths, groups):
    made = dict(alike([at(path) for path in paths]))
    joined = {frozenset(each.block.path for each in blocks) for blocks in made.values()}
    assert joined == {frozenset(names) for names in groups.values()}
    for blocks in made.values():
        assert [each.block.path for each in blocks] == sorted(each.block.path for each in blocks)


def test_single_blocks_of_other_classes_stay_alone():
    made = alike([at("a.0"), at("b.0", "Other"), at("c.0"), at("c.1")])
    assert [(name, [each.block.path for each in blocks]) for name, blocks in made] == [
        ("c", ["a.0", "c.0", "c.1"]),
        ("b.0", ["b.0"]),
    ]


def test_of_blocks_that_are_made_otherwise_one_of_each_stays():
    found = [at("net.0"), at("net.1"), at("net.2"), at("net.3")]
    for place in (1, 3):
        found[place] = replace(found[place], made=("state",))
    made = alike(found)
    assert [(name, [each.block.path for each in blocks]) for name, blocks in made] == [
        ("net", ["net.0", "net.2"]),
        ("net, as net.1", ["net.1", "net.3"]),
    ]
