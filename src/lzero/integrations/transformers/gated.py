"""Checkpoints of a model with gates: their plan beside the weights, and both put together again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import GenerationConfig

from lzero.attach import attach_gates
from lzero.errors import StructureError
from lzero.gates.gates import Gates
from lzero.integrations.transformers.classes import class_of, saved_config
from lzero.integrations.transformers.inputs import inputs_of
from lzero.plan.plan import Plan

PLAN = "plan.lzero"
"""The file of a checkpoint folder that says what was gated."""

_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_GATES = ".gates.log_alpha"


def save_plan(gates: Gates, folder: Path) -> None:
    """The plan of ``gates`` beside the weights in ``folder``."""
    gates.plan.save(folder / PLAN)


def is_gated(path: Any) -> bool:
    """Whether ``path`` is a folder whose weights have gates among them."""
    return any(name.endswith(_GATES) for name in _names(path))


def load_gated(
    path: Any, kind: Any = None, *, plan: object = None, example_inputs: object = None, **attach: Any
) -> nn.Module:
    """The model that a training has saved at ``path``, its gates and the state of their training with it.

    Without a plan, there or here, units are discovered again, with inputs made from the configuration.

    Raises:
        StructureError: no inputs to attach the gates with, or others than those of the training.
    """
    folder = Path(path)
    how = plan if plan is not None else example_inputs
    if how is None and (folder / PLAN).is_file() and not attach:
        how = Plan.load(folder / PLAN)
    config = saved_config(path, kind)
    kind = class_of(config, kind)
    with torch.random.fork_rng(devices=[]):
        model: nn.Module = kind(config)
    _cast(model, getattr(config, "dtype", None))
    attach_gates(model, inputs_of(model) if how is None else how, **attach)
    state: dict[str, Tensor] = {}
    for file in _files(path):
        state |= load_file(file)
    try:
        _load(model, state)
    except (RuntimeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise StructureError(
            f"{path}: holds other gates than those that were attached here ({said}); pass plan= of the training, or "
            "example_inputs=, granularity= and ignore= as there"
        ) from error
    if (folder / "generation_config.json").is_file() and hasattr(model, "generation_config"):
        model.generation_config = GenerationConfig.from_pretrained(folder)
    return model.eval()


def _cast(model: nn.Module, dtype: Any) -> None:
    """The float parameters of ``model`` in the precision that a configuration names; buffers keep theirs."""
    named = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    for parameter in model.parameters() if isinstance(named, torch.dtype) else ():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(named)


def _load(model: nn.Module, state: dict[str, Tensor]) -> None:
    found = model.load_state_dict(state, strict=False)
    held = model.state_dict(keep_vars=True)
    lacking = set(found.missing_keys)
    loaded = {id(tensor) for name, tensor in held.items() if name not in lacking}
    wrong = [name for name in lacking if id(held[name]) not in loaded]  # of tied tensors the files hold one
    wrong += found.unexpected_keys
    if wrong:
        raise ValueError(f"{min(wrong)} is in only one of the two")


def _files(path: Any) -> list[Path]:
    folder = Path(path)
    if (folder / _INDEX).is_file():
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        return [folder / name for name in sorted(set(index["weight_map"].values()))]
    return [folder / _WEIGHTS] if (folder / _WEIGHTS).is_file() else []


def _names(path: Any) -> list[str]:
    found: list[str] = []
    for file in _files(path):
        with safe_open(file, framework="pt") as tensors:
            found += tensors.keys()
    return found
