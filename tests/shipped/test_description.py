"""The JSON beside the weights: back to the same, and refused when anything in it is not what it has to be."""

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lzero.errors import StructureError
from lzero.shipped.description import Description, _digest, ranges
from lzero.shipped.origin import Origin

SAID = Description(
    origin=Origin("Net", {"a.weight": (6, 4), "a.count": ()}, {"": "unit"}, 104),
    tensors={"a.weight": ("float32", (2, 4)), "a.count": ("int64", ())},
    tied=(("a.weight", "b.weight"),),
    weights=(1234, "0" * 64),
    certificate={"asked": {"params": 0.1}, "largest_difference": None, "warnings": []},
    kept={"a": (6, "0,3")},
)


def changed(**entries):
    """The JSON with other entries, and the checksum that belongs to it."""
    values = {name: value for name, value in json.loads(SAID.to_json()).items() if name != "sha256"} | entries
    return json.dumps(values | {"sha256": _digest(values)})


def test_it_comes_back_the_same():
    assert Description.from_json(SAID.to_json(), "here") == SAID
    assert Description.from_json(changed(), "here") == SAID  # however it is laid out
    assert Description.from_json(replace(SAID, tied=(), kept={}).to_json(), "here").kept == {}


def test_it_can_be_read_by_people():
    lines = SAID.to_json().splitlines()
    assert '  "a.weight": ["float32", [2, 4]],' in lines and ' "class": "Net",' in lines


@given(st.lists(st.booleans(), max_size=40))
def test_ranges_name_what_is_open(mask):
    text = ranges(torch.tensor(mask, dtype=torch.bool))
    found = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    assert found == {i for i, open_ in enumerate(mask) if open_}


def test_ranges_are_short():
    assert ranges(torch.tensor([1, 1, 1, 0, 1, 0, 1, 1]).bool()) == "0-2,4,6-7"


WRONG = {
    "no JSON": ("{", r"here: not readable as JSON \(JSONDecodeError\); save the purged model again"),
    "deep": ("[" * 100_000, r"here: not readable as JSON \(RecursionError\)"),
    "deep table": ('{"a": ' * 100_000, r"here: not readable as JSON \(RecursionError\)"),
    "a list": ("[]", r"here, the file: expected named entries, found \[\]"),
    "a number": ("3", "here, the file: expected named entries, found 3"),
    "a long number": ('{"format": ' + "9" * 10_000 + "}", "here: not readable as JSON"),
    "empty": ("{}", "here: expected format 1, found None"),
    "later format": (changed(format=2, lzero="9.0"), r"expected format 1, found 2; load it with the lzero .*'9\.0'"),
    "true format": (changed(format=True), "expected format 1, found True"),
    "another word": (SAID.to_json().replace("Net", "Mlp"), "here: damaged or changed, its checksum"),
    "another shape": (SAID.to_json().replace("[6, 4]", "[6, 3]"), "here: damaged or changed"),
    "class": (changed(**{"class": 3}), "here, class: expected a word, found 3"),
    "shapes": (changed(before={"a.weight": [6, -4]}), r"here, a\.weight: expected a whole number >= 0, found -4"),
    "float shape": (changed(before={"a.weight": [6.0]}), r"a\.weight: expected a whole number >= 0, found 6\.0"),
    "no shapes": (changed(before=[]), r"here, before: expected named entries, found \[\]"),
    "tensors": (changed(tensors={"x": ["float32"]}), r"here, x: expected a list, found \['float32'\]"),
    "dtype": (changed(tensors={"x": [[], []]}), r"here, x: expected a word, found \[\]"),
    "tied": (changed(tied=[[1]]), "here, tied: expected a word, found 1"),
    "weights": (changed(weights=[True, ""]), "here, weights: expected a whole number >= 0, found True"),
    "kept": (changed(kept={"a": [1, 2]}), "here, a: expected a word, found 2"),
    "certificate": (changed(certificate=None), "here, certificate: expected named entries, found None"),
}


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_anything_else_is_refused(case):
    text, message = WRONG[case]
    with pytest.raises(StructureError, match=message):
        Description.from_json(text, "here")
