"""Where units lie in a norm: everywhere as often as their neighbours, or they are refused."""

import numpy as np
import pytest

from lzero.tracing.label import Classes
from lzero.tracing.norm_call import NormSite
from lzero.tracing.norm_places import UNEVEN, norms_of

NONE = np.zeros(0, dtype=np.int64)


def placed(labels, roots=(1, 2), groups=0):
    """The norms over units 1 and 2 of a dim with these ``labels``; every label is a class of its own."""
    everywhere = np.arange(10)
    classes = Classes(NONE, NONE, NONE.astype(bool), NONE, (), (), everywhere)
    site = NormSite("norm", np.array(labels), -1, (-1,), groups, "mean", "weight", "bias", "eps")
    return norms_of(np.array(roots), [site], classes)


def test_positions_of_every_unit():
    (norm,) = placed([1, 2, 0, 1, 2, 5])
    assert norm.index.tolist() == [[0, 3], [1, 4]] and norm.length == 6
    assert (norm.path, norm.statistic, norm.weight, norm.bias, norm.eps) == ("norm", "mean", "weight", "bias", "eps")


def test_a_norm_of_other_units_is_none_of_theirs():
    assert placed([0, 3, 4]) == []


@pytest.mark.parametrize("labels", [[1, 1, 2], [1], [0, 2, 2]])
def test_units_that_come_more_often_than_others_are_refused(labels):
    assert placed(labels) is UNEVEN


def test_in_channel_groups_every_group_has_as_many():
    (norm,) = placed([1, 2, 1, 2], groups=2)
    assert norm.index.tolist() == [[0, 2], [1, 3]]
    assert placed([1, 1, 2, 2], groups=2) is UNEVEN
