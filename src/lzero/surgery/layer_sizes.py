"""Sizes that modules of known classes keep (``in_features``, ``groups``): set to those of tensors that were cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from lzero.host.tensors import tensors_of
from lzero.plan.paths import owner
from lzero.surgery.headed_attention import HeadedAttention


def correct_sizes(model: nn.Module, before: Mapping[str, Tensor]) -> None:
    """``model``, whose tensors were ``before``, with the sizes cached beside those that were replaced set to theirs."""
    now = tensors_of(model)
    for path in dict.fromkeys(owner(name) for name, tensor in now.items() if tensor is not before.get(name)):
        refresh_sizes(model.get_submodule(path))


def refresh_sizes(module: nn.Module) -> None:
    """``module`` with the sizes that its class caches set to those of its tensors."""
    for kind, refresh in _SIZES.items():
        if isinstance(module, kind):
            refresh(module)
    named = _named_rule(module)
    if named is not None:
        named(module)


def has_rule(module: nn.Module) -> bool:
    """Whether the sizes that ``module`` caches are known by its class."""
    return isinstance(module, tuple(_SIZES)) or _named_rule(module) is not None


def _named_rule(module: nn.Module) -> Callable[..., None] | None:
    """The rule of a class that cannot be imported here, also for its subclasses (a parametrized module is of one)."""
    names = ((kind.__module__, kind.__qualname__) for kind in type(module).__mro__)
    return next((_NAMED[name] for name in names if name in _NAMED), None)


def _linear_sizes(module: nn.Linear) -> None:
    module.out_features, module.in_features = module.weight.shape


def _conv_sizes(module: nn.modules.conv._ConvNd) -> None:
    first, second = module.weight.shape[:2]
    made, read = (second, first) if module.transposed else (first, second)
    if module.groups > 1 and module.groups == module.in_channels:  # depthwise: one group a channel
        per_group = module.out_channels // module.groups
        module.groups = (first if module.transposed else first // per_group) or 1
    module.in_channels = read if module.transposed else read * module.groups
    module.out_channels = made * module.groups if module.transposed else made


def _norm_sizes(module: nn.Module) -> None:
    tensor = module.weight if module.weight is not None else module.running_mean
    if isinstance(tensor, Tensor):
        module.num_features = tensor.shape[0]  # type: ignore[assignment]


def _group_norm_sizes(module: nn.GroupNorm) -> None:
    if module.weight is not None:
        if module.num_groups == module.num_channels:  # one channel a group
            module.num_groups = module.weight.shape[0]
        module.num_channels = module.weight.shape[0]


def _embedding_sizes(module: nn.Embedding) -> None:
    module.num_embeddings, module.embedding_dim = module.weight.shape


def _recurrent_sizes(module: nn.RNNBase) -> None:
    names: list[str] = module._flat_weights_names
    module._flat_weights = [getattr(module, name) for name in names]
    module.input_size = module.get_parameter("weight_ih_l0").shape[1]
    module.hidden_size = module.get_parameter("weight_hh_l0").shape[1]
    if module.proj_size:
        module.proj_size, module.hidden_size = module.get_parameter("weight_hr_l0").shape


def _cell_sizes(module: nn.RNNCellBase) -> None:
    module.input_size, module.hidden_size = module.weight_ih.shape[1], module.weight_hh.shape[1]


def _attention_sizes(module: nn.MultiheadAttention) -> None:
    """Fewer heads than the embedding has room for need a forward of their own."""
    fused, query = module.in_proj_weight, module.q_proj_weight
    width = query.shape[0] if fused is None else fused.shape[0] // 3
    if type(module) is nn.MultiheadAttention and width != module.num_heads * module.head_dim:
        module.__class__ = HeadedAttention
        module._qkv_same_embed_dim = False  # the fused layers of PyTorch know no such attention
    module.num_heads = width // module.head_dim


def _transposed_linear_sizes(module: Any) -> None:
    module.nx, module.nf = module.weight.shape


_SIZES: dict[type[nn.Module], Callable[..., None]] = {
    nn.Linear: _linear_sizes,
    nn.modules.conv._ConvNd: _conv_sizes,
    nn.modules.batchnorm._NormBase: _norm_sizes,
    nn.GroupNorm: _group_norm_sizes,
    nn.Embedding: _embedding_sizes,
    nn.RNNBase: _recurrent_sizes,
    nn.RNNCellBase: _cell_sizes,
    nn.MultiheadAttention: _attention_sizes,
}

# By the module that defines the class and its name: whoever calls a class of their own Conv1D means something else.
_NAMED: dict[tuple[str, str], Callable[..., None]] = {
    ("transformers.pytorch_utils", "Conv1D"): _transposed_linear_sizes,
}
