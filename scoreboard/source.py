"""Where the models of a scoreboard come from: one source a library."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

VISION = {"torch": ("2.14.1", 0), "torchvision": ("0.29.1", 109), "timm": ("1.0.31", 98)}
"""Versions that go together and were measured, and how many types each has; Makefile installs them."""


class NotBuilt(Exception):
    """No small model of this type, with the reason of the first try."""


@dataclass(frozen=True)
class Source:
    """The types of models of a library, and how to build and feed one.

    Attributes:
        name: of the library, and of the file of its rows.
        types: all of them, by name.
        build: of a type and a test of a model with inputs: a model, what inputs it takes, and what to call it.
        inputs: of a model, what it takes, a batch size, a second size and a seed: what to call it with.
        example: batch and second size of what discovery sees.
        fresh: the same of fresh inputs, and what is new in them: the first that the model itself runs on.
        draws: closures of each plan.
        more: the granularity of the second plan.
    """

    name: str
    types: Callable
    build: Callable
    inputs: Callable
    example: tuple
    fresh: tuple
    draws: int = 3
    more: str = "width"

    @property
    def file(self):
        """Where its rows are."""
        return Path(__file__).parent / f"{self.name}.csv"


def source(name):
    """The source of that name; its library is imported by then."""
    if name == "transformers":
        import tiny

        return tiny.TRANSFORMERS
    import vision

    return {"torchvision": vision.TORCHVISION, "timm": vision.TIMM}[name]


def parameters(model):
    """How many parameters a model has."""
    return sum(parameter.numel() for parameter in model.parameters())


def line(error):
    """What an error says, in short."""
    lines = str(error).strip().splitlines() or [""]
    text = lines[-1].strip() if "validation error" in lines[0] else lines[0]
    return text[:200] if isinstance(error, NotBuilt) else f"{type(error).__name__}: {text}"[:200]
