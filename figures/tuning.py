"""How the rates of the MNIST study were chosen: single trainings, compared on the validation set; writes tuning.csv.

    python figures/tuning.py --data-dir <folder with MNIST's IDX files>

What it taught, seed 0 (the validation set has 5,000 images: 0.2 points are within chance), and by what is in the study:

- SGD with momentum generalises better than Adam at the same budget (MLP, 26.6 %), and plain weight decay helps it.
- Gates drawn for each example, means of the weights and a short fine-tuning change next to nothing for hard concrete.
- A start at an open probability of 0.7 with slow gates is worse: the network learns under gates that stay undecided.
- At 7.6 % fast gates (2e-2) that leave more units in the first layer, an early end of the annealing, and longer decay
  are each better; with 100 epochs and slow gates the training error is 0, and the test error no better.
- At 7.6 % in 30 epochs, gate rates of 2e-2 to 1e-1 and annealing over a third to four fifths of the training are alike
  on validation (1.50 to 1.56 %, means of two seeds). Gates drawn for each example (1.44 %) and gradual magnitude
  pruning (1.39 %), which keeps half as many units in the second layer and more pixels, are a little better. That is
  not for its layers' widths: hard-concrete gates with budgets by layer that give the same widths have 1.67 %.
- Gates at the library's default rate, 2e-2 at these lengths, are as good at 26.6 % as at 5e-3 (1.23 and 1.25 % on
  validation, means of two seeds): the study leaves the rate to the library, at all budgets.
- At 7.6 % the set may settle at 80 or 90 % of the training (1.39 and 1.37 %); at 70 and 60 % is worse (1.49, 1.45 %).
- At 7.6 % deterministic gates have 1.69 % at the default rate and 1.64 % at 5e-3; log-normal gates drawn for each
  example 1.57 % at the default rate, once a batch 1.71 %.
- At 7.6 % longer trainings gain nothing on validation: 100 epochs of log-normal gates have 1.62 %, log-normal gates for
  each example at 1e-2 1.59 %, and hard concrete for each example 1.44 % in 100 epochs, as in 30.
- At the default rate a single λ ends near the budget at 0.3 (26.6 %: 25.6 % are open) and 2 (7.6 %: 7.9 %).
- A λ for each layer is better the closer its own density is to the budget it is settled on at the end.
- ARM needs fast gates, and fine-tuning: its gates are still undecided when the constraint settles them. At 2.3 % of
  LeNet-5 it keeps one map of the second convolution and guesses at rates of 2e-3, 5e-3 and 2e-2; at 5e-2 it has 1.50 %
  on validation, at 1e-1 1.24 %.
"""

from script import HERE, parser

from lzero_lab.studies.cell import Cell
from lzero_lab.studies.cells import run_cells
from lzero_lab.training.recipe import Recipe

MLP = {"model": "mlp", "granularity": "input", "target": 0.266, "epochs": 40, "gate_lr": 5e-3, "finetune": 0.0}
SGD = MLP | {"optimizer": "sgd", "lr": 0.1}
SMALL = SGD | {"target": 0.076}
FAST = SMALL | {"gate_lr": 2e-2}
SHORT = SGD | {"epochs": 15, "weight_decay": 5e-4, "gate_lr": 2e-2}
BRIEF = SMALL | {"epochs": 30, "weight_decay": 5e-4, "gate_lr": 2e-2, "finetune": 0.2}
PRUNED = BRIEF | {"method": "magnitude", "estimator": "mask", "gate_lr": 5e-3, "weight_decay": 1e-3}
BY_LAYER = SGD | {"method": "penalized", "epochs": 30, "weight_decay": 5e-4, "finetune": 0.2}
LENET = {"model": "lenet5", "granularity": "input", "optimizer": "sgd", "lr": 0.05, "weight_decay": 5e-4}
LENET |= {"gate_lr": 2e-2, "finetune": 0.0}
TINY = LENET | {"target": 0.023, "epochs": 15, "bf16": True, "finetune": 0.2}
EARLY = {"solver": (("anneal_steps", 12_000),)}
QUICK = {"solver": (("anneal_steps", 4_000),)}
LATE = {"solver": (("anneal_steps", 10_000),)}
PENALTY = BRIEF | {"method": "penalized", "gate_lr": None}
NOISY = {"estimator": "log_normal", "open_probability": 0.9}
LONG = {"epochs": 100}
MEAN = {"schedule": "cosine", "ema": 0.999}
RECIPES = [
    MLP,
    MLP | {"per_example": True},
    MLP | {"per_example": True, "finetune": 0.2},
    MLP | {"per_example": True, "gate_lr": 1e-2},
    MLP | {"per_example": True, "ema": 0.999},
    MLP | {"per_example": True, "gate_lr": 2e-3, "open_probability": 0.7},
    SGD | {"lr": 0.03, "weight_decay": 1e-4},
    SGD | {"weight_decay": 3e-4},
    SGD | {"weight_decay": 3e-4, "seed": 1},
    SGD | {"weight_decay": 1e-3},
    SHORT | {"estimator": "arm", "gate_lr": 5e-3},
    SHORT | {"estimator": "arm"},
    SHORT | {"estimator": "arm", "finetune": 0.3},
    SHORT | {"estimator": "log_normal", "gate_lr": 1e-2, "open_probability": 0.9},
    MLP | {"target": 0.076},
    SMALL | {"weight_decay": 3e-4},
    SMALL | {"weight_decay": 1e-3, "finetune": 0.2},
    SMALL | {"weight_decay": 2e-3, "finetune": 0.2},
    FAST | {"weight_decay": 1e-3},
    FAST | {"weight_decay": 1e-3, "epochs": 80, "decay": 0.6} | EARLY,
    FAST | {"weight_decay": 1e-3, "epochs": 80, "decay": 0.6, "seed": 1} | EARLY,
    FAST | {"weight_decay": 5e-4, "epochs": 80, "decay": 1.0} | MEAN,
    FAST | {"weight_decay": 5e-4, "epochs": 80, "decay": 1.0, "seed": 1} | MEAN,
    FAST | {"weight_decay": 1e-3, "epochs": 80} | MEAN | EARLY,
    *(BRIEF | {"gate_lr": rate, "seed": seed} for rate in (5e-2, 1e-1) for seed in (0, 1)),
    *(BRIEF | {"weight_decay": 1e-3, "seed": seed} for seed in (0, 1)),
    *(BRIEF | {"gate_lr": 5e-2, "weight_decay": 1e-3, "seed": seed} | QUICK for seed in (0, 1)),
    *(BRIEF | {"per_example": True, "seed": seed} for seed in (0, 1)),
    *(BRIEF | {"per_example": True, "weight_decay": 1e-3, "seed": seed} | LATE for seed in (0, 1)),
    *(PRUNED | {"seed": seed} for seed in (0, 1)),
    *(BRIEF | {"target": None, "scope": {"fc1": 0.0752, "fc2": 0.071, "fc3": 0.28}, "seed": seed} for seed in (0, 1)),
    *(BY_LAYER | {"coefficient": {"fc1": a, "fc2": b, "fc3": 0.0}} for a, b in ((1.0, 0.3), (1.0, 1.0), (0.5, 0.5))),
    *(
        BY_LAYER | {"target": 0.076, "gate_lr": 2e-2, "coefficient": {"fc1": a, "fc2": b, "fc3": 0.0}}
        for a, b in ((3.0, 1.0), (3.0, 3.0), (1.0, 1.0))
    ),
    *(
        BRIEF | {"estimator": "deterministic", "gate_lr": rate, "seed": seed}
        for rate in (None, 5e-3, 2e-2)
        for seed in (0, 1)
    ),
    *(BRIEF | {"gate_lr": None, "seed": seed} for seed in (0, 1)),
    *(SHORT | {"gate_lr": rate, "finetune": 0.2, "epochs": 30, "seed": s} for rate in (None, 5e-3) for s in (0, 1)),
    *(BRIEF | {"finetune": share, "seed": seed} for share in (0.1, 0.3, 0.4) for seed in (0, 1)),
    *(BRIEF | NOISY | {"gate_lr": None, "per_example": True, "seed": seed} for seed in (0, 1)),
    *(BRIEF | NOISY | {"gate_lr": None, "seed": seed} for seed in (0, 1)),
    *(BRIEF | NOISY | LONG | {"gate_lr": 1e-2, "seed": seed} for seed in (0, 1)),
    *(BRIEF | NOISY | {"gate_lr": 1e-2, "per_example": True, "seed": seed} for seed in (0, 1)),
    *(BRIEF | LONG | {"gate_lr": None, "per_example": True, "seed": seed} for seed in (0, 1)),
    *(PENALTY | {"target": 0.266, "coefficient": value} for value in (0.3, 0.5)),
    *(PENALTY | {"target": 0.076, "coefficient": value} for value in (2.0,)),
    *(PENALTY | {"target": 0.266, "coefficient": {"fc1": a, "fc2": a, "fc3": 0.0}} for a in (0.2, 0.3)),
    LENET | {"target": 0.077, "epochs": 20},
    LENET | {"target": 0.023, "epochs": 40, "bf16": True, "solver": (("anneal_steps", 6_000),)} | MEAN,
    *(TINY | {"estimator": "arm", "gate_lr": rate} for rate in (2e-3, 5e-3, 2e-2, 5e-2, 1e-1)),
    *(TINY | {"estimator": "arm", "gate_lr": rate, "target": 0.077} for rate in (5e-2, 1e-1)),
]


def main() -> None:
    options = parser(__doc__).parse_args()
    cells = [Cell("mnist", Recipe(**recipe), options.data_dir) for recipe in RECIPES]
    rows = run_cells(cells, HERE / "tuning.csv", workers=options.workers).rows
    by_cell = {row["cell"]: row for row in rows}
    for row in (by_cell[cell.key] for cell in cells if cell.key in by_cell):
        print(f"validation error {row['validation_error']:.2%}, shipped {row['shipped']:.2%}: {row['cell']}")


if __name__ == "__main__":
    main()
