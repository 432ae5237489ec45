"""What a training shipped in numbers, and the purged model that they are of."""

import json

import pytest

from lzero.constraints import Budgets, Constraint
from lzero_lab.errors import DataError
from lzero_lab.training.evaluation import error
from lzero_lab.training.recipe import Recipe
from lzero_lab.training.summary import Summary, ship, summarise
from lzero_lab.training.training import Training


@pytest.fixture(scope="module")
def shipped(data):
    training = Training(Recipe(target=0.3, steps=4), data).run()
    return training, ship(training)


def test_a_summary_is_of_the_purged_model(shipped, data):
    training, result = shipped
    summary = summarise(training, result)
    assert summary.shipped == result.certificate.deployed["params"] <= 0.3 < summary.before_settling
    assert summary.parameters == sum(parameter.numel() for parameter in result.model.parameters())
    assert summary.parameters_before == 50_610 and summary.within_one_unit
    assert summary.validation_error == error(result.model, data.validation_x, data.validation_y)
    assert summary.test_error == error(result.model, data.test_x, data.test_y)


def test_a_budget_with_room_left_is_not_met_within_one_unit(shipped, monkeypatch):
    training, result = shipped
    monkeypatch.setattr(training, "budgets", lambda: Budgets([Constraint(0.35)], training.gates))
    assert not summarise(training, result).within_one_unit


def test_a_dense_training_ships_its_model_as_it_is(data):
    training = Training(Recipe(method="dense", steps=2), data).run()
    result = ship(training)
    assert result.model is training.model and result.kept == {} and result.certificate.asked == {}
    assert result.certificate.parameters == result.certificate.parameters_before == 50_610
    assert summarise(training, result).shipped == 1.0


def test_a_smaller_dense_network_is_told_by_its_share(data):
    training = Training(Recipe(method="same_size", target=0.3, steps=2), data).run()
    certificate = ship(training).certificate
    assert certificate.deployed["params"] == certificate.parameters / 50_610 <= 0.3


def test_it_comes_back_from_json(shipped):
    summary = summarise(*shipped)
    assert Summary.from_dict(json.loads(json.dumps(summary.to_dict()))) == summary


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"further": 1}, "summary: expected the entries before_settling, parameters, .* found .*further"),
        ({"test_error": "low"}, "summary, test_error: expected a number, found 'low'"),
    ],
)
def test_other_entries_are_refused(shipped, change, message):
    with pytest.raises(DataError, match=message):
        Summary.from_dict(summarise(*shipped).to_dict() | change)
