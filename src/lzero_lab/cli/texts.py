"""What the texts of the command line mean: types for argparse, each of which refuses what its option does not take."""

from __future__ import annotations

import argparse
import errno
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from lzero.checks import shown
from lzero.cost import COUNTED
from lzero.plan.granularity import expected, granularities, spelled
from lzero_lab import models
from lzero_lab.training.recipe import LARGEST, SEEDS, Scope


def positive(kind: Callable[[str], Any], most: float = math.inf) -> Callable[[str], Any]:
    """A finite number of ``kind`` above 0, at most ``most``; a whole one fits into 64 bits."""
    most = min(most, LARGEST) if kind is int else most

    def parse(text: str) -> Any:
        value = kind(text)
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"expected a number above 0, found {text}")
        if value > most:
            raise argparse.ArgumentTypeError(f"expected at most {most:,}, found {text}")
        return value

    parse.__name__ = kind.__name__  # argparse names it where the text is no number
    return parse


def path(text: str) -> Path:
    """A path that the system can look at, whether or not anything is there."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"expected the name of a file or folder, found {text!r}")
    try:
        os.stat(text)
    except OSError as problem:
        if problem.errno in (errno.ELOOP, errno.ENAMETOOLONG):
            raise argparse.ArgumentTypeError(f"{shown(text)}: {problem.strerror}; name another place") from problem
    except ValueError as problem:  # characters that no file system has
        raise argparse.ArgumentTypeError(f"{shown(text)}: {problem}; name another place") from problem
    return Path(text)


def density(text: str) -> float:
    """A density in (0, 1]."""
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"expected a density in (0, 1], such as 0.1 for a tenth, found {text}")
    return value


def distance(text: str) -> float:
    """A distance between two densities, in (0, 1)."""
    value = float(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a distance in (0, 1), such as 0.01 for one point, found {text}")
    return value


def seed(text: str) -> int:
    """A whole number that seeds a generator."""
    value = int(text)
    if value not in SEEDS:
        raise argparse.ArgumentTypeError(f"expected a seed from -2^63 to 2^64 - 1, found {text}")
    return value


def scope(text: str) -> Scope:
    """The word "model" or "layer", or densities by module path: "fc1=0.3,fc2=0.5"."""
    if text in ("model", "layer"):
        return text
    targets = {}
    for part in text.split(","):
        path, equals, value = part.partition("=")
        try:
            targets[path.strip()] = density(value)
        except ValueError:
            equals = ""
        if not equals or not path.strip():
            raise argparse.ArgumentTypeError(f'expected model, layer or "name=0.3,name=0.5", found {text!r}')
    return targets


def further_budget(text: str) -> tuple[str, float]:
    """A measure and its density, "macs=0.1"."""
    measure, equals, value = text.partition("=")
    if measure not in COUNTED or not equals:
        raise argparse.ArgumentTypeError(f"expected {', '.join(COUNTED)}, each with =0.1 or the like, found {text!r}")
    return measure, density(value)


def granularity(text: str) -> str:
    """What gates switch, its words in one order."""
    words = spelled(text)
    if words not in granularities():
        raise argparse.ArgumentTypeError(f"expected {expected()}, found {text!r}")
    return words


def model(text: str) -> str:
    """The name of a network."""
    if not models.known(text):
        raise argparse.ArgumentTypeError(
            f"expected {', '.join(models.names())} or wrn-<depth>-<width>, such as wrn-28-10, found {text!r}"
        )
    return text


def device(text: str) -> str:
    """A device that PyTorch sees."""
    try:
        found = torch.device(text)
    except RuntimeError as problem:
        raise argparse.ArgumentTypeError(f"expected cpu or cuda, found {text!r}") from problem
    if found.type not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"expected cpu or cuda, found {text!r}")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise argparse.ArgumentTypeError(f"{text}: PyTorch sees no such GPU here; use --device cpu")
    return str(found)
