"""Recipes: from plain values and back, refused by field; and the types that values are held against."""

import json
import math
from collections.abc import Mapping
from typing import Any, Literal

import pytest

from lzero.constraints import Constraint
from lzero_lab.errors import DataError
from lzero_lab.training.recipe import Recipe, is_of_type, type_in_words

SEVERAL = float | Mapping[str, float]


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        (1, int),
        (1, float),
        (0.5, float),
        (None, int | None),
        ("a", Literal["a", "b"]),
        ({"fc1": 1, "fc2": 0.5}, SEVERAL),
        ({}, SEVERAL),
        (("a",), tuple[str, ...]),
        (False, bool),
        (object(), Any),
    ],
)
def test_values_that_fit(value, type_):
    assert is_of_type(value, type_)


@pytest.mark.parametrize(
    ("value", "type_", "words"),
    [
        (True, int, "a whole number"),
        (True, float, "a finite number"),
        (1.5, int, "a whole number"),
        ("1", float, "a finite number"),
        (math.nan, float, "a finite number"),
        (-math.inf, SEVERAL, "a finite number or a table of names and values"),
        ({"fc1": "much"}, SEVERAL, "a finite number or a table of names and values"),
        (None, int, "a whole number"),
        ("x", int | None, "a whole number"),
        ("c", Literal["a", "b"], "one of a, b"),
        (1, bool, "true or false"),
        (["a"], tuple[str, ...], "a list"),
    ],
)
def test_values_that_do_not_fit_are_told_what_is_expected(value, type_, words):
    assert not is_of_type(value, type_) and type_in_words(type_) == words


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(target=0.3),
        Recipe(scope={"fc1": 0.5, "fc2": 0.4}, measure="macs"),
        Recipe(target=0.2, solver=(("dual", "nupi"), ("dual_lr", 0.1))),
        Recipe(target=0.2, also={"macs": 0.1}),
    ],
)
def test_a_recipe_comes_back_from_json(recipe):
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_a_recipe_with_unknown_entries_is_refused():
    with pytest.raises(DataError, match=r"recipe: .*epoch_count"):
        Recipe.from_dict({"epoch_count": 3})


@pytest.mark.parametrize(
    "values", [{"lr": 1}, {"coefficient": {"fc1": 1.0}}, {"scope": {"fc1": 0.5}}, {"seed": -(2**63)}]
)
def test_a_recipe_of_sound_values_is_made_as_it_is(values):
    recipe = Recipe.from_dict(values)
    assert all(getattr(recipe, name) is value for name, value in values.items())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lr": "fast"}, "lr: expected a finite number, found 'fast'"),
        ({"lr": True}, "lr: expected a finite number, found True"),
        ({"lr": math.nan}, "lr: expected a finite number, found nan"),
        ({"lr": 1e300}, r"lr: expected at most 1e\+30, found 1e\+300"),
        ({"weight_decay": 1e31}, r"weight_decay: expected at most 1e\+30"),
        ({"epochs": 2.0}, "epochs: expected a whole number, found 2.0"),
        ({"epochs": 0}, "epochs: expected at least 1, found 0"),
        ({"steps": True}, "steps: expected a whole number, found True"),
        ({"bf16": 1}, "bf16: expected true or false, found 1"),
        ({"seed": 2**64}, "seed: expected a whole number from"),
        ({"coefficient": {"fc1": "1"}}, "coefficient: expected a finite number or a table"),
        ({"schedule": "steps"}, "schedule: expected one of linear, cosine, drops, found 'steps'"),
        ({"measure": "flops"}, "measure: expected one of params, macs, gates"),
        ({"ignore": "fc1"}, "ignore: expected a list"),
        (
            {"target": 0.1, "also": {"params": 0.2}},
            "also: expected another measure than .*, macs, gates, latency, found",
        ),
        ({"target": 0.1, "also": {"flops": 0.2}}, "also: expected another measure .* found 'flops'"),
        ({"target": 0.1, "also": {"macs": "0.2"}}, "also: expected a table"),
        ({"also": {"macs": 0.2}}, "also: goes beside a target"),
        ({"target": 0.1, "method": "same_size", "also": {"macs": 0.2}}, "also: a same_size training has no gates"),
        ([], "recipe: expected a table of fields"),
    ],
)
def test_a_recipe_of_other_values_is_refused_with_the_field(values, message):
    with pytest.raises(DataError, match=message):
        Recipe.from_dict(values)


def test_what_widths_are_rounded_to_is_written_where_it_is_asked_for():
    assert "round_to" not in Recipe().to_dict() and Recipe(round_to=8).to_dict()["round_to"] == 8
    assert Recipe.from_dict(Recipe(round_to=8).to_dict()).round_to == 8 and Recipe.from_dict({}).round_to == 1
    with pytest.raises(DataError, match="round_to: expected at least 1, found 0"):
        Recipe(round_to=0)


def test_further_budgets_are_of_the_whole_model_and_stand_beside_any_target():
    macs = Constraint(0.1, "macs")
    assert Recipe(target=0.2, also={"macs": 0.1}).constraints == [Constraint(0.2), macs]
    by_layer = Recipe(scope={"fc1": 0.5}, also={"macs": 0.1}).constraints
    assert by_layer == [Constraint(0.5, within="fc1"), macs]
    assert "also" not in Recipe(target=0.2).to_dict()
