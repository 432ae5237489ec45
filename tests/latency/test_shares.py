"""Narrow models: the widths that are said of them are those of their tensors."""

from itertools import pairwise

import pytest
import torch
from plans import CASES, column, plan_of, units
from torch import nn

from lzero.host.copies import private_copy
from lzero.host.inputs import ExampleInputs
from lzero.latency.shares import kept, narrow_models, uneven
from lzero.plan.ownership import alive_positions


@pytest.mark.parametrize("name", ["mlp", "lenet", "batch norm"])
def test_widths_are_those_of_the_tensors(name):
    found = {case.replace("_", " "): case for case in CASES}
    model, plan = CASES[found.get(name, name)]()
    model = private_copy(model)
    sides = {
        key.rpartition(".")[0]: tuple(((key, dim, plan.shapes[key][dim]),) for dim in (0, 1)) for key in plan.positions
    }
    inputs = ExampleInputs.of(plan.example_inputs)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    models = narrow_models(model, plan, inputs, sides)
    assert models[0].model is model and models[0].share == 1.0 and len(models) == 6
    for one in models:
        for path, widths in one.widths.items():
            assert tuple(one.model.get_submodule(path).weight.shape[:2]) == widths
        inputs.call(one.model)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_shares_of_a_group_are_spread_evenly():
    shares = [uneven(["a", "b", "c"], number) for number in range(4)]
    for name in "abc":
        values = sorted(share[name] for share in shares)
        assert 0.1 <= values[0] < 0.3 and 0.7 <= values[-1] < 1
        assert max(b - a for a, b in pairwise(values)) == pytest.approx(0.2)
    assert all(len(set(share.values())) == 3 for share in shares)


def test_one_unit_is_kept_at_least_and_features_with_their_units():
    plan = CASES["lenet"]()[1]
    keep = kept(plan, dict.fromkeys((group.name for group in plan.groups), 0.01))
    assert {name: int(mask.sum()) for name, mask in keep.items()} == dict.fromkeys(keep, 1)
    channel, feature = int(keep["conv2"].nonzero()), int(keep["fc1.input"].nonzero())
    assert feature // 4 == channel
    assert all(mask.all() for mask in kept(plan, {}).values())
    alive = alive_positions(plan.groups, keep, plan.shapes)
    assert int(alive["fc1.weight"][1].sum()) == 1


def test_narrow_models_that_do_not_run_are_left_out():
    class Stubborn(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc2 = nn.Linear(5, 8), nn.Linear(8, 2)

        def forward(self, x):
            x = self.fc1(x)
            if x.shape[1] < 4:
                raise ValueError("too narrow")
            return self.fc2(x)

    model = Stubborn().eval()
    plan = plan_of(model, [units("fc1", 8, ["fc1.weight"], ["fc1.bias"], {"fc2.weight": column(8)})], {}, None)
    found = narrow_models(model, plan, ExampleInputs.of(torch.randn(2, 5)), {})
    shares = [
        1.0,
        *(round(share["fc1"], 3) for share in (uneven(["fc1"], n) for n in range(4)) if share["fc1"] > 3 / 8),
    ]
    assert [one.share for one in found] == shares and 1 < len(shares) < 5


def test_gates_of_single_weights_narrow_nothing():
    model, plan = CASES["weights"]()
    assert len(narrow_models(private_copy(model), plan, ExampleInputs.of(plan.example_inputs), {})) == 1
