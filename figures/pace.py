"""Whether gates of the MLP at 7.6 % gain by moving in other ways: writes pace.csv and pace.md.

    python figures/pace.py --data-dir <folder with MNIST's IDX files>

The MNIST study's hard concrete at that budget, changed in one way each: a temperature that falls while the target
does, pixels whose gates begin to move later than those of the units, and rates by how many gates a group has. Each is
what a user of the library can write: an estimator of one's own, and an optimizer of one's own for the gates. They are
compared on the validation set, on which the study's choices were made too; its 5,000 images leave 0.2 points to chance.
What it taught: none of them is told apart from the study's gates by its error. Pixels that wait for a quarter of the
training are more in the end, and the units of the first layer fewer; the error stays where it was.
Rows are added to the CSV as they are made, and those that are there are not made again.
"""

import math
from dataclasses import dataclass, replace
from statistics import mean, stdev
from unittest import mock

import torch
from script import HERE, head, line, parser

from lzero import HardConcrete, Recorder, Solver
from lzero.solver.gate_optimizer import default_gate_lr
from lzero_lab.datasets import load
from lzero_lab.files import write_text
from lzero_lab.studies.study import Study
from lzero_lab.studies.workers import run_tasks
from lzero_lab.training import methods
from lzero_lab.training.summary import ship, summarise
from lzero_lab.training.training import Training

BUDGET, METHOD = "mlp 7.6 % params", "hard concrete, constrained"
SEEDS = (0, 1, 2)
COLUMNS = ("variant", "seed", "before settling", "shipped", "validation error", "kept")


@dataclass(frozen=True)
class Variant:
    """One way for gates to move.

    Attributes:
        temperatures: of the gates at the start, and once the target is what was asked for.
        wait: share of the training before the gates of pixels move.
        power: a group's rate is the default times (gates of the group / geometric mean of all groups) ** power.
    """

    temperatures: tuple[float, float] = (2 / 3, 2 / 3)
    wait: float = 0.0
    power: float = 0.0


VARIANTS = {
    "as in the study": Variant(),
    "temperature from 2/3 to 1/3": Variant(temperatures=(2 / 3, 1 / 3)),
    "temperature from 1 to 1/3": Variant(temperatures=(1.0, 1 / 3)),
    "pixels from 10 % of the training on": Variant(wait=0.1),
    "pixels from 25 % of the training on": Variant(wait=0.25),
    "faster gates in larger groups": Variant(power=0.5),
    "faster gates in smaller groups": Variant(power=-0.5),
}


class Paced(torch.optim.Adam):
    """Adam on the gates; a gate's moves are multiplied by its ``factor`` [G], and 0 until its step ``begins`` [G]."""

    def __init__(self, log_alpha, lr, factor, begins):
        super().__init__([log_alpha], lr=lr)
        self.factor, self.begins, self.steps = factor, begins, 0

    def step(self, closure=None):
        (log_alpha,) = self.param_groups[0]["params"]
        before = log_alpha.detach().clone()
        super().step(closure)
        with torch.no_grad():
            moves = self.factor * (self.steps >= self.begins)
            log_alpha.copy_(before + moves * (log_alpha - before))
        self.steps += 1


def sizes_and_pixels(gates):
    """How many gates the group of every gate has, and which gates are of pixels: [G] each."""
    sizes, pixels = torch.empty(len(gates)), torch.zeros(len(gates), dtype=torch.bool)
    largest = max(gates.sizes)  # 784 pixels, 300 units, 100 units
    for where, size in zip(gates.slices.values(), gates.sizes, strict=True):
        sizes[where], pixels[where] = size, size == largest
    return sizes, pixels


class Cooling(HardConcrete):
    """Gates whose temperature is set anew after every epoch."""

    def cool(self, temperature):
        object.__setattr__(self, "temperature", temperature)


def train(name, seed, data_dir):
    """The row of one training."""
    variant = VARIANTS[name]
    first, last = variant.temperatures
    estimator = Cooling(first)
    with mock.patch.dict(methods.ESTIMATORS, cooling=estimator):
        training = Training(replace(study_recipe(seed), estimator="cooling"), load("mnist", data_dir))
    gates, steps, annealed = training.gates, training.steps, training.steps // 2
    sizes, pixels = sizes_and_pixels(gates)
    middle = math.exp(mean(math.log(size) for size in gates.sizes))
    training.trainer = Solver(
        gates,
        constraints=training.recipe.constraints,
        total_steps=steps,
        anneal_steps=annealed,
        finetune=0.0,  # the training settles
        optimizer=Paced(
            gates.log_alpha, default_gate_lr(steps), (sizes / middle) ** variant.power, pixels * variant.wait * steps
        ),
        fresh=True,
    )
    training.run(progress=lambda row: estimator.cool(first + (last - first) * min(1.0, training.step / annealed)))
    result = ship(training)
    found = summarise(training, result)
    kept = " ".join(f"{int(mask.sum())}/{mask.numel()}" for mask in result.kept.values())
    values = (name, seed, found.before_settling, found.shipped, found.validation_error, kept)
    return dict(zip(COLUMNS, values, strict=True))


def study_recipe(seed):
    """What the study trains at the budget."""
    for cell in Study.read("mnist").cells():
        labels = dict(cell.labels)
        if (labels["budget"], labels["label"], cell.recipe.seed) == (BUDGET, METHOD, seed):
            return cell.recipe
    raise LookupError(f"no {METHOD} at {BUDGET} with seed {seed}")


def table(rows):
    """The page of these ``rows``."""
    lines = [
        f"# Gates that move in other ways, {BUDGET.replace('mlp', 'MLP')}",
        "",
        "Made by `python figures/pace.py`. Validation errors in per cent, mean and standard deviation over "
        f"{len(SEEDS)} seeds; pixels and units of both layers that are kept, seed 0.",
        "",
        *head(["gates", "validation error", "before settling", "kept"]),
    ]
    for name in VARIANTS:
        of_it = sorted((row for row in rows if row["variant"] == name), key=lambda row: row["seed"])
        errors, before = ([100 * row[column] for row in of_it] for column in ("validation error", "before settling"))
        found = f"{mean(errors):.2f} ± {stdev(errors):.2f}"
        first, second, pixels = (part.partition("/")[0] for part in str(of_it[0]["kept"]).split())
        lines.append(line([name, found, f"{mean(before):.2f}", f"{pixels}-{first}-{second}"]))
    return "\n".join(lines) + "\n"


def main():
    options = parser(__doc__).parse_args()
    path = HERE / "pace.csv"
    recorder = Recorder.from_csv(path) if path.exists() else Recorder()
    made = {(row["variant"], row["seed"]) for row in recorder}
    left = [(name, seed, options.data_dir) for seed in SEEDS for name in VARIANTS if (name, seed) not in made]

    def keep(row):
        recorder.append(**row)
        recorder.to_csv(path)

    run_tasks(train, left, keep, options.workers)
    write_text(HERE / "pace.md", table(recorder.rows))


if __name__ == "__main__":
    main()
