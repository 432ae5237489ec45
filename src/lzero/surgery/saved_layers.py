"""Whether the saved tensors of a layer fit each other: widths that its forward needs to be one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from lzero.errors import StructureError

Extent = tuple[str, int]
"""Something to name in an error, and the width that it implies; all widths of one layer have to be equal."""


class Saved:
    """The saved tensors of the module at ``path``."""

    def __init__(self, path: str, state: Mapping[str, Tensor]) -> None:
        self._prefix, self._state = f"{path}." if path else "", state

    def extents(self, **dims: int) -> Iterator[Extent]:
        """The sizes of the tensors called so along these dims, of those that were saved."""
        for leaf, dim in dims.items():
            yield from self.extent(leaf, dim)

    def size(self, leaf: str, dim: int) -> int:
        """The size of ``leaf`` along ``dim``."""
        return self._state[self._prefix + leaf].shape[dim]

    def extent(self, leaf: str, dim: int, *, over: int = 1, times: int = 1) -> Iterator[Extent]:
        """The size of ``leaf`` along ``dim``, divided and multiplied; nothing where it was not saved."""
        tensor = self._state.get(self._prefix + leaf)
        if tensor is not None and tensor.dim() > dim:
            size = tensor.shape[dim]
            yield self._prefix + leaf, size // over * times if size % over == 0 else -1


def check_agreement(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Raise where ``state``, that of a purged ``model``, has a layer whose own tensors do not fit each other.

    Raises:
        StructureError: naming two tensors of that layer, or one that its heads or groups do not divide.
    """
    for path, module in model.named_modules():
        for kind, rule in _RULES.items():
            if isinstance(module, kind):
                for extents in rule(module, Saved(path, state)):
                    _check_equal(list(extents), state)
        if isinstance(module, _ONE_DTYPE):
            _check_dtypes(path, module, state)


def _check_equal(extents: list[Extent], state: Mapping[str, Tensor]) -> None:
    for name, width in extents:
        first, expected = extents[0]
        if width != expected or width < 0:
            raise StructureError(
                f"{first} and {name}: saved with shapes {_shape(state, first)} and {_shape(state, name)}, which do not "
                "fit each other in one layer, so that no purge has made them; save the purged model again"
            )


def _shape(state: Mapping[str, Tensor], name: str) -> list[int]:
    return list(state[name].shape)


def _check_dtypes(path: str, module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """The float parameters of a layer come in one dtype, if those of the model do."""
    tensors = {f"{path}.{leaf}" if path else leaf: p for leaf, p in module._parameters.items() if p is not None}
    floats = {name: p for name, p in tensors.items() if p.is_floating_point() and name in state}
    saved = {state[name].dtype for name in floats}
    if len({p.dtype for p in floats.values()}) == 1 and len(saved) > 1:
        found = ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in saved))
        raise StructureError(f"{' and '.join(floats)}: expected one dtype in one layer, found {found}")


def _linear(module: nn.Module, saved: Saved) -> Iterator[Iterator[Extent]]:
    yield saved.extents(weight=0, bias=0)


def _conv(module: nn.modules.conv._ConvNd, saved: Saved) -> Iterator[Iterator[Extent]]:
    depthwise = 1 < module.groups == module.in_channels
    if module.transposed:
        groups = saved.size("weight", 0) if depthwise else module.groups
        yield _chain(saved.extent("weight", 1, times=groups), saved.extent("bias", 0))
        if not depthwise:
            yield saved.extent("weight", 0, over=groups)
        return
    yield saved.extents(weight=0, bias=0)
    yield saved.extent("weight", 0, over=module.out_channels // module.groups if depthwise else module.groups)


def _norm(module: nn.Module, saved: Saved) -> Iterator[Iterator[Extent]]:
    yield saved.extents(weight=0, bias=0, running_mean=0, running_var=0)


def _group_norm(module: nn.GroupNorm, saved: Saved) -> Iterator[Iterator[Extent]]:
    yield saved.extents(weight=0, bias=0)
    if module.num_groups != module.num_channels:
        yield saved.extent("weight", 0, over=module.num_groups)


def _recurrent(module: nn.RNNBase, saved: Saved) -> Iterator[Iterator[Extent]]:
    gates = _GATES[module.mode]
    ends = [f"l{layer}{way}" for layer in range(module.num_layers) for way in ("", "_reverse")[: _ways(module)]]
    rows = [saved.extent(f"{name}_{end}", 0, over=gates) for end in ends for name in _ROWS]
    states = [saved.extent(f"weight_hh_{end}", 1) for end in ends]
    if module.proj_size:
        yield _chain(*rows, *(saved.extent(f"weight_hr_{end}", 1) for end in ends))
        states += [saved.extent(f"weight_hr_{end}", 0) for end in ends]
    else:
        states += rows
    deeper = [saved.extent(f"weight_ih_{end}", 1, over=_ways(module)) for end in ends[_ways(module) :]]
    yield _chain(*states, *deeper)
    yield _chain(*(saved.extent(f"weight_ih_{end}", 1) for end in ends[: _ways(module)]))


def _ways(module: nn.RNNBase) -> int:
    return 2 if module.bidirectional else 1


def _cell(module: nn.RNNCellBase, saved: Saved) -> Iterator[Iterator[Extent]]:
    gates = 4 if isinstance(module, nn.LSTMCell) else 3 if isinstance(module, nn.GRUCell) else 1
    yield _chain(saved.extent("weight_hh", 1), *(saved.extent(name, 0, over=gates) for name in _ROWS))


def _attention(module: nn.MultiheadAttention, saved: Saved) -> Iterator[Iterator[Extent]]:
    yield _chain(
        *(saved.extent(name, 0, over=3) for name in ("in_proj_weight", "in_proj_bias")),
        saved.extents(q_proj_weight=0, k_proj_weight=0, v_proj_weight=0, bias_k=2, bias_v=2),
        saved.extent("out_proj.weight", 1),
    )
    yield saved.extent("out_proj.weight", 1, over=module.head_dim)


def _chain(*parts: Iterator[Extent]) -> Iterator[Extent]:
    for part in parts:
        yield from part


_ROWS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}
_ONE_DTYPE = (nn.Linear, nn.modules.conv._ConvNd, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)
_RULES: dict[type[nn.Module], Callable[[Any, Saved], Iterator[Iterator[Extent]]]] = {
    nn.Linear: _linear,
    nn.Bilinear: _linear,
    nn.LayerNorm: _linear,
    nn.modules.conv._ConvNd: _conv,
    nn.modules.batchnorm._NormBase: _norm,
    nn.GroupNorm: _group_norm,
    nn.RNNBase: _recurrent,
    nn.RNNCellBase: _cell,
    nn.MultiheadAttention: _attention,
}
