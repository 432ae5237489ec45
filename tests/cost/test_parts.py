"""Parts by module path: which layers there are, and that a path which leads to none is refused."""

import pytest
from plans import CASES, lenet

from lzero.cost import check_paths, layers
from lzero.errors import BudgetError
from lzero.plan.block import Block
from lzero.plan.group import GateGroup
from lzero.plan.paths import covers
from lzero.plan.plan import Plan

LENET = lenet()[1]


def test_layers_are_the_products_that_gates_shrink():
    plan = LENET
    assert layers(plan) == ["conv1", "conv2", "fc1", "fc2"]
    assert layers(plan, consumers=True) == ["conv2", "fc1", "fc2"]
    assert layers(CASES["batch_norm"]()[1]) == ["conv1", "conv2"]  # not bn1, which is no product; not fc, ungated
    assert covers("conv1", "conv1.weight") and not covers("conv1", "conv10.weight") and covers("", "x")


@pytest.mark.parametrize("name", CASES)
def test_layers_are_those_of_a_loop_over_the_members_each_once_and_in_the_order_of_the_model(name):
    model, plan = CASES[name]()
    for consumers in (False, True):
        expected = []
        for parameter, _ in model.named_parameters():
            roles = {m.role for g in plan.groups for m in g.members if m.tensor == parameter}
            wanted = "consumer" in roles if consumers else roles
            if wanted and parameter in plan.positions:
                expected.append(parameter.removesuffix(".weight"))
        assert layers(plan, consumers=consumers) == expected


def test_within_a_module_are_the_layers_at_and_below_it():
    assert layers(LENET, within="conv1") == ["conv1"]
    assert layers(LENET, within="") == layers(LENET)
    assert layers(LENET, within="conv") == []  # no module of that name
    assert layers(LENET, consumers=True, within="conv1") == []


def test_what_leaves_with_a_block_is_a_layer_that_gates_can_shrink():
    block = Block("net.0", "identity", ("net.0.up.weight", "net.0.norm.weight"))
    shapes = {"net.0.up.weight": (3, 3), "net.0.norm.weight": (3,), "head.weight": (2, 3)}
    plan = Plan((GateGroup("net", 1, "depth", (), blocks=(block,)),), (), shapes, dict.fromkeys(shapes, 1))
    assert layers(plan) == ["net.0.up", "net.0.norm"]
    assert layers(plan, consumers=True) == []


def test_paths_to_layers_and_to_what_holds_them_pass():
    check_paths("Constraint", ["conv1", "fc2", ""], LENET)
    check_paths("Constraint", [], LENET)
    check_paths("Penalty", ["conv2"], LENET, consumers=True)


@pytest.mark.parametrize(
    ("paths", "consumers", "message"),
    [
        (["conv"], False, "^here: no gated layer at 'conv'; the gated layers are conv1, conv2, fc1, fc2$"),
        (["conv1", "fc1.weight"], False, "no gated layer at 'fc1.weight'; the gated layers are conv1,"),
        (["conv1"], True, "^here: no gated layer at 'conv1'; the gated layers are conv2, fc1, fc2$"),
    ],
)
def test_a_path_that_leads_to_no_layer_is_refused_with_those_that_there_are(paths, consumers, message):
    with pytest.raises(BudgetError, match=message):
        check_paths("here", paths, LENET, consumers=consumers)
