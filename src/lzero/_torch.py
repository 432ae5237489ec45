"""Every private name of PyTorch that the library touches: what it is for, and what happens when it is gone.

Written for torch 2.6.0, the oldest that pyproject admits, to 2.13.0, which constraints.txt pins and the test suite runs
on; tests/test_oldest_torch.py runs it on the oldest, where that can be installed. "Falls back": without the name the
library goes on, as it says. "Fails closed": an ``AttributeError`` or ``ImportError`` stops it, since going on could
give another model than the one that was asked for.

``_parameters``, ``_buffers`` and ``_modules`` of ``nn.Module`` are protected, but half of all code that changes
modules reads them: they are used as they are, where the tables themselves are meant. So are ``_apply`` and
``_load_from_state_dict`` where FlatBuffer, the base of Gates, overrides them, since only a method of that name is
called. Names of ops (``aten._softmax``) are data of the rules in ``lzero.tracing.rules``: an unknown one freezes what
it touches.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

# Classes ---------------------------------------------------------------------------------------------------------

CONVOLUTIONS: tuple[type[nn.Module], ...] = (nn.modules.conv._ConvNd,)
"""The base of all convolutions, plain and transposed, to register rules for. Fails closed: at import."""

NORMS: tuple[type[nn.Module], ...] = (nn.modules.batchnorm._NormBase,)
"""The base of batch and instance normalization, to register rules for. Fails closed: at import."""

COMPILED = ("torch._dynamo.eval_frame", "OptimizedModule", "_orig_mod")
"""Module and name of the class of ``torch.compile(model)``, and its attribute for the model inside.

Looked up in ``sys.modules``. Gone, a compiled model falls back to being taken for a stranger's module: its forward is
traced or refused like any other."""

GROUPED_MM = getattr(torch.ops.aten, "_grouped_mm", None)
"""The op of ``torch.nn.functional.grouped_mm``. Falls back: None where there is none, and no forward calls it."""

MACHINERY = (torch.overrides.__name__, "torch._tensor")
"""Modules of PyTorch that only hand sizes on. Gone, they count as users of a size: units are lost, not the proof."""


class EagerDispatchMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The base of modes that see every op (``__torch_dispatch__``). Fails closed: at import."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()  # type: ignore[no-untyped-call]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: PyTorch would import torch._dynamo (two seconds) only to keep it out of an eager forward.

        Falls back: a PyTorch that does not ask imports it, or not, as it likes.
        """
        return False


unwatched: Callable[[], AbstractContextManager[Any]] = torch._C.DisableTorchFunction
"""A context in which no mode sees what functions of PyTorch are called. Fails closed: at import."""

# Ops and tensors -------------------------------------------------------------------------------------------------


def arguments_of(op: Any) -> Sequence[Any]:
    """The arguments in the schema of an op, with names and defaults. Fails closed."""
    arguments: Sequence[Any] = op._schema.arguments
    return arguments


def can_decompose(op: Any) -> bool:
    """Whether ``op.decompose`` takes a composite op apart. Falls back to no: the op then needs a rule or freezes."""
    ask = getattr(op, "_can_decompose", None)
    return ask is not None and bool(ask())


def version(tensor: Tensor) -> int:
    """How often ``tensor`` was written into, to notice a change. Fails closed; inference tensors have none."""
    return tensor._version


def memory_key(tensor: Tensor) -> int:
    """What two tensors of one storage have in common, also where there is no data pointer (meta). Fails closed."""
    key: int = tensor.untyped_storage()._cdata
    return key


# Autograd --------------------------------------------------------------------------------------------------------


def in_backward() -> bool:
    """Whether a backward runs in this thread: a forward within it is a recomputation. Fails closed."""
    return torch._C._current_graph_task_id() != -1


_top_hooks: Callable[[bool], Any] | None = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)


def saving_is_hooked() -> bool:
    """Whether hooks (activation checkpointing, offloading) keep what the graph saves, and may bring back others.

    Falls back to yes, as on torch 2.6.0, which has no such question: the careful way costs a little time.
    """
    return True if _top_hooks is None else bool(_top_hooks(False))


def fused_adam(*tensors: list[Any], **options: Any) -> None:
    """The kernel of ``torch.optim.Adam(fused=True)``, whose ``found_inf`` leaves all as it is. Fails closed."""
    torch._fused_adam_(*tensors, **options)


# How modules run -------------------------------------------------------------------------------------------------


@contextmanager
def without_packed_kernels() -> Iterator[None]:
    """A context without oneDNN, which runs whole layers (LSTM) as one op that no rule knows.

    Not ``torch.backends.mkldnn.flags``, which also sets precision and determinism. Fails closed.
    """
    packed = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(packed)


def compiler_is_loaded() -> bool:
    """Whether anything can have been compiled. Falls back to no where the compiler has moved: nothing runs eagerly."""
    return "torch._dynamo" in sys.modules


def forget_compiled_call(module: nn.Module) -> None:
    """Let a copy run its own forward: ``module.compile()`` of the original holds that one's. Falls back: no-op."""
    vars(module).pop("_compiled_call_impl", None)


def compiled_from(function: object) -> object:
    """What ``torch.compile(function)`` was given; None where it was not compiled. Falls back to None."""
    found = getattr(function, "_torchdynamo_orig_callable", None)
    while (
        getattr(found, "__globals__", {}).get("__name__", "").startswith("torch._dynamo")
    ):  # a frame around torch's own
        found = getattr(found, "__wrapped__", None)
    return found


def flat_weight_names(module: nn.RNNBase) -> list[str]:
    """Names of the weights of a recurrent layer in the order in which its forward reads them. Fails closed."""
    names: list[str] = module._flat_weights_names
    return names


def set_flat_weights(module: nn.RNNBase, weights: Sequence[Any]) -> None:
    """Let the forward of a recurrent layer read ``weights``.

    Fails closed: a forward that does not read this list runs the ungated weights, which the proof refuses.
    """
    module._flat_weights = list(weights)


@contextmanager
def fused_projections(module: nn.MultiheadAttention, fused: bool) -> Iterator[None]:
    """A context in which ``module`` takes its query, key and value weights for one tensor, or not. Fails closed."""
    before = module._qkv_same_embed_dim
    module._qkv_same_embed_dim = fused
    try:
        yield
    finally:
        module._qkv_same_embed_dim = before


def avoid_fused_attention(module: nn.MultiheadAttention) -> None:
    """Keep ``nn.TransformerEncoderLayer`` from its fused layer, which knows no attention with fewer heads.

    Falls back: a PyTorch that does not look at it runs the forward of the module.
    """
    module._qkv_same_embed_dim = False


RESETS = ("reset_parameters", "_reset_parameters")
"""Methods that draw a module's parameters anew; attention and transformers of PyTorch have the second.

Gone, there is no such method, and the caller refuses."""

# What modules have registered ------------------------------------------------------------------------------------

NOT_SYNCHRONIZED = "_ddp_params_and_buffers_to_ignore"
"""The attribute by which DistributedDataParallel leaves tensors alone.

Falls back: it would send ``log_alpha`` along, the same on all processes."""


def save_buffer(module: nn.Module, leaf: str) -> None:
    """Let the state dict of ``module`` have its buffer ``leaf`` from now on. Fails closed."""
    module._non_persistent_buffers_set.discard(leaf)


def forward_pre_hooks(module: nn.Module) -> Mapping[int, Callable[..., Any]]:
    """The forward pre-hooks of ``module`` by their key. Fails closed."""
    return module._forward_pre_hooks


def hook_loading_first(module: nn.Module, hook: Callable[..., None]) -> None:
    """Call ``hook`` before all others when a state dict is loaded into ``module``. Fails closed."""
    others = dict(module._load_state_dict_pre_hooks)
    module._load_state_dict_pre_hooks.clear()
    module.register_load_state_dict_pre_hook(hook)  # type: ignore[no-untyped-call]
    module._load_state_dict_pre_hooks.update(others)


def leave_loading_hooks(module: nn.Module) -> None:
    """Let a hook on loading change the hooks of ``module``, which are being gone through. Fails closed."""
    module._load_state_dict_pre_hooks = module._load_state_dict_pre_hooks.copy()


def remove_hooks(module: nn.Module, unwanted: Callable[[Any], bool]) -> None:
    """Take the ``unwanted`` hooks on forwards, state dicts and loading off ``module``. Fails closed."""
    tables: tuple[tuple[dict[int, Any], tuple[str, ...]], ...] = (
        (module._forward_pre_hooks, ("_forward_pre_hooks_with_kwargs",)),
        (module._forward_hooks, ("_forward_hooks_with_kwargs", "_forward_hooks_always_called")),
        (module._state_dict_hooks, ()),
        (module._load_state_dict_pre_hooks, ()),
    )
    for hooks, notes in tables:
        for key in [key for key, hook in hooks.items() if unwanted(getattr(hook, "hook", hook))]:
            del hooks[key]
            for note in notes:
                getattr(module, note, {}).pop(key, None)
