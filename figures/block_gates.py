"""What a block should be multiplied by while its gate is drawn: writes block_gates.csv and block_gates.md.

    python figures/block_gates.py                    # 800 steps to half and a quarter of the blocks, three seeds
    python figures/block_gates.py --steps 3000 --device cuda

A character model (width 64, eight attention and eight MLP branches, the licences that Debian ships as text), whose
branches f have a gate each, x + z f(x). A budget closes some, and the training settles at 80 % of its steps. While
gates are drawn a branch is multiplied by z itself, or by whether it is open (z != 0) with the gradient of z. Afterwards
it is there or not, which is what purging can say of any block; E[z] in that place, which it can say of some, is there
to compare. Rows are added to the CSV as they are made, and those that are there are not made again.
"""

import torch
from axes_training import name_of
from by_hand import GATE, SETTLES, Pull, drawn, likeliest, set_rate, start
from norm_fill import BATCH, HEADS, LENGTH, WIDTH, text
from script import HERE, head, line, parser
from torch import nn
from torch.nn import functional as F

from lzero import Recorder
from lzero_lab.files import write_text

LAYERS = 8
DRAWN, AFTER = ("z itself", "open or closed"), ("open or closed", "E[z]")


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        heads = self.qkv(self.norm(x)).view(*x.shape[:2], 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        return self.out(F.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).flatten(2))


class Characters(nn.Module):
    """Next characters, by branches that are multiplied by the entries of ``z``."""

    def __init__(self, letters):
        super().__init__()
        self.letters, self.places = nn.Embedding(letters, WIDTH), nn.Embedding(LENGTH, WIDTH)
        mlp = [
            nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
            for _ in range(LAYERS)
        ]
        pairs = [branch for pair in zip((Attention() for _ in range(LAYERS)), mlp, strict=True) for branch in pair]
        self.branches, self.norm, self.head = nn.ModuleList(pairs), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, letters)

    def forward(self, ids, z):
        x = self.letters(ids) + self.places.weight
        for branch, gate in zip(self.branches, z, strict=True):
            x = x + gate * branch(x)
        return self.head(self.norm(x))


def batch_of(ids, generator, device):
    starts = torch.randint(len(ids) - LENGTH - 1, (BATCH,), generator=generator)
    x, y = (torch.stack([ids[start + shift : start + shift + LENGTH] for start in starts]) for shift in (0, 1))
    return x.to(device), y.to(device)


def train(seen, after, target, seed, steps, device):
    """The validation loss in nats of a training that ends with a share ``target`` of the branches."""
    training, validation, letters = text()
    torch.manual_seed(seed)
    model = Characters(letters).to(device)
    log_alpha = start(2 * LAYERS)
    weights, pull = torch.optim.Adam(model.parameters(), 2e-3), Pull(log_alpha, target, steps)
    generator, held = torch.Generator().manual_seed(seed), None
    for step in range(steps):
        set_rate(weights, step, steps)
        p = GATE.probability(log_alpha)
        if step == int(SETTLES * steps):
            kept = likeliest(p, target)
            held = kept if after == "open or closed" else (GATE.mean(log_alpha) * kept).detach()
        z = drawn(log_alpha)
        if seen == "open or closed":
            z = (z != 0).to(z.dtype) + z - z.detach()
        x, y = batch_of(training, generator, device)
        loss = F.cross_entropy(model(x, (z if held is None else held).to(device)).flatten(0, 1), y.flatten())
        weights.zero_grad()
        log_alpha.grad = None
        loss.backward()
        weights.step()
        if held is None:
            pull.step(p, step)
    model.eval()
    generator = torch.Generator().manual_seed(9)
    total = 0.0
    with torch.no_grad():
        for _ in range(20):
            x, y = batch_of(validation, generator, device)
            total += float(F.cross_entropy(model(x, held.to(device)).flatten(0, 1), y.flatten()))
    return total / 20


def main():
    made = parser(__doc__, data_dir=False, workers=False)
    made.add_argument("--steps", type=int, default=800)
    made.add_argument("--targets", type=float, nargs="+", default=[0.5, 0.25])
    made.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    made.add_argument("--device", default="cpu")
    made.add_argument("--csv", default=HERE / "block_gates.csv")
    options = made.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    rows = Recorder.from_csv(options.csv) if HERE.joinpath(options.csv).exists() else Recorder()
    for seed in options.seeds:
        for target in options.targets:
            for seen in DRAWN:
                for after in AFTER:
                    cell = {"steps": options.steps, "target": target, "seed": seed, "drawn": seen, "after": after}
                    if not any(cell.items() <= row.items() for row in rows.rows):
                        loss = train(seen, after, target, seed, options.steps, options.device)
                        rows.append(**cell, device=name_of(options.device), loss=loss)
                        rows.to_csv(options.csv)
    write_text(HERE / "block_gates.md", table(rows.rows))


def table(rows):
    """The means over seeds, a table a length of training and target."""
    lines = ["# What a block is multiplied by while its gate is drawn", ""]
    steps = " ".join(f"`--steps {number:.0f}`" for number in sorted({row["steps"] for row in rows}))
    devices = " and ".join(sorted({row["device"] for row in rows}))
    lines += [f"Made by `python figures/block_gates.py` with {steps}, on {devices}.", ""]
    lines += ["Validation loss in nats, mean (lowest to highest) over seeds.", ""]
    for steps, target in sorted({(row["steps"], row["target"]) for row in rows}):
        lines += [f"{steps:.0f} steps, {target:.0%} of the branches stay:", ""]
        lines += head(["while drawn", "afterwards open or closed", "afterwards E[z]", "seeds"])
        for seen in DRAWN:
            own = [row for row in rows if (row["steps"], row["target"], row["drawn"]) == (steps, target, seen)]
            columns = [[row["loss"] for row in own if row["after"] == after] for after in AFTER]
            means = [f"{sum(c) / len(c):.3f} ({min(c):.3f} to {max(c):.3f})" if c else "–" for c in columns]
            lines.append(line([seen, *means, str(max(map(len, columns)))]))
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
