"""What a norm should see of a stream whose units have gates, while it trains: writes norm_fill.csv and norm_fill.md.

    python figures/norm_fill.py                    # 800 steps to half of the width, three seeds: eight minutes
    python figures/norm_fill.py --steps 3000

A character model (width 64, two layers, the licences that Debian ships as text), whose stream is cut by a budget on its
width and settles at 80 % of the training. In eval mode a closed unit is out of the statistics of every norm in all
variants; they differ in what the norm sees while gates are drawn: the gates z themselves, who is open (z != 0), or who
is open with the gradient of z ("straight through"); and in whether its weight has the factor sqrt(k / n) that the
purged norm will have, or what reads it gets as much as before. Rows are added to the CSV as they are made, and those
that are there are not made again.
"""

import math
from pathlib import Path

import torch
from by_hand import GATE, SETTLES, Pull, drawn, likeliest, set_rate, start
from script import HERE, head, line, parser
from torch import nn
from torch.nn import functional as F

from lzero import Recorder
from lzero_lab.files import write_text

WIDTH, LAYERS, HEADS, LENGTH, BATCH = 64, 2, 4, 48, 24
SEES = ("z itself", "who is open", "straight through")


class Norm(nn.LayerNorm):
    """LayerNorm over the open units of ``x``: closed positions get the mean of the open ones."""

    def forward(self, x, z, sees, factor):
        seen = (z != 0).to(z.dtype)
        if self.training and sees != "who is open":
            seen = z if sees == "z itself" else seen.detach() + z - z.detach()
        open_ = seen.sum().clamp_min(1e-3)
        x = seen * x + (1 - seen) * (x * seen).sum(-1, keepdim=True) / open_
        weight = self.weight * (open_ / WIDTH).sqrt() if factor else self.weight
        return F.layer_norm(x, (WIDTH,), weight, self.bias, self.eps)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norms = nn.ModuleList(Norm(WIDTH) for _ in range(2))
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x, z, *how):
        heads = self.qkv(self.norms[0](x, z, *how) * z).view(*x.shape[:2], 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norms[1](x, z, *how) * z)))


class Characters(nn.Module):
    """Next characters; weights that read the stream are divided by E[z], as ``attach_gates`` does."""

    def __init__(self, letters, mean):
        super().__init__()
        self.letters, self.places = nn.Embedding(letters, WIDTH), nn.Embedding(LENGTH, WIDTH)
        self.blocks, self.norm = nn.ModuleList(Block() for _ in range(LAYERS)), Norm(WIDTH)
        self.head = nn.Linear(WIDTH, letters)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                narrow = isinstance(module, nn.Embedding)
                nn.init.normal_(module.weight, 0, 0.05 if narrow else 0.5 / math.sqrt(module.weight.shape[1]))
        with torch.no_grad():
            for reader in (*(layer for block in self.blocks for layer in (block.qkv, block.up)), self.head):
                reader.weight /= mean

    def forward(self, ids, z, *how):
        x = self.letters(ids) + self.places.weight
        for block in self.blocks:
            x = block(x, z, *how)
        return self.head(self.norm(x, z, *how) * z)


def text():
    """Training and validation part of the text, as numbers of letters."""
    files = sorted(Path("/usr/share/common-licenses").iterdir())[:14]
    content = "".join(file.read_text(encoding="utf-8", errors="ignore") for file in files)[:300_000]
    number = {letter: index for index, letter in enumerate(sorted(set(content)))}
    ids = torch.tensor([number[letter] for letter in content])
    return ids[: int(0.9 * len(ids))], ids[int(0.9 * len(ids)) :], len(number)


def loss_on(model, ids, z, how, generator):
    starts = torch.randint(len(ids) - LENGTH - 1, (BATCH,), generator=generator)
    x, y = (torch.stack([ids[start + shift : start + shift + LENGTH] for start in starts]) for shift in (0, 1))
    return F.cross_entropy(model(x, z, *how).flatten(0, 1), y.flatten())


def train(how, target, seed, steps):
    """The validation loss in nats of a training that ends with a share ``target`` of the stream."""
    training, validation, letters = text()
    torch.manual_seed(seed)
    log_alpha = start(WIDTH)
    model = Characters(letters, GATE.mean(log_alpha.detach()))
    weights, pull = torch.optim.Adam(model.parameters(), 2e-3), Pull(log_alpha, target, steps)
    generator, held = torch.Generator().manual_seed(seed), None
    for step in range(steps):
        set_rate(weights, step, steps)
        p = GATE.probability(log_alpha)
        if step == int(SETTLES * steps):
            held = (GATE.mean(log_alpha) * likeliest(p, target)).detach()
        z = drawn(log_alpha)
        loss = loss_on(model, training, z if held is None else held, how, generator)
        weights.zero_grad()
        log_alpha.grad = None
        loss.backward()
        weights.step()
        if held is None:
            pull.step(p, step)
    model.eval()
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        return sum(float(loss_on(model, validation, held, how, generator)) for _ in range(20)) / 20


def main():
    made = parser(__doc__, data_dir=False, workers=False)
    made.add_argument("--steps", type=int, default=800)
    made.add_argument("--target", type=float, default=0.5)
    made.add_argument("--seeds", type=int, default=3)
    options = made.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    place = HERE / "norm_fill.csv"
    rows = Recorder.from_csv(place) if place.exists() else Recorder()
    for seed in range(options.seeds):
        for factor in (True, False):
            for sees in SEES:
                cell = {"steps": options.steps, "target": options.target, "seed": seed, "sees": sees}
                cell["factor"] = "sqrt(k / n)" if factor else "none"
                if not any(cell.items() <= row.items() for row in rows.rows):
                    loss = train((sees, factor), options.target, seed, options.steps)
                    rows.append(**cell, loss=loss)
                    rows.to_csv(place)
    write_text(HERE / "norm_fill.md", table(rows.rows))


def table(rows):
    """The means over seeds, a table a length of training and target."""
    lines = ["# What a norm sees of a gated stream while it trains", ""]
    lines += ["Made by `python figures/norm_fill.py`: validation loss in nats, mean over seeds.", ""]
    for steps, target in sorted({(row["steps"], row["target"]) for row in rows}):
        lines += [f"{steps:.0f} steps, {target:.0%} of the width stays:", ""]
        lines += head(["the norm sees", "weight times sqrt(k / n)", "weight as it is", "seeds"])
        for sees in SEES:
            own = [row for row in rows if (row["steps"], row["target"], row["sees"]) == (steps, target, sees)]
            columns = [[row["loss"] for row in own if row["factor"] == factor] for factor in ("sqrt(k / n)", "none")]
            means = [f"{sum(losses) / len(losses):.3f}" if losses else "–" for losses in columns]
            lines.append(line([sees, *means, str(max(map(len, columns)))]))
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
