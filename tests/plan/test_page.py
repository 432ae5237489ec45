"""A plan to read: in the model's order, by module, with what each group reaches and why others are left."""

from __future__ import annotations

import torch
from plans import column, inputs_of, units

from lzero.plan.block import Block
from lzero.plan.group import GateGroup, Member
from lzero.plan.page import page
from lzero.plan.refusal import Refusal

SHAPES = {"net.fc1.weight": (4, 5), "net.fc1.bias": (4,), "net.fc2.weight": (3, 4), "head.weight": (2, 12)}


def test_the_page_word_for_word() -> None:
    groups = [
        units("net.fc1", 4, ["net.fc1.weight"], ["net.fc1.bias"], {"net.fc2.weight": column(4)}),
        units("net.fc2", 3, ["net.fc2.weight"], [], {"head.weight": torch.arange(12).view(3, 4)}),
        inputs_of("head", 12),
    ]
    refusals = [
        Refusal("head", 2, ("head.weight",), "it is an output of the model"),
        Refusal("net.fc1.input", 5, ("net.fc1.weight",), "it is given", 'granularity="input" gates it'),
    ]
    lines = page(groups, refusals, SHAPES).splitlines()
    assert lines[0] == "3 groups, 19 gates; they reach 60 of 60 parameters (100.0%); left ungated: 2"
    assert [" ".join(line.split()) for line in lines[1:]] == [
        "half of every group leaves 46.7% of the parameters; the floor, one unit of each, is 15.0% of the",
        "parameters",
        "the floor is made of net.fc1 (10.0%), head (3.3%), net.fc2 (1.7%)",
        'what would lower it: net.fc1.input, left because it is given; granularity="input" gates it',
        "what would lower it: head, left because it is an output of the model",
        "net",
        "fc1 4 units 36 parameters read by net.fc2",
        "fc2 3 units 36 parameters read by head (4 each)",
        "head.input 12 inputs 24 parameters read by head",
        "left whole, it is an output of the model: head (2)",
        'left whole, it is given; granularity="input" gates it: net.fc1.input (5)',
    ]


def test_what_follows_and_what_also_makes_a_unit_is_named() -> None:
    group = units("a", 2, ["a.weight", "b.weight"], ["norm.weight", "norm.bias", "a.bias"], {"c.weight": column(2)})
    *_, line = page([group], [], {"a.weight": (2, 2)}).splitlines()
    assert line.endswith("read by c, also made by b, with norm")


def test_of_many_readers_a_few_are_named() -> None:
    for count, said in ((5, "read by r0, r1, r2, r3, r4"), (6, "read by r0, r1, r2, r3 and 2 more")):
        group = units("a", 2, ["a.weight"], [], {f"r{i}.weight": column(2) for i in range(count)})
        assert page([group], [], {"a.weight": (2, 2)}).endswith(said)


def test_states_that_lose_features_are_told() -> None:
    group = units("a", 2, ["a.weight"], [], {"b.weight": column(2)})
    lines = page([group], [], {"a.weight": (2, 2)}, states=("encoder_last_hidden_state",)).splitlines()
    assert lines[4] == "encoder_last_hidden_state loses features too: it is what the decoder reads, and no result"


def test_weights_and_tensors_of_the_model_itself() -> None:
    group = GateGroup("w", 6, "weight", (Member("w", -1, column(6), "consumer"),))
    *_, line = page([group], [], {"w": (2, 3)}).splitlines()
    assert " ".join(line.split()) == "w 6 weights 6 parameters read by w"


def test_alike_blocks_share_a_line_as_do_the_places_that_are_refused_for_one_reason() -> None:
    shapes: dict[str, tuple[int, int]] = {}
    groups, refusals = [], []
    for n in range(12):
        shapes |= {f"h.{n}.up.weight": (32, 8), f"h.{n}.down.weight": (8, 32)}
        groups.append(
            units(f"h.{n}.up", 32, [f"h.{n}.up.weight"], [f"h.{n}.up.bias"], {f"h.{n}.down.weight": column(32)})
        )
        refusals.append(Refusal(f"h.{n}.norm", 8, (f"h.{n}.norm.weight",), "it is normalised over"))
    lines = page(groups, refusals, shapes).splitlines()
    assert [" ".join(line.split()) for line in lines[-3:]] == [
        "h.0-11 (12 alike)",
        "up 32 units 512 parameters read by h.0-11.down",
        "left whole, it is normalised over: h.0-11.norm (8 each)",
    ]
    groups[5] = units("h.5.up", 16, ["h.5.up.weight"], [], {"h.5.down.weight": column(16)})
    folders = [line.split(" ")[0] for line in page(groups, [], shapes).splitlines() if line.startswith("h.")]
    assert folders == ["h.0-4", "h.5", "h.6-11"]


def test_no_line_is_longer_than_a_window() -> None:
    readers = {f"a_long_name_of_a_module.{n}.another_long_name.{'x' * n}": column(4) for n in range(5)}
    group = units("net.fc1", 4, ["net.fc1.weight"], ["net.fc1.bias"], readers)
    refusal = Refusal("head", 2, ("head.weight",), "it is an output " * 12, "leave it " * 12)
    assert max(map(len, page([group], [refusal], SHAPES).splitlines())) <= 100


def test_an_empty_plan() -> None:
    assert page([], [], {}) == "0 groups, 0 gates; they reach 0 of 0 parameters (0.0%); left ungated: 0"


def test_entries_come_in_the_order_of_the_model_whatever_the_order_of_groups() -> None:
    one = units("net.fc1", 4, ["net.fc1.weight"], [], {"net.fc2.weight": column(4)})
    two = units("net.fc2", 3, ["net.fc2.weight"], [], {"head.weight": column(3)})
    assert page([one, two], [], SHAPES) == page([two, one], [], SHAPES)


def test_blocks_and_branches_are_told_from_the_first_to_the_last() -> None:
    blocks = [
        GateGroup(
            "net", 2, "depth", (), blocks=tuple(Block(f"net.{n}", "removed", (f"net.{n}.a.weight",)) for n in "01")
        ),
        GateGroup(
            "net.*.a", 2, "depth", (), blocks=tuple(Block(f"net.{n}.a", "zero", (f"net.{n}.a.weight",)) for n in "01")
        ),
    ]
    lines = page(blocks, [], {"net.0.a.weight": (2, 3), "net.1.a.weight": (2, 2)}).splitlines()
    assert [" ".join(line.split()) for line in lines[4:]] == [
        "net 2 blocks 10 parameters net.0 to net.1, each as a whole",
        "net.*",
        "a 2 branches 10 parameters net.0.a to net.1.a, each as a whole",
    ]
