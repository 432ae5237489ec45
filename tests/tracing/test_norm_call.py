"""What a module does with its input, read as a norm: which statistic, of which dim, ending in which parameters."""

import numpy as np
import pytest
import torch
from torch import nn

from lzero.plan.refusal import Reason
from lzero.tracing.label import fixed
from lzero.tracing.norm_call import NormCall, NormSite, Reduction, first_tensor

LABELS = np.arange(1, 5)
AXES = (*fixed((2, 3)), LABELS)
WHY = Reason("it mixes", "do not")


def called(*parts, eps=1e-5, axes=AXES, labels=LABELS, shape=(2, 3, 4), over=(-1,), groups=0):
    module = nn.Identity()
    module.eps = eps
    call = NormCall("norm", module, axes, {})
    call.reductions += [Reduction(part, labels, shape, over, groups, WHY, 0) for part in parts]
    return call


@pytest.mark.parametrize(
    ("parts", "statistic"),
    [
        (["norm"], "mean"),
        (["rms"], "square"),
        (["mean of squares"], "square"),
        (["mean", "mean of squares"], "mean"),
        (["mean", "variance"], "mean"),
        (["variance", "variance"], "mean"),
        (["length"], "length"),
    ],
)
def test_statistics_are_told_by_their_parts(parts, statistic):
    site = called(*parts).site(AXES)
    assert (site.path, site.statistic, site.dim, site.over) == ("norm", statistic, -1, (-1,))
    assert np.array_equal(site.labels, LABELS)


@pytest.mark.parametrize("parts", [["mean"], ["mean", "length"], ["maximum"]])
def test_other_statistics_are_refused_for_the_reason_of_the_first(parts):
    assert called(*parts).site(AXES) is WHY


def test_a_norm_returns_what_is_shaped_as_its_input():
    assert called("norm").site(None) is WHY
    assert called("norm").site(AXES[1:]) is WHY


def test_statistics_of_different_dims_are_refused():
    call = called("mean")
    call.reductions.append(Reduction("variance", np.arange(5, 9), (2, 3, 4), (-1,), 0, WHY, 1))
    assert call.site(AXES) is WHY


def test_the_dim_is_that_of_the_input_where_the_op_sees_it_turned_round():
    turned = (AXES[0], LABELS, AXES[1])
    site = called("norm", axes=turned).site(turned)
    assert (site.dim, site.over) == (-2, (-2,))
    assert called("norm", axes=turned, over=(-2, -1)).site(turned) is WHY  # nobody knows which dims those are


def test_a_dim_of_the_same_size_stands_in_for_labels_that_were_tied_to_others():
    assert called("norm", labels=np.arange(11, 15)).site(AXES).dim == -1
    twice = (np.arange(21, 25), AXES[1], LABELS)
    assert called("norm", labels=np.arange(11, 15), axes=twice, shape=(4, 3, 4)).site(twice) is WHY


def test_the_parameters_of_a_mean_follow_and_of_others_only_with_an_eps():
    def site(part, eps=1e-5, weights=("weight",), biases=("bias",)):
        call = called(part, eps=eps)
        call.weights += weights
        call.biases += biases
        found = call.site(AXES)
        return (found.weight, found.bias, found.eps) if isinstance(found, NormSite) else found

    assert site("norm") == ("weight", "bias", "eps")
    assert site("norm", weights=()) == ("", "bias", "eps")
    assert site("rms") == ("weight", "bias", "eps")
    assert site("rms", weights=()) == ("", "bias", "")
    assert site("rms", eps=None) == ("", "bias", "")
    assert site("length") == ("", "bias", "")
    assert site("norm", eps=1) == site("norm") and site("rms", eps=0) == site("rms")
    assert site("norm", weights=("a", "b")) is WHY and site("norm", biases=("a", "b")) is WHY
    refused = site("norm", eps=None)
    assert refused.text == WHY.text and "self.eps" in refused.advice


def test_a_number_of_steps_is_added_to_no_variance():
    call = called("norm", eps=None)
    call.module.steps = 3
    assert "self.eps" in call.site(AXES).advice
    call.module.eps = 1
    assert call.site(AXES).eps == "eps"


@pytest.mark.parametrize("eps", [0, 0.0])
def test_a_variance_of_one_unit_with_nothing_added_is_refused_with_the_way_out(eps):
    refused = called("norm", eps=eps).site(AXES)
    assert refused.text == WHY.text and "eps=1e-5" in refused.advice and "single open unit" in refused.advice
    over_space = called("norm", eps=eps, over=(-2, -1), groups=2, axes=(AXES[0], LABELS, *fixed((3,))), shape=(2, 4, 3))
    assert isinstance(over_space.site((AXES[0], LABELS, *fixed((3,)))), NormSite)


def test_channel_groups_count_their_dim_from_the_front():
    axes = (*fixed((2,)), LABELS, *fixed((3,)))
    site = called("norm", axes=axes, shape=(2, 4, 3), over=(-2, -1), groups=2).site(axes)
    assert (site.dim, site.over, site.channel_groups) == (1, (-2, -1), 2)


def test_the_first_tensor_of_a_call():
    one, two = torch.ones(1), torch.ones(2)
    assert first_tensor((True, one), {"x": two}) is one
    assert first_tensor((True,), {"flag": False, "x": two}) is two
    assert first_tensor((), {}) is None
