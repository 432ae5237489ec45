"""What recipes have for networks that need a GPU: less precision, compilation, augmentation, schedules."""

import json
from dataclasses import replace

import pytest
import torch

from lzero_lab import datasets
from lzero_lab.models.wide_resnet import WideResNet
from lzero_lab.training.recipe import Recipe
from lzero_lab.training.training import Training

RECIPE = Recipe(
    "wrn-10-1", target=0.5, ignore=WideResNet.STREAMS, steps=6, batch_size=16, optimizer="sgd", nesterov=True, lr=0.1,
    weight_decay=5e-4, schedule="cosine", augment=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def data():
    digits = datasets.load("digits")
    parts = {name: getattr(digits, name)[:60] for name in ("train_x", "train_y", "validation_x", "validation_y")}
    return replace(digits, **parts)


def test_the_recipe_comes_back_from_json():
    assert Recipe.from_dict(json.loads(json.dumps(RECIPE.to_dict()))) == RECIPE


@pytest.mark.parametrize("change", [{}, {"bf16": True}, {"estimator": "arm"}], ids=str)
def test_a_resumed_training_is_the_uninterrupted_one_to_the_bit(data, tmp_path, change):
    recipe = replace(RECIPE, **change)
    straight, broken = Training(recipe, data).run(), Training(recipe, data)
    broken.run_epoch()
    broken.save(tmp_path / "checkpoint.pt")
    resumed = Training(recipe, data).load(tmp_path / "checkpoint.pt").run()
    weights = resumed.model.state_dict()
    assert all(tensor.equal(weights[name]) for name, tensor in straight.model.state_dict().items())


def test_only_what_is_inside_the_blocks_is_gated(data):
    assert list(Training(RECIPE, data).gates.slices) == [f"stages.{stage}.0.conv1" for stage in range(3)]


def test_bfloat16_rounds_the_products_and_leaves_weights_and_gates_exact(data):
    one, other = (Training(replace(RECIPE, bf16=on, lr=1e-3), data) for on in (False, True))
    losses = [training.run_epoch()["loss"] for training in (one, other)]
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=0.02)
    assert {parameter.dtype for parameter in other.model.parameters()} == {torch.float32}
    assert other.objective(data.train_x[:8], data.train_y[:8]).dtype == torch.float32
    assert {parameter.dtype for parameter in other.purge().model.parameters()} == {torch.float32}


@pytest.mark.parametrize("model", ["lenet5", pytest.param("wrn-10-1", marks=pytest.mark.slow)])
def test_a_compiled_network_trains_alike_without_compiling_anew_and_ships_a_plain_one(data, model):
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    recipe = replace(
        RECIPE, model=model, ignore=RECIPE.ignore if model == RECIPE.model else (), lr=1e-3, steps=12, finetune=0.0
    )
    one, other = (Training(replace(recipe, compile=backend), data) for backend in ("", "eager"))
    rows, graphs = [one.run_epoch(), other.run_epoch()], []
    assert rows[0]["loss"] == pytest.approx(rows[1]["loss"], rel=1e-4)
    assert rows[0]["expected"] == pytest.approx(rows[1]["expected"], rel=1e-4)
    while other.step < other.steps:
        other.run_epoch()
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert len(graphs) == 2 and graphs[0] == graphs[1]
    result = other.purge()
    assert result.certificate.deployed["params"] <= 0.5
    assert result.model._compiled_call_impl is None and other.model._compiled_call_impl is not None


def test_weights_of_a_dense_training_decay_too(data):
    norms = []
    for decay in (0.0, 0.5):
        training = Training(replace(RECIPE, method="dense", target=None, weight_decay=decay), data).run()
        norms.append(sum(float(p.detach().square().sum()) for p in training.model.parameters()))
    assert norms[1] < 0.9 * norms[0]
