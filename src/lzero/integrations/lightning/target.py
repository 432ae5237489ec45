"""Where a LightningModule is gated, and with what inputs: its example inputs, or what its training step calls."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial, wraps
from typing import Any

import torch
from torch import nn

from lzero.errors import StructureError
from lzero.host.inputs import ExampleInputs
from lzero.host.quiet import isolated_random_state
from lzero.integrations.lightning.batches import first_examples
from lzero.integrations.lightning.first_call import FirstCall, first_call
from lzero.plan.plan import Plan

_SOURCE = "_data_source"  # of a fit loop: no public name leads to loaders that have not begun
_MOST_OPTIMIZERS = 4
_BASES = ("LightningModule", "LightningDataModule", "ModelHooks", "DataHooks", "Module")


def own(pl_module: nn.Module, method: str) -> bool:
    """Whether the user's class, and not Lightning's, has that method."""
    return next(kind for kind in type(pl_module).__mro__ if method in vars(kind)).__name__ not in _BASES


def after(module: nn.Module, method: str, then: Callable[[], object]) -> Callable[[], None]:
    """Call ``then`` after the next call of a method of ``module``.

    Returns:
        A function that takes that back, where it has not happened yet.
    """
    known, wrapped = vars(module), getattr(module, method)

    def undo() -> None:
        if known.get(method) is once:
            del known[method]

    @wraps(wrapped)
    def once(*args: Any, **kwargs: Any) -> Any:
        undo()
        result = wrapped(*args, **kwargs)
        then()
        return result

    known[method] = once
    return undo


def target(trainer: Any, pl_module: Any, inputs: object, path: str | None) -> tuple[nn.Module, object]:
    """The module to gate, and what one forward of it takes.

    Args:
        trainer: within ``fit``.
        pl_module: with all of its layers.
        inputs: what the user has passed, or None.
        path: of the module that the user has named, or None.

    Raises:
        StructureError: there is no such module, or its inputs cannot be found out.
    """
    example = pl_module.example_input_array
    given = example if inputs is None else inputs
    named = None if path is None else _named(pl_module, path)
    if named is not None and inputs is not None:
        return named, inputs
    if named is None and given is not None:
        whole = pl_module if own(pl_module, "forward") else _only_part(pl_module)
        if whole is not None:
            return whole, given
    if named is not None and example is not None and own(pl_module, "forward"):
        what = f"{type(pl_module).__name__}.forward"
        call = first_call(ExampleInputs.of(example).call, pl_module, what, named)
    else:
        what = f"{type(pl_module).__name__}.training_step"
        call = _call_of_training_step(trainer, pl_module, what, named)
    if named is None:
        call.check_whole(pl_module, what)
    return call.module, (call.inputs if inputs is None else ExampleInputs.of(inputs)).value


def optimizer_steps(trainer: Any, pl_module: Any) -> int | None:
    """Optimizer steps of the training; None where the Trainer cannot know them."""
    if not pl_module.automatic_optimization and len(trainer.optimizers) > 1 and trainer.max_steps > 0:
        return None  # it counts the steps of all of them together
    steps = trainer.estimated_stepping_batches
    return int(steps) if 0 < steps < math.inf else None


def fitting(module: nn.Module, inputs: object) -> object:
    """``inputs`` on the device of ``module``, and where all of its floats are of one dtype, in that."""
    if isinstance(inputs, Plan) or inputs is None:
        return inputs
    floats = [parameter for parameter in module.parameters() if parameter.is_floating_point()]
    kinds = {parameter.dtype for parameter in floats}
    return ExampleInputs.of(inputs).to(floats[0].device, kinds.pop() if len(kinds) == 1 else None).value


def _named(pl_module: nn.Module, path: str) -> nn.Module:
    try:
        return pl_module.get_submodule(path)
    except AttributeError as error:
        parts = ", ".join(repr(name) for name, _ in pl_module.named_children())
        raise StructureError(
            f"module: {type(pl_module).__name__} has no part {path!r}; its parts are {parts}"
        ) from error


def _only_part(pl_module: nn.Module) -> nn.Module | None:
    """The part of a module without a forward that has all that is trained."""
    trained = {id(parameter) for parameter in pl_module.parameters() if parameter.requires_grad}
    for part in pl_module.children():
        if trained and trained <= {id(parameter) for parameter in part.parameters()}:
            return part
    return None


def _call_of_training_step(trainer: Any, pl_module: Any, what: str, named: nn.Module | None) -> FirstCall:
    with isolated_random_state(pl_module):
        kwargs = _arguments(trainer, pl_module, what)
    try:
        return first_call(partial(_run, trainer, kwargs, 1), pl_module, what, named)
    except StructureError:
        if pl_module.automatic_optimization:
            raise
        for optimizers in range(2, _MOST_OPTIMIZERS + 1):  # it may unpack them: opt_g, opt_d = self.optimizers()
            with suppress(StructureError):
                return first_call(partial(_run, trainer, kwargs, optimizers), pl_module, what, named)
        raise


def _run(trainer: Any, kwargs: dict[str, Any], optimizers: int, twin: Any) -> object:
    """The training step of a copy of the module, which logs nothing, and has stand-ins for its optimizers."""
    twin.trainer = trainer
    twin.log = twin.log_dict = _nothing
    twin.optimizers = partial(_Unbuilt, optimizers)
    with torch.enable_grad():
        return twin.training_step(**kwargs)


def _arguments(trainer: Any, pl_module: Any, what: str) -> dict[str, Any]:
    """What the training loop passes to ``training_step``: a batch, and its number where that is asked for."""
    names = list(inspect.signature(pl_module.training_step).parameters)
    if "dataloader_iter" in names:
        raise StructureError(f"{what} takes batches out of the loader itself; pass Budget(..., example_inputs=...)")
    source = getattr(trainer.fit_loop, _SOURCE, None)
    if source is None:
        raise StructureError(f"{what}: its data cannot be looked at beforehand; pass Budget(..., example_inputs=...)")
    batch = first_examples(source.dataloader())
    device = next(pl_module.parameters()).device
    data = trainer.datamodule
    for name in ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer"):
        holder = data if data is not None and own(data, name) else pl_module
        batch = getattr(holder, name)(batch, *((device,) if name.startswith("transfer") else ()), 0)
    known = {"batch_idx": 0, "dataloader_idx": 0}
    first = next((name for name in names if name not in known), "batch")
    return {first: batch, **{name: value for name, value in known.items() if name in names}}


def _nothing(*_: Any, **__: Any) -> None:
    pass


class _Unbuilt:
    """Stands in for optimizers before there are any: does nothing, and unpacks into as many as it is told."""

    param_groups: tuple[dict[str, Any], ...] = ()

    def __init__(self, count: int, *_: Any, **__: Any) -> None:
        self._count = count

    def __iter__(self) -> Iterator[_Unbuilt]:
        return iter([self] * self._count)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, _: object) -> _Unbuilt:
        return self

    def __getattr__(self, name: str) -> Callable[..., _Unbuilt]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_, **__: self

    def __enter__(self) -> _Unbuilt:
        return self

    def __exit__(self, *_: object) -> None:
        pass
