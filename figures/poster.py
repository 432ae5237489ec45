"""Training dynamics of a constraint against penalties, as on the poster of the formulation: poster.md and two figures.

    python figures/poster.py --data-dir <folder with MNIST's IDX files> [--only mlp lenet5] [--workers 2] [--device cpu]

MLP and LeNet-5 on MNIST with the budgets of the poster, a third and a tenth of the parameters, by the recipe of the
study; beside them the penalty of Louizos et al. (lambda = 0.1 for each parameter and example), a tenth of it and ten
times as much. Density and its target, multiplier, training loss and error of every epoch are in poster/. Errors are of
the test set, because the published ones are the best of all epochs there: nothing is chosen by them. Trainings that are
there already are left alone, and one that was stopped goes on from its last epoch.
"""

import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch
from script import HERE, head, line, parser
from torch import nn

from lzero.plots import dynamics, save
from lzero.recorder import Recorder
from lzero_lab import datasets
from lzero_lab.files import write_text
from lzero_lab.studies.study import Study
from lzero_lab.training.evaluation import error
from lzero_lab.training.recipe import Recipe
from lzero_lab.training.training import Training

ROWS = HERE / "poster"
PARAMETERS = {"mlp": 266_610, "lenet5": 431_080}
TARGETS = {"mlp": 0.33, "lenet5": 0.10}
EXAMPLES = 60_000  # N of the papers
PUBLISHED = {  # architecture (what each layer reads), test error of the best epoch: the poster
    "mlp": ("198-233-100", 0.014),
    "lenet5": ("20-21-34-407", 0.0053),
}


def trainings(models: list[str]) -> dict[str, Recipe]:
    """Name -> recipe."""
    study, made = Study.read("mnist"), {}
    for model in models:
        base = Recipe(model=model, **study.networks[model])
        made[f"{model}-constrained"] = replace(base, target=TARGETS[model])
        for factor in (0.1, 1.0, 10.0):
            coefficient = factor * 0.1 * PARAMETERS[model] / EXAMPLES
            made[f"{model}-penalized-{factor:g}"] = replace(
                base, method="penalized", coefficient=coefficient, finetune=0.0
            )
    return made


def train(name: str, recipe: Recipe, data_dir: str, device: str, folder: str) -> str:
    """One training: its rows, with the test error of every epoch and, in the last one, what it ships."""
    torch.set_num_threads(1)
    checkpoint, path = Path(folder) / f"{name}.pt", ROWS / f"{name}.csv"
    if path.exists():
        return f"{name}: there already"
    data = datasets.load("mnist", data_dir).to(device)
    training = Training(recipe, data)
    errors: dict[int, float] = {}
    if checkpoint.exists():
        training.load(checkpoint)
        errors = {int(row["epoch"]): row["error"] for row in Recorder.from_csv(checkpoint.with_suffix(".csv"))}
    while training.step < training.steps:
        row = training.run_epoch()
        errors[int(row["epoch"])] = error(training.model, data.test_x, data.test_y)
        seen = Recorder()
        for epoch, value in errors.items():
            seen.append(epoch=epoch, error=value)
        seen.to_csv(checkpoint.with_suffix(".csv"))
        training.save(checkpoint)
    result, rows = training.purge(), Recorder()
    last = {
        "shipped": result.certificate.deployed["params"],
        "shipped_error": error(result.model, data.test_x, data.test_y),
        "architecture": reads(result.model),
    }
    for row in training.recorder:
        known = {**row, "error": errors[int(row["epoch"])]}
        rows.append(**known, **(last if row["step"] == training.step else {}))
    rows.to_csv(path)
    return f"{name}: {last}, best epoch {min(errors.values()):.4f}"


def reads(model: nn.Module) -> str:
    """What each layer reads, as the papers write it: the channels that convolutions make, the inputs of Linears."""
    sizes = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            sizes.append(module.out_channels)
        if isinstance(module, nn.Linear):
            sizes.append(module.in_features)
    return "-".join(map(str, sizes))


def main() -> None:
    accepted = parser(__doc__)
    accepted.add_argument("--only", nargs="+", choices=list(TARGETS), default=list(TARGETS))
    accepted.add_argument("--device", default="cpu")
    accepted.add_argument("--epochs", type=int, help="default: those of the study")
    accepted.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "poster", help="of checkpoints")
    options = accepted.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    ROWS.mkdir(exist_ok=True)
    asked = trainings(options.only)
    if options.epochs:
        asked = {name: replace(recipe, epochs=options.epochs) for name, recipe in asked.items()}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.workers, mp_context=spawn) as pool:
        waiting = [
            pool.submit(train, name, recipe, options.data_dir, options.device, str(options.folder))
            for name, recipe in asked.items()
        ]
        for one in waiting:
            print(one.result(), flush=True)
    write_page()


def write_page() -> None:
    """poster.md, and a figure a network, of what is there."""
    columns = ["network", "training", "asked", "epochs", "shipped params", "what layers read", "test error"]
    lines = [
        "# Dynamics",
        "",
        "Made by `python figures/poster.py`: the density that is asked for is reached and held; a penalty ends where",
        "it ends. Test errors of what is shipped after the last epoch, and in brackets of the best epoch, which is",
        "what the poster prints. One seed; times 1 is lambda = 0.1 of Louizos et al. Rows of all epochs: poster/.",
        "",
        *head(columns),
    ]
    pictures = []
    for model, target in TARGETS.items():
        runs = {}
        for name in trainings([model]):
            if (ROWS / f"{name}.csv").exists():
                runs[name.removeprefix(f"{model}-").replace("d-", "d, times ")] = Recorder.from_csv(
                    ROWS / f"{name}.csv"
                )
        for label, rows in runs.items():
            last, best = rows.rows[-1], min(row["error"] for row in rows)
            asked = f"{target:.0%}" if label == "constrained" else "–"
            errors = f"{last['shipped_error']:.2%} ({best:.2%})"
            lines.append(
                line([model, label, asked, str(len(rows)), f"{last['shipped']:.2%}", last["architecture"], errors])
            )
        architecture, published = PUBLISHED[model]
        lines.append(
            line([model, "*poster, published*", f"{target:.0%}", "–", "–", architecture, f"({published:.2%})"])
        )
        if runs:
            figure, _ = dynamics(runs, target, multiplier="multiplier_loss_units", error_label="test error")
            pictures += ["", f"![Dynamics of {model}](poster-{model}.png)"]
            save(figure, HERE / f"poster-{model}.png")
    write_text(HERE / "poster.md", "\n".join([*lines, *pictures]) + "\n")


if __name__ == "__main__":
    main()
