"""The words of a granularity: one spelling for each, and what each asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lzero.plan.granularity import COARSE, FINE, WORDS, granularities, spelled, words_of


def test_all_of_them_are_written_out():
    coarse = ["width", "depth", "experts", "width+depth", "width+experts", "depth+experts", "width+depth+experts"]
    assert sorted(granularities()) == sorted(
        ["unit", "input", "weight", *coarse, *(f"input+{name}" for name in coarse)]
    )


@given(st.sampled_from(granularities()), st.randoms(use_true_random=False))
def test_words_in_any_order_are_spelled_in_one(granularity, random):
    words = granularity.split("+")
    random.shuffle(words)
    assert spelled("+".join(words)) == granularity == spelled(granularity)
    assert words_of("+".join(words)) == words_of(granularity)


@given(st.sampled_from([name for name in granularities() if name not in ("unit", "weight")]), st.integers(0, 3))
def test_units_need_not_be_named_beside_others(granularity, place):
    words = granularity.split("+")
    words.insert(place % (len(words) + 1), "unit")
    assert spelled("+".join(words)) == granularity


@given(st.lists(st.sampled_from([*WORDS, "Depth", "", " width", "layer"]), min_size=1, max_size=4))
def test_what_is_spelled_is_one_of_them_or_left_as_it_was(words):
    asked = "+".join(words)
    found = spelled(asked)
    known = len(set(words)) == len(words) and set(words) <= set(WORDS)
    assert found == asked or (known and found in granularities()) or ("weight" in words and known)
    assert known or found == asked
    assert spelled(found) == found


def test_weights_with_anything_else_are_none_of_them():
    assert spelled("weight+depth") not in granularities() and spelled("depth+weight") not in granularities()


@pytest.mark.parametrize("granularity", granularities())
def test_units_go_with_all_but_weights(granularity):
    words = words_of(granularity)
    assert ("unit" in words) == (granularity != "weight")
    assert words - {"unit"} == set(granularity.split("+")) - {"unit"}
    assert words <= {*FINE, *COARSE}
