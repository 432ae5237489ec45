"""One training of axes.py, and how fast what it ships is."""

import math
import time
from dataclasses import asdict, dataclass
from functools import cache
from statistics import median

import torch
from axes_data import PARTS, Pictures, Text
from axes_models import Shape, build, inputs, parameters, shape_of
from torch import Tensor, nn
from torch.nn import functional as F

import lzero
from lzero.recorder import Row

DENSE = "dense"
LOOK, SPARE = 100, 10.0  # steps between two looks at the clock, and seconds kept for what comes after the training


@dataclass(frozen=True)
class Preset:
    """Sizes and lengths; ``batch`` is examples, ``rates`` those that the dense network is tried at."""

    width: int
    blocks: int
    head_width: int
    context: int
    batch: dict[str, int]
    windows: int
    steps: int
    rates: tuple[float, ...]

    @property
    def shape(self) -> Shape:
        """Of the network that gates are put on."""
        return Shape.regular(self.width, self.blocks, self.head_width)


PRESETS = {
    "full": Preset(192, 8, 32, 128, {"gpt": 32, "vit": 128}, 1024, 2000, (1e-3, 2e-3, 4e-3)),
    "small": Preset(32, 6, 8, 16, {"gpt": 8, "vit": 8}, 16, 40, (3e-3,)),
}


@dataclass(frozen=True)
class Cell:
    """One training.

    Attributes:
        preset: of :data:`PRESETS`.
        task: ``"gpt"`` or ``"vit"``.
        granularity: what is gated, as ``lzero.attach_gates`` takes it; :data:`DENSE` for a network without gates.
        asked: share of the parameters; of a dense network below 1, it is narrower from the start.
        steps: of the optimizer.
        lr: its highest rate.
        seed: of weights, batches and gates.
    """

    preset: str
    task: str
    granularity: str
    asked: float
    steps: int
    lr: float
    seed: int

    def in_(self, row: Row) -> bool:
        """Whether a row is of this training."""
        return asdict(self).items() <= row.items()


@cache
def task_of(preset: str, task: str, images: str, device: str) -> Text | Pictures:
    """The data of a task, once a process."""
    sizes = PRESETS[preset]
    if task == "gpt":
        return Text(sizes.context, sizes.batch[task], sizes.windows, device)
    return Pictures(images, sizes.batch[task], device)


def size(task: str, shape: Shape, preset: Preset) -> int:
    """Parameters of a network of this shape."""
    with torch.device("meta"):
        return parameters(build(task, shape, preset.context))


def narrower(task: str, preset: Preset, share: float) -> Shape:
    """The widest regular shape of at most this share of the parameters."""
    most = share * size(task, preset.shape, preset)
    shapes = (Shape.regular(width, preset.blocks, preset.head_width) for width in range(preset.width, 0, -1))
    return next(shape for shape in shapes if size(task, shape, preset) <= most)


def train(cell: Cell, images: str, device: str, deadline: float) -> Row | None:
    """The row of a training, evaluated as it is shipped; None where it would not end before the deadline."""
    if time.time() > deadline:
        return None
    preset, task = PRESETS[cell.preset], task_of(cell.preset, cell.task, images, device)
    model, solver = prepared(cell, preset, device)
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("high")
    step = fit(model, task, solver, cell, deadline)
    torch.set_float32_matmul_precision("highest")  # purging is checked, and what is shipped evaluated, exactly
    if step is None:
        return None
    row = {**asdict(cell), "data": task.name}
    if solver is not None:
        result = lzero.purge(model)
        model, certificate = result.model, result.certificate
        row |= {"before_settling": certificate.before_settling["params"], "difference": certificate.largest_difference}
    shape, count = shape_of(model, preset.head_width), parameters(model)
    row |= {"parameters": count, "share": count / size(cell.task, preset.shape, preset)}
    row |= {"width": shape.width, "blocks": len(shape.heads)}
    row |= {name: " ".join(map(str, getattr(shape, name))) for name in ("heads", "hidden")}
    for part in PARTS:
        loss, error = evaluate(model, task, part)
        row |= {f"{part}_loss": loss, f"{part}_error": error}
    return row | {"step_ms": round(1e3 * step, 2), "device": name_of(device), "torch": torch.__version__}


def name_of(device: str) -> str:
    """What the device is called, for rows to say."""
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else device


def prepared(cell: Cell, preset: Preset, device: str) -> tuple[nn.Module, lzero.Solver | None]:
    """A network with random weights on the device, and the solver of its gates where it has any."""
    whole = cell.granularity != DENSE or cell.asked == 1
    torch.manual_seed(cell.seed)
    shape = preset.shape if whole else narrower(cell.task, preset, cell.asked)
    model = build(cell.task, shape, preset.context)
    if cell.granularity == DENSE:
        return model.to(device), None
    gates = lzero.attach_gates(model, plan_of(cell.preset, cell.task, cell.granularity))
    return model.to(device), lzero.Solver(gates, cell.asked, total_steps=cell.steps)


@cache
def plan_of(preset: str, task: str, granularity: str) -> lzero.Plan:
    """What can be gated in the network of a task, once a process."""
    sizes = PRESETS[preset]
    with torch.random.fork_rng(devices=[]):
        model, x = build(task, sizes.shape, sizes.context), inputs(task, 2, sizes.context)
        return lzero.discover(model, x, granularity=granularity)


def fit(
    model: nn.Module, task: Text | Pictures, solver: lzero.Solver | None, cell: Cell, deadline: float
) -> float | None:
    """Seconds of a step, of a training by AdamW at a rate that rises for a twentieth, then falls as half a cosine.

    None where it was given up, because it would not end before the deadline.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=cell.lr, betas=(0.9, 0.95), weight_decay=0.05)
    generator = torch.Generator(task.device).manual_seed(cell.seed)
    model.train()
    first, begun = 0, time.time()
    for step in range(cell.steps):
        if step == LOOK:  # from here on, the device is warm
            first, begun = step, time.time()
        elif step and step % LOOK == 0:
            each = (time.time() - begun) / (step - first)
            if time.time() + SPARE + (cell.steps - step) * each > deadline:
                return None
        for group in optimizer.param_groups:
            group["lr"] = cell.lr * min(1, (step + 1) / (0.05 * cell.steps)) * falling(step / cell.steps)
        x, y = task.batch(generator)
        optimizer.zero_grad()
        loss_of(model(x), y).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if solver is not None:
            solver.step()
        optimizer.step()
    if task.device != "cpu":
        torch.cuda.synchronize()
    return (time.time() - begun) / (cell.steps - first)


def falling(progress: float) -> float:
    """Half a cosine, from 1 to 0."""
    return (1 + math.cos(math.pi * progress)) / 2


def loss_of(outputs: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy, of every position where there are several."""
    return F.cross_entropy(outputs.flatten(0, -2), y.flatten())


@torch.no_grad()
def evaluate(model: nn.Module, task: Text | Pictures, part: str) -> tuple[float, float]:
    """Mean cross-entropy in nats and share of wrong predictions on a held-out part."""
    model.eval()
    sums, count = torch.zeros(2, dtype=torch.float64), 0
    for x, y in task.parts(part):
        outputs, y = model(x).flatten(0, -2), y.flatten()
        loss = F.cross_entropy(outputs, y, reduction="sum")
        sums += torch.stack([loss.double(), (outputs.argmax(-1) != y).sum().double()]).cpu()
        count += len(y)
    loss, error = (sums / count).tolist()
    return loss, error


def shape_in(row: Row) -> Shape:
    """The shape of what a training shipped."""
    heads, hidden = (tuple(int(word) for word in str(row[name]).split()) for name in ("heads", "hidden"))
    return Shape(int(row["width"]), heads, hidden, PRESETS[str(row["preset"])].head_width)


@torch.no_grad()
def speed(row: Row, batch: int, device: str, pairs: int) -> tuple[float, float]:
    """Milliseconds of a forward of a network of the row's shape, and how many times as long the whole one takes.

    Both are plain, with random weights, and take turns, so that what else the machine does meets both; the ratio is the
    median over the pairs.
    """
    preset, task = PRESETS[str(row["preset"])], str(row["task"])
    nets = [build(task, shape, preset.context).eval().to(device) for shape in (preset.shape, shape_in(row))]
    x = inputs(task, batch, preset.context).to(device)
    counts = []
    for net in nets:
        took(net, x, 2, device)
        counts.append(max(1, round(0.01 / took(net, x, 1, device))))
    times = []
    for turn in range(pairs):
        order = (0, 1) if turn % 2 else (1, 0)
        found = {place: took(nets[place], x, counts[place], device) for place in order}
        times.append((found[0], found[1]))
    return 1e3 * median(small for _, small in times), median(whole / small for whole, small in times)


def took(net: nn.Module, x: Tensor, count: int, device: str) -> float:
    """Seconds of one of so many forwards."""
    started = time.perf_counter()
    for _ in range(count):
        net(x)
    if device != "cpu":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / count
