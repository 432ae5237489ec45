"""What one training depends on, as plain values."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from lzero.checks import shown
from lzero.constraints import Constraint
from lzero.cost import MEASURES, Measure
from lzero_lab.errors import DataError

SEEDS = range(-(2**63), 2**64)  # that PyTorch's generators take
LARGEST = 2**63 - 1  # whole number of PyTorch
SCOPES = ("model", "layer")
UNGATED = ("dense", "same_size")  # methods
_COUNTS = ("epochs", "steps", "batch_size", "round_to")
_LATER: Mapping[str, Any] = {"round_to": 1, "start": "", "distil": 0.0, "also": {}}  # fields with their defaults
_RATES = ("lr", "weight_decay")  # factors that PyTorch takes in the precision of the weights, or refuses
_HIGHEST = 1e30  # of them: single precision bears ten million times as much
Scope = str | Mapping[str, float]
Schedule = Literal["linear", "cosine", "drops"]
Method = Literal["constrained", "penalized", "elbo", "magnitude", "same_size", "dense"]

_WORDS: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "text",
    tuple: "a list",
    Mapping: "a table of names and values",
}


@dataclass(frozen=True)
class Recipe:
    """Everything that one training depends on.

    The defaults are those of the command line, but that it trains digits for 200 epochs.

    Attributes:
        model: a name in :mod:`lzero_lab.models`.
        method: ``"constrained"`` (needs ``target`` or ``scope`` as a mapping), ``"magnitude"`` (the same, and
            ``estimator`` = ``"mask"``), ``"penalized"`` (needs ``coefficient``), ``"elbo"`` (needs ``estimator`` =
            ``"log_normal"``), ``"same_size"`` (a smaller dense network, needs ``target``) or ``"dense"``. A penalized
            or elbo training with a target is settled on it at the end.
        scope: what the target holds for: ``"model"``, ``"layer"`` (every gated layer on its own), or a mapping from
            module path to a target of its own.
        also: further measures -> densities that the whole model has at most too, such as ``{"macs": 0.1}`` beside a
            target of parameters.
        gate_lr: rate of the gates' Adam; None for the solver's default.
        steps: optimizer steps of the whole training; overrides ``epochs``, and its last epoch may be a part of one.
        decay: share of the training, at its end, over which the weights' learning rate falls linearly to 0.
        loss_scale: factor on the loss, to show that the solver does not depend on it.
        estimator: a name in :data:`lzero_lab.training.methods.ESTIMATORS`.
        per_example: draw gates for each example.
        round_to: what shipped widths are multiples of, where they are not whole.
        ignore: module paths and tensor names that are left ungated.
        schedule: how the weights' learning rate falls, a name in :mod:`lzero_lab.training.weights`; ``decay`` is
            for ``"linear"``.
        nesterov: Nesterov's momentum, with SGD.
        augment: shift every training image by up to 4 pixels and mirror it with probability 1/2.
        compile: a backend of ``torch.compile`` that the network is trained with, such as ``"inductor"``; "" for none.
        l2: coefficient of :func:`lzero.decay.expected_l2` in the loss.
        bf16: run the forward under autocast to bfloat16, which convolutions on some CPUs and all GPUs gain from.
        ema: decay a step of a running mean of the weights, which is what is evaluated and shipped; 0 for none.
        finetune: share of the training, at its end, in which the settled gates stay fixed and the weights go on; None
            for the solver's default where there is a target to settle on, and 0 elsewhere.
        start: what the weights come from that the training begins with, a name of whoever hands them over; "" for
            fresh ones.
        distil: weight of the answers of the network that it begins with in the loss, beside the labels.
        solver: further arguments of :class:`lzero.Solver`, or of what takes its place.

    Raises:
        DataError: a value of another type than its field, a number that is not finite, a choice that there is not,
            steps, epochs or a batch size below 1, a rate that no weights bear, or a seed that no generator takes.
    """

    model: str = "mlp"
    method: Method = "constrained"
    target: float | None = None
    coefficient: float | Mapping[str, float] = 0.0
    measure: Measure = "params"
    scope: Scope = "model"
    granularity: str = "unit"
    epochs: int = 40
    steps: int | None = None
    batch_size: int = 128
    optimizer: Literal["adam", "sgd"] = "adam"
    lr: float = 7e-4
    gate_lr: float | None = None
    weight_decay: float = 0.0
    decay: float = 0.4
    open_probability: float = 0.97
    loss_scale: float = 1.0
    estimator: str = "hard_concrete"
    per_example: bool = False
    bf16: bool = False
    ema: float = 0.0
    l2: float = 0.0
    finetune: float | None = None
    seed: int = 0
    ignore: tuple[str, ...] = ()
    schedule: Schedule = "linear"
    nesterov: bool = False
    augment: bool = False
    compile: str = ""
    round_to: int = 1
    start: str = ""
    distil: float = 0.0
    also: Mapping[str, float] = field(default_factory=dict)
    solver: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        for name, type_ in _types().items():
            value = getattr(self, name)
            if not is_of_type(value, type_):
                raise DataError(f"{name}: expected {type_in_words(type_)}, found {shown(value)}")
            if name in _COUNTS and value is not None and not 1 <= value <= LARGEST:
                expected = "at least 1" if value < 1 else "at most 2^63 - 1"
                raise DataError(f"{name}: expected {expected}, found {shown(value)}")
            if name in _RATES and value > _HIGHEST:
                raise DataError(f"{name}: expected at most {_HIGHEST:g}, found {shown(value)}")
        if isinstance(self.scope, str) and self.scope not in SCOPES:
            raise DataError(f"scope: expected {', '.join(SCOPES)} or a table of targets, found {self.scope!r}")
        for measure in self.also:
            if measure not in MEASURES or measure == self.measure:
                others = ", ".join(other for other in MEASURES if other != self.measure)
                raise DataError(f"also: expected another measure than that of the target, {others}, found {measure!r}")
        if self.also and self.method in UNGATED:
            raise DataError(f"also: a {self.method} training has no gates to meet several budgets with; leave it out")
        if self.also and self.target is None and not isinstance(self.scope, Mapping):
            raise DataError("also: goes beside a target; give that measure as measure, and its density as target")
        if not 0 <= self.distil <= 1:
            raise DataError(f"distil: expected a weight from 0 to 1, found {self.distil}")
        if self.distil and not self.start:
            raise DataError("distil: there is no network to learn from; name one as start")
        if self.seed not in SEEDS:
            raise DataError(f"seed: expected a whole number from -2^63 to 2^64 - 1, found {self.seed}")

    @property
    def constraints(self) -> list[Constraint]:
        """What the trained network is asked to meet; empty where there is no target.

        Raises:
            BudgetError: a malformed target.
        """
        also = [Constraint(density, measure) for measure, density in self.also.items() if measure in MEASURES]
        if isinstance(self.scope, Mapping):
            parts = self.scope.items()
            return [*(Constraint(target, self.measure, within=path or None) for path, target in parts), *also]
        if self.target is None:
            return []
        return [Constraint(self.target, self.measure, each_layer=self.scope == "layer"), *also]

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain values, for JSON; without defaults of fields that older ones do not have."""
        values = asdict(self) | {"solver": dict(self.solver), "ignore": list(self.ignore)}
        return {name: value for name, value in values.items() if name not in _LATER or value != _LATER[name]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """The recipe that :meth:`to_dict` returned as ``values``, also by way of JSON.

        Raises:
            DataError: entries that no recipe has, or values that make none.
        """
        if not isinstance(values, Mapping):
            raise DataError(f"recipe: expected a table of fields, found {values!r}")
        solver, ignore = values.get("solver", {}), values.get("ignore", [])
        if not isinstance(solver, Mapping):
            raise DataError(f"solver: expected a table of arguments, found {solver!r}")
        if not isinstance(ignore, list | tuple):
            raise DataError(f"ignore: expected a list of names, found {ignore!r}")
        try:
            return cls(**{**values, "solver": tuple(solver.items()), "ignore": tuple(ignore)})
        except TypeError as problem:
            raise DataError(f"recipe: {problem}; expected the fields of {cls.__name__}") from problem


@cache
def _types() -> Mapping[str, Any]:
    """The type of every field."""
    return get_type_hints(Recipe)


def is_of_type(value: Any, type_: Any) -> bool:
    """Whether ``value``, as JSON and TOML have it, is of the type of an annotation.

    Whole numbers pass as numbers, truth values do not, nor do NaN and infinity.
    """
    origin, parts = get_origin(type_), get_args(type_)
    if origin is Literal:
        return value in parts
    if origin in (Union, UnionType):
        return any(is_of_type(value, part) for part in parts)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(is_of_type(entry, parts[1]) for entry in value.values())
    if type_ in (int, float) and isinstance(value, int):
        return not isinstance(value, bool) and (type_ is int or abs(value) <= sys.float_info.max)
    if type_ is float:
        return isinstance(value, float) and math.isfinite(value)
    return type_ is Any or isinstance(value, origin or type_)


def type_in_words(type_: Any) -> str:
    """What is of the type, in words: "a finite number or a table of names and values"."""
    origin, parts = get_origin(type_), get_args(type_)
    if origin is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if origin in (Union, UnionType):
        return " or ".join(type_in_words(part) for part in parts if part is not NoneType)
    return _WORDS.get(origin or type_, "something else")
