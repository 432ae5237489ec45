"""The row of one training of a study: what was trained, and what the training and its purge have found."""

from __future__ import annotations

import json
from collections.abc import Mapping

import torch

from lzero.purge import PurgeResult
from lzero.recorder import Row, Value
from lzero_lab.training.evaluation import share_of_operations
from lzero_lab.training.recipe import Recipe
from lzero_lab.training.summary import summarise
from lzero_lab.training.training import Training


def of_recipe(recipe: Recipe) -> Row:
    """The columns that say what was trained."""
    return {
        "model": recipe.model,
        "method": recipe.method,
        **({} if recipe.target is None else {"asked": recipe.target}),
        "coefficient": _text(recipe.coefficient),
        "measure": recipe.measure,
        "scope": _text(recipe.scope),
        "granularity": recipe.granularity,
        "batch_size": recipe.batch_size,
        "optimizer": recipe.optimizer,
        "loss_scale": recipe.loss_scale,
        "seed": recipe.seed,
    }


def of_result(training: Training, result: PurgeResult) -> Row:
    """The columns that the training and the purge have found, as plain values.

    ``before_settling`` is the deployed density before settling, ``shipped`` that of the purged model, both of the whole
    model in the measure of the recipe. ``slack`` is asked minus shipped, the smallest over the parts of a layer-wise
    budget; ``within_one_unit`` is 1 where no further unit would fit. ``gates`` counts those that are trained by
    P(z != 0) at the end. ``error`` is the purged model's on the test set at the end of training, ``validation_error``
    on the validation set.
    """
    summary, certificate = summarise(training, result), result.certificate
    slack = [certificate.asked[part] - certificate.deployed[part] for part in certificate.asked]
    kept = " ".join(f"{name}={int(mask.sum())}/{mask.numel()}" for name, mask in result.kept.items())
    return {
        "steps": training.step,
        "seconds": summary.seconds,
        "before_settling": summary.before_settling,
        "shipped": summary.shipped,
        "slack": min(slack, default=0.0),
        "within_one_unit": int(summary.within_one_unit),
        "epochs": training.epoch,
        "shipped_macs": share_of_operations(result.model, training.recipe.model, training.data),
        "shipped_params": certificate.parameters / certificate.parameters_before,
        "threshold": certificate.threshold,
        "moved": certificate.moved,
        "largest_difference": certificate.largest_difference or 0.0,
        "validation_error": summary.validation_error,
        "error": summary.test_error,
        **({"gates": gate_bins(training.recorder.rows[-1])} if training.trainer and training.trainer.trains else {}),
        **({"kept": kept} if kept else {}),
    }


def gate_bins(epoch: Row) -> str:
    """The counts of P(z != 0) in equal bins of 0..1 that the row of an ``epoch`` has, in one text."""
    return " ".join(str(epoch[name]) for name in sorted(epoch) if name.startswith("p_"))


def without_bins(row: Row) -> Row:
    """The ``row`` of an epoch without its histogram of gates."""
    return {name: value for name, value in row.items() if not name.startswith("p_")}


def device_name(device: str) -> str:
    """What rows call the ``device``: "cpu", or the model of a GPU."""
    return torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else device


def _text(value: Value | Mapping[str, float]) -> Value:
    return json.dumps(dict(value)) if isinstance(value, Mapping) else value
