"""Sizes that modules keep as plain numbers (``in_features``, ``num_heads``): set to those of tensors that were cut."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from lzero.structure.multihead import HeadedAttention

Shapes = Mapping[str, tuple[int, ...]]


def shapes_of(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter and buffer by name, under all its names."""
    tensors = (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False))
    return {name: tuple(tensor.shape) for name, tensor in tensors}


def correct_sizes(model: nn.Module, before: Shapes) -> None:
    """``model`` with cached sizes that follow its tensors, whose shapes were ``before``; in place.

    A class that is known has a rule. Any other module, and the parent of modules that changed, may keep a number of
    heads or a size: what has the name of one and the value of a dim before becomes that of the dim now. A wrong guess
    is no danger: the proof runs the same correction, and refuses what it breaks.
    """
    changed: dict[str, list[tuple[int, int]]] = {}  # module path -> (before, now) of its tensors' dims
    for name, now in shapes_of(model).items():
        changed.setdefault(_owner(name), []).extend(zip(before[name], now, strict=True))
    cut = {path for path, sizes in changed.items() if any(a != b for a, b in sizes)}
    for path in sorted(cut, key=len, reverse=True):
        module = model.get_submodule(path)
        if not refresh_sizes(module):
            _correct_numbers(module, changed[path])
    for path in sorted({path.rpartition(".")[0] for path in cut if path}):
        parent = model.get_submodule(path)
        if not isinstance(parent, _KNOWN):
            children = [f"{path}.{name}" if path else name for name, _ in parent.named_children()]
            _correct_numbers(parent, [size for child in children for size in changed.get(child, ())])


def refresh_sizes(module: nn.Module) -> bool:
    """``module`` with the sizes that its class caches set to those of its tensors; False for a class without a rule."""
    known = False
    for kind, refresh in _SIZES.items():
        if isinstance(module, kind):
            refresh(module)
            known = True
    named = _NAMED.get(type(module).__qualname__)
    if named is not None:
        named(module)
    return known or named is not None


def _owner(tensor: str) -> str:
    """Path of the module whose forward uses a tensor: what a parametrization holds belongs to the parametrized one."""
    path = tensor.rpartition(".")[0]
    return re.sub(r"(^|\.)parametrizations\..*$", "", path)


_HEADS = re.compile(r"head|^h$")
_HEAD_SIZE = re.compile(r"(head|kv|key|value|query).*(dim|size)|dim_head|d_head|^d_?[kvq]+$|^d_kv$")
_SIZE = re.compile(r"size|dim|features|channels|width|hidden|inner|planes|units|filters|embed|split|^[a-z]$")
_OTHER = re.compile(
    r"patch|kernel|window|vocab|im(a)?ge?|class|label|seq|len|max|pos|batch|group|stride|pool|layer|depth"
)
_INNER = re.compile(r"inner|split|all_head|(attn|attention|qkv|proj|ff|mlp|hidden|expand)\w*(dim|size|features|width)")


def _correct_numbers(module: nn.Module, sizes: list[tuple[int, int]]) -> None:
    """Set the whole-number attributes of ``module`` that follow ``sizes``, pairs of a dim before and now."""
    moved = {pair for pair in sizes if pair[0] != pair[1]}
    kept = {before for before, now in sizes if before == now}
    head = next((value for name, value in _numbers(module) if _HEAD_SIZE.search(name)), 1)
    for name, value in list(_numbers(module)):
        if _HEAD_SIZE.search(name) and "all_head" not in name:
            continue
        if _HEADS.search(name) and not re.search("size|dim|group", name):
            found = {
                value * now // before
                for before, now in moved
                if before % (value * head) == 0 and value * now % before == 0
            }
        else:
            found = {now for before, now in moved if before == value and _names_a_size(name)}
            if value in kept and not _INNER.search(name):
                found = set()
        if len(found) == 1:
            setattr(module, name, found.pop())


def _names_a_size(name: str) -> bool:
    return bool(_SIZE.search(name)) and not _OTHER.search(name)


def _numbers(module: nn.Module) -> Iterator[tuple[str, int]]:
    for name, value in vars(module).items():
        if type(value) is int and value > 1 and not name.startswith("_"):
            yield name, value


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
_KNOWN = tuple(_SIZES)

_NAMED: dict[str, Callable[..., None]] = {
    "Conv1D": _transposed_linear_sizes,  # of Hugging Face, which need not be installed
}
