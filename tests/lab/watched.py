"""Folders of trainings as files alone, for tests of what is read from them."""

from lzero.recorder import Recorder
from lzero_lab.files import write_json
from lzero_lab.training.recipe import Recipe

RECIPE = Recipe(target=0.1, epochs=10)


def epochs(count, settles=8, target=0.1, per_epoch=9):
    """Rows of the first ``count`` of ten epochs: annealing for four, settled from ``settles`` on; 2 seconds each."""
    return [
        {
            "epoch": n,
            "step": per_epoch * n,
            "loss": 2.0 / n,
            "error": 0.5 / n,
            "seconds": 2.0 * n,
            "expected": 0.2,
            "deployed": 1.0 if n < 4 else 0.1,
            "settled": float(n >= settles),
            "target": target,
            "annealed_target": max(target, 1 - 0.25 * n),
            "multiplier": 0.5 * n,
        }
        for n in range(1, count + 1)
    ]


def written(path, rows):
    """A CSV of the rows at ``path``."""
    recorder = Recorder()
    for row in rows:
        recorder.append(**row)
    path.parent.mkdir(parents=True, exist_ok=True)
    recorder.to_csv(path)
    return path


def run_folder(path, count, command="train", **config):
    """A run folder with so many epochs."""
    named = {"command": command} if command else {}
    write_json(path / "config.json", {**named, "data": "digits", "recipe": RECIPE.to_dict(), **config})
    if count:
        written(path / "rows.csv", epochs(count))
    return path


def end(path):
    """The end of the training in a run folder."""
    numbers = {"before_settling": 0.11, "shipped": 0.0999, "within_one_unit": True, "parameters": 5060}
    errors = {"validation_error": 0.031, "test_error": 0.029, "parameters_before": 50610, "seconds": 20.0}
    write_json(path / "summary.json", numbers | errors)
    return path
