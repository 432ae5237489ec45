"""Trainings: resumed to the bit, apart from each other, and settled, averaged and fine-tuned as their recipe says."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from lzero.errors import NonFiniteError
from lzero_lab.errors import DataError
from lzero_lab.training.checkpoint import read_checkpoint
from lzero_lab.training.evaluation import error
from lzero_lab.training.recipe import Recipe
from lzero_lab.training.summary import summarise
from lzero_lab.training.training import Training

RECIPES = {
    "constrained, adam": Recipe(target=0.3),
    "constrained, sgd": Recipe(target=0.3, optimizer="sgd", lr=0.1),
    "constrained, layers": Recipe(target=0.5, scope="layer", measure="macs"),
    "constrained, inputs, nuPI": Recipe(target=0.3, granularity="input", solver=(("dual", "nupi"),)),
    "constrained, each example": Recipe(target=0.3, per_example=True),
    "constrained, mean weights, fine-tuned": Recipe(target=0.3, ema=0.9, finetune=0.7),
    "constrained, ARM": Recipe(target=0.3, estimator="arm"),
    "constrained, deterministic": Recipe(target=0.3, estimator="deterministic"),
    "constrained, log-normal": Recipe(target=0.5, estimator="log_normal", open_probability=0.9),
    "constrained, bfloat16, expected L2": Recipe(target=0.3, bf16=True, l2=1e-3),
    "penalized": Recipe(method="penalized", coefficient=1.0),
    "penalized, by layer, settled": Recipe(method="penalized", coefficient={"fc1": 1.0, "fc2": 0.5}, target=0.3),
    "evidence lower bound": Recipe(method="elbo", estimator="log_normal", solver=(("warm_up_steps", 3),)),
    "magnitude": Recipe(method="magnitude", estimator="mask", target=0.3, solver=(("every", 2),)),
    "same size": Recipe(method="same_size", target=0.3),
    "dense": Recipe(method="dense"),
}


def without_seconds(training):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in training.recorder.rows]


def assert_same(one, other):
    assert without_seconds(one) == without_seconds(other)
    twin = other.model.state_dict()
    assert all(tensor.equal(twin[name]) for name, tensor in one.model.state_dict().items())


@pytest.mark.parametrize("name", RECIPES, ids=str)
def test_a_resumed_training_is_the_uninterrupted_one_to_the_bit(name, data, tmp_path):
    recipe = replace(RECIPES[name], epochs=4)
    straight = Training(recipe, data).run()
    broken = Training(recipe, data)
    for _ in range(2):
        broken.run_epoch()
    broken.save(tmp_path / "checkpoint.pt")
    torch.rand(7)  # another process has another history of draws
    resumed = Training(recipe, data).load(tmp_path / "checkpoint.pt")
    assert resumed.epoch == 2
    resumed.run()
    assert_same(straight, resumed)
    assert [row["epoch"] for row in resumed.recorder.rows] == [1, 2, 3, 4]


def test_every_epoch_leaves_a_checkpoint_that_continues(data, tmp_path):
    recipe = Recipe(target=0.3, epochs=3)
    path = tmp_path / "checkpoint.pt"

    def stop(row):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Training(recipe, data).run(stop, str(path))
    assert read_checkpoint(path)["epoch"] == 2
    assert_same(Training(recipe, data).load(path).run(), Training(recipe, data).run())


def test_a_finished_training_loads_and_has_nothing_left_to_do(data, tmp_path):
    recipe = Recipe(target=0.3, epochs=1)
    finished = Training(recipe, data).run(checkpoint=str(tmp_path / "checkpoint.pt"))
    again = Training(recipe, data).load(tmp_path / "checkpoint.pt").run()
    assert_same(finished, again)
    assert again.purge().certificate == finished.purge().certificate


def test_trainings_in_one_process_do_not_disturb_each_other_or_the_caller(data):
    recipes = [Recipe(target=0.3, epochs=2), Recipe(method="penalized", coefficient=1.0, epochs=2)]
    torch.manual_seed(5)
    before = torch.get_rng_state()
    alone = [Training(recipe, data).run() for recipe in recipes]
    assert torch.get_rng_state().equal(before)
    torch.manual_seed(6)
    one, other = (Training(recipe, data) for recipe in recipes)
    for _ in range(2):
        other.run_epoch()
        one.run_epoch()
    assert_same(alone[0], one)
    assert_same(alone[1], other)


def test_another_seed_is_another_training(data):
    losses = {Training(Recipe(target=0.3, epochs=1, seed=seed), data).run_epoch()["loss"] for seed in range(3)}
    assert len(losses) == 3


def test_steps_end_a_training_within_an_epoch(data):
    training = Training(Recipe(target=0.3, steps=4, batch_size=100), data).run()
    assert [row["step"] for row in training.recorder.rows] == [3, 4]


def test_a_truncated_checkpoint_is_refused_and_the_training_left_as_it_was(data, tmp_path):
    path = tmp_path / "checkpoint.pt"
    training = Training(Recipe(target=0.3, epochs=1), data)
    training.save(path)
    before = copy.deepcopy(training.model.state_dict())
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(DataError, match=r"checkpoint\.pt: not readable as saved tensors .*delete it and train anew"):
        training.load(path)
    assert all(tensor.equal(before[name]) for name, tensor in training.model.state_dict().items())


@pytest.mark.parametrize(
    ("content", "reason"),
    [({"epoch": 3}, "expected the entries .*, found no .*"), ([1, 2], "expected named entries, found a list")],
    ids=["other entries", "a list"],
)
def test_a_file_that_is_no_checkpoint_is_refused(content, reason, tmp_path):
    torch.save(content, tmp_path / "checkpoint.pt")
    with pytest.raises(DataError, match=f"{reason}; delete it and train anew"):
        read_checkpoint(tmp_path / "checkpoint.pt")


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "checkpoint.pt")
    with pytest.raises(DataError, match="not readable as saved tensors"):
        read_checkpoint(tmp_path / "checkpoint.pt")


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(DataError, match=r"checkpoint\.pt: .*No such file"):
        read_checkpoint(tmp_path / "checkpoint.pt")


def test_a_checkpoint_of_another_recipe_is_refused_with_what_differs(data, tmp_path):
    Training(Recipe(target=0.3, epochs=1), data).save(tmp_path / "checkpoint.pt")
    other = Training(Recipe(target=0.3, epochs=2, lr=0.1), data)
    with pytest.raises(DataError, match="saved with another epochs, lr; resume with the options it was begun with"):
        other.load(tmp_path / "checkpoint.pt")


def test_a_loss_that_is_not_a_number_ends_the_training(data):
    broken = replace(data, train_x=torch.full_like(data.train_x, torch.nan))
    for recipe in (Recipe(target=0.3, epochs=2), Recipe(method="dense", epochs=2)):
        with pytest.raises(NonFiniteError, match="the mean loss of epoch 1 is nan; lower the learning rate"):
            Training(recipe, broken).run()


def test_fine_tuning_moves_the_weights_under_gates_that_are_settled(data):
    training = Training(Recipe(target=0.3, epochs=4, finetune=0.5), data)
    training.run_epoch()
    training.run_epoch()
    gates, weight = training.gates.log_alpha.detach().clone(), training.model.fc1.weight.detach().clone()
    training.run()
    assert training.gates.log_alpha.equal(gates) and not training.model.fc1.weight.equal(weight)
    result = training.purge()
    assert result.certificate.deployed["params"] <= 0.3
    shipped = error(result.model, data.validation_x, data.validation_y)
    assert shipped == training.recorder.rows[-1]["error"]  # the last row tells what is shipped


def test_mean_weights_are_what_is_validated_and_shipped(data):
    recipe = Recipe(target=0.9, epochs=2, ema=0.9)
    training = Training(recipe, data)
    mean = training.model.fc3.bias.detach().clone()
    step = training._average.update
    seen = []
    training._average.update = lambda: (step(), seen.append(training.model.fc3.bias.detach().clone()))
    training.run()
    for number, bias in enumerate(seen):
        decay = min(0.9, (1 + number) / (10 + number))
        mean = decay * mean + (1 - decay) * bias
    torch.testing.assert_close(training.purge().model.fc3.bias, mean)
    assert training.model.fc3.bias.equal(seen[-1])


def test_a_penalized_training_with_a_target_is_settled_on_it(data):
    recipe = Recipe(method="penalized", coefficient=0.1, target=0.3, steps=5, gate_lr=2e-2)
    certificate = Training(recipe, data).run().purge().certificate
    assert certificate.before_settling["params"] > 0.9 and 0.25 < certificate.deployed["params"] <= 0.3
    assert certificate.asked == {"params": 0.3} and certificate.moved > 0
    tuned = Training(replace(recipe, finetune=0.2), data)
    result = tuned.run().purge()
    assert result.certificate.before_settling["params"] > 0.9 and 0.25 < result.certificate.deployed["params"] <= 0.3
    assert result.certificate.moved > 0 and result.certificate.asked == {"params": 0.3}
    assert summarise(tuned, result).within_one_unit and summarise(tuned, result).before_settling > 0.9


def test_the_rate_of_the_gates_is_the_recipes_or_follows_the_length(data):
    def moved(**change):
        training = Training(Recipe(**{"target": 0.3, "steps": 1, **change}), data)
        before = training.gates.log_alpha.detach().clone()
        training.run()
        return float((training.gates.log_alpha.detach() - before).abs().max())

    assert moved() == pytest.approx(0.2, rel=1e-3)  # Adam's first step is its rate
    assert moved(gate_lr=0.01) == pytest.approx(0.01, rel=1e-3)
    assert moved(method="penalized", coefficient=1.0, gate_lr=0.01) == pytest.approx(0.01, rel=1e-3)
    training = Training(Recipe(target=0.3, epochs=1), data)
    held = [parameter for group in training.optimizer.param_groups for parameter in group["params"]]
    assert len(held) == 6 and {id(p) for p in held} == {id(p) for p in training.model.parameters()}


def test_what_settling_has_chosen_is_told_by_the_certificate_and_not_by_warnings(data, recwarn):
    certificate = Training(Recipe(target=0.3, steps=2, gate_lr=1e-3), data).run().purge().certificate
    assert "settling, and not the training, has chosen what is shipped" in str(certificate)
    assert not [warning for warning in recwarn if "settling, and not the training, has" in str(warning.message)]


def test_a_training_that_begins_with_weights_gates_the_network_that_they_are_of(data):
    dense = Training(Recipe(method="dense", epochs=2, batch_size=64), data).run()
    recipe = Recipe(target=0.5, steps=40, batch_size=64, start="dense", open_probability=0.999)
    begun = Training(recipe, data, dense.model.state_dict())
    for training in (begun, dense):
        training.model.eval()
    assert begun.model(data.test_x).allclose(dense.model(data.test_x), atol=1e-4)


def test_weights_and_the_recipe_must_agree_about_the_beginning(data):
    start = Training(Recipe(method="dense"), data).model.state_dict()
    with pytest.raises(DataError, match="start: expected weights for 'a', none was given"):
        Training(Recipe(method="dense", start="a"), data)
    with pytest.raises(DataError, match="start: expected weights for 'nothing', the recipe has no start"):
        Training(Recipe(method="dense"), data, start)
    with pytest.raises(DataError, match="start: weights of another network than lenet5"):
        Training(Recipe(model="lenet5", method="dense", start="a"), data, start)
