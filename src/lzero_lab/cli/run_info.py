"""What ``lzero info`` says of a finished run: layer by layer before and after, file sizes, and time on this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import nn

from lzero.latency.timer import processor
from lzero.shipped.weights import write_weights
from lzero_lab import datasets, models
from lzero_lab.cli import options as opt
from lzero_lab.cli.console import console
from lzero_lab.errors import DataError
from lzero_lab.runs.folder import RunFolder
from lzero_lab.runs.latency import latencies
from lzero_lab.training.summary import ship
from lzero_lab.training.training import Training

_BATCHES = (1, 32)


def show_run(path: Path, data_dir: str | Path | None) -> None:
    """Print what a finished run has shipped, beside the network that it began with.

    Raises:
        DataError: the folder holds no finished training.
    """
    folder = RunFolder(path)
    config = folder.read_config()
    recipe = opt.read_recipe(config, folder.path)
    if not folder.finished:
        raise DataError(f"{folder.path}: the run is not finished; continue it with --resume")
    data = datasets.load(config["data"], data_dir or config.get("data_dir"))
    training = Training(recipe, data).load(folder.checkpoint)
    result = ship(training)
    x = training.data.train_x
    whole = models.build(recipe.model, data).to(x.device)
    whole.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # as the trained one

    screen = console()
    screen.print(f"{recipe.model} on {config['data']}, before -> after")
    screen.print(str(result))
    screen.print(f"\nfile: {_file_size(whole):,} bytes -> {_file_size(result.model):,} bytes (safetensors)")
    screen.print(f"one forward on this machine ({processor()}), median of 31:")
    for batch in _BATCHES:
        before, after = latencies([whole, result.model], x[:batch].contiguous(memory_format=torch.channels_last))
        screen.print(f"  batch {batch:>2}: {before * 1e3:.3f} ms -> {after * 1e3:.3f} ms")


def _file_size(model: nn.Module) -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights"
        write_weights(path, model.state_dict())
        return path.stat().st_size
