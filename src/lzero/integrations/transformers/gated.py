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
from lzero.plan.plan import Plan

PLAN = "lzero.plan"
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

    Raises:
        StructureError: neither a plan nor inputs to attach the gates with, or another model than that of the files.
    """
    folder = Path(path)
    how = plan if plan is not None else example_inputs
    if how is None and (folder / PLAN).is_file():
        how = Plan.load(folder / PLAN)
    if how is None:
        raise StructureError(
            f"{path}: holds a model with gates, and no plan ({PLAN}) that says how they were attached; pass plan= or "
            "example_inputs= (with granularity= and ignore= as they were), or build the model, attach its gates as in "
            "the training, and go on with load_state_dict"
        )
    config = saved_config(path, kind)
    kind = class_of(config, kind)
    with torch.random.fork_rng(devices=[]):
        model: nn.Module = kind(config)
    _cast(model, getattr(config, "dtype", None))
    attach_gates(model, how, **attach)
    state: dict[str, Tensor] = {}
    for file in _files(path):
        state |= load_file(file)
    _load(model, state, path)
    if (folder / "generation_config.json").is_file() and hasattr(model, "generation_config"):
        model.generation_config = GenerationConfig.from_pretrained(folder)
    return model.eval()


def _cast(model: nn.Module, dtype: Any) -> None:
    """The float parameters of ``model`` in the precision that a configuration names; buffers keep theirs."""
    named = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    for parameter in model.parameters() if isinstance(named, torch.dtype) else ():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(named)


def _load(model: nn.Module, state: dict[str, Tensor], path: Any) -> None:
    found = model.load_state_dict(state, strict=False)
    held = model.state_dict(keep_vars=True)
    lacking = set(found.missing_keys)
    loaded = {id(tensor) for name, tensor in held.items() if name not in lacking}
    lacking = {name for name in lacking if id(held[name]) not in loaded}  # the files hold one of tied tensors
    if lacking or found.unexpected_keys:
        name = min([*lacking, *found.unexpected_keys])
        verb = "lack" if name in lacking else "have an unknown"
        raise StructureError(
            f"{path}: the files {verb} {name}; attach the gates as they were attached in the training that saved them"
        )


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
