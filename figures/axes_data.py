"""What the networks of axes.py learn: the source of Python's standard library, and CIFAR-10."""

import hashlib
import os
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from lzero_lab import datasets
from lzero_lab.datasets.dataset import crop_and_flip
from lzero_lab.files import write_tensors

PACKAGES = (
    *("asyncio", "collections", "concurrent", "email", "html", "http", "importlib", "json", "logging"),
    *("unittest", "urllib", "xml"),
)
PARTS = ("validation", "test")


def sources() -> dict[str, bytes]:
    """Part -> bytes of text: the modules of this Python, each as a whole in one part, a tenth for each held-out one."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files = [*root.glob("*.py"), *(file for name in PACKAGES for file in (root / name).rglob("*.py"))]
    found: dict[str, list[bytes]] = {"training": [], "validation": [], "test": []}
    for name, file in sorted((file.relative_to(root).as_posix(), file) for file in files):
        part = {0: "validation", 1: "test"}.get(int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10, "training")
        found[part].append(file.read_bytes())
    return {part: b"".join(texts) for part, texts in found.items()}


class Text:
    """Next bytes of source code.

    Args:
        context: bytes that a network reads.
        windows: of a held-out part, from evenly spread places, that are evaluated.
    """

    def __init__(self, context: int, batch: int, windows: int, device: str) -> None:
        self.context, self.batch_size, self.device = context, batch, device
        texts = sources()
        self.name = f"python {hashlib.sha256(b''.join(texts.values())).hexdigest()[:8]}"
        ids = {part: torch.frombuffer(bytearray(text), dtype=torch.uint8).long() for part, text in texts.items()}
        self.training = ids.pop("training").to(device)
        self.held = {part: _spread(text, windows, context + 1).to(device) for part, text in ids.items()}

    def batch(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Inputs and targets, each [N, context]."""
        starts = torch.randint(
            len(self.training) - self.context, (self.batch_size, 1), generator=generator, device=self.device
        )
        found = self.training[starts + torch.arange(self.context + 1, device=self.device)]
        return found[:, :-1], found[:, 1:]

    def parts(self, part: str) -> Iterator[tuple[Tensor, Tensor]]:
        """All of a held-out part, in batches."""
        for found in self.held[part].split(256):
            yield found[:, :-1], found[:, 1:]


def _spread(text: Tensor, windows: int, length: int) -> Tensor:
    """``windows`` stretches of a text, evenly spread, [windows, length]."""
    starts = torch.linspace(0, len(text) - length, windows).long()
    return text[starts[:, None] + torch.arange(length)]


def decoded(data_dir: str | os.PathLike[str], output: Path) -> Path:
    """A file of tensors with CIFAR-10, which is read much faster than the images are decoded."""
    write_tensors(output, vars(datasets.load("cifar10", data_dir)))
    return output


class Pictures:
    """Classes of CIFAR-10; batches are drawn with replacement, shifted and mirrored.

    Args:
        file: what :func:`decoded` wrote.
    """

    name = "cifar10"

    def __init__(self, file: str | os.PathLike[str], batch: int, device: str) -> None:
        self.batch_size, self.device = batch, device
        self.data = datasets.Dataset(**torch.load(file, weights_only=True, mmap=True)).to(device)

    def batch(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images [N, 3, 32, 32] and labels [N]."""
        size = (self.batch_size,)
        chosen = torch.randint(len(self.data.train_x), size, generator=generator, device=self.device)
        return crop_and_flip(self.data.train_x[chosen], generator).contiguous(), self.data.train_y[chosen]

    def parts(self, part: str) -> Iterator[tuple[Tensor, Tensor]]:
        """All of a held-out part, in batches."""
        x, y = (getattr(self.data, f"{part}_{what}") for what in "xy")
        return zip(x.split(500), y.split(500), strict=True)
