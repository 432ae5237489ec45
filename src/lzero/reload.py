"""A purged model from its folder or state dict: the way back from a file to a network that runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lzero._torch import save_buffer
from lzero.errors import StructureError
from lzero.host.memory_format import like_format
from lzero.host.snapshot import Snapshot
from lzero.host.tensors import tensors_of
from lzero.plan.paths import join
from lzero.shipped.folder import read_saved
from lzero.surgery.attached import gated_leaves
from lzero.surgery.config_numbers import Number, saved_numbers, set_numbers
from lzero.surgery.depth import cut_as_saved, cut_entries_as_saved, saved_cuts, saved_entries
from lzero.surgery.gathered_linear import COLUMNS, gather
from lzero.surgery.layer_sizes import correct_sizes
from lzero.surgery.ratios import saved_ratios, set_ratios
from lzero.surgery.saved_entries import check_entries, check_fresh
from lzero.surgery.saved_layers import check_agreement
from lzero.surgery.saved_names import fresh_names, gathered_linears
from lzero.surgery.saved_shapes import check_columns, check_keys, check_shapes


def load_purged(model: nn.Module, saved: str | os.PathLike[str] | Mapping[str, Tensor]) -> nn.Module:
    """``model`` itself, turned into the purged network that was ``saved``.

    Every parameter and buffer takes the saved shape, dtype and value and stays on its device and in its memory format;
    a Linear with saved ``columns`` becomes a ``GatheredLinear``; sizes that modules cache follow. Tied parameters
    stay tied, and one name of a tied tensor is enough. Build optimizers afterwards.

    Args:
        model: a fresh instance of the architecture that the gates were attached to, without gates; one whose forward
            puts modules in the place of others must have run first, if it had when the gates were attached.
        saved: the folder that :func:`save_purged` wrote; or ``purge(...).model.state_dict()``, perhaps from a file read
            with ``weights_only=True`` or by safetensors.

    Example:
        >>> import lzero
        >>> from torch import nn, zeros
        >>> def network():
        ...     return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
        >>> model = network()
        >>> gates = lzero.attach_gates(model, zeros(1, 8))
        >>> result = lzero.purge(model, constraints=[lzero.Constraint(0.5)])
        >>> small = lzero.load_purged(network(), result.model.state_dict())
        >>> small[0].out_features, small[2].in_features
        (7, 7)

    Raises:
        StructureError: no module, no state dict and no folder; files that are missing, damaged or of another format;
            missing or unexpected tensors, or such as no purge of this architecture has, by shape or dtype. ``model`` is
            then as it was, to the bit.
    """
    state: Mapping[str, Tensor]
    check_fresh(model)
    if any(gated_leaves(module) for module in model.modules()):
        raise StructureError(f"{type(model).__name__}: has gated tensors; expected a fresh model without gates")
    if isinstance(saved, str | os.PathLike):
        description, state = read_saved(saved)
        description.origin.check(model, os.fspath(saved))
    else:
        state = check_entries(saved)
    (places, closed), entries = saved_cuts(state), saved_entries(state)
    with _undone_by_errors(model):
        cut_as_saved(model, places, closed)
        cut_entries_as_saved(model, entries)
        _check_and_load(model, state)
    return model


def _check_and_load(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    linears = gathered_linears(model, state)
    state = fresh_names(model, state)
    columns = {join(path, COLUMNS): linear for path, linear in linears.items()}
    ratios = saved_ratios(model, state)
    others = {name: tensor for name, tensor in state.items() if name not in ratios}
    numbers, buffers = saved_numbers(model, others), _unsaved_buffers(model, state)
    check_keys(model, state, (*columns, *numbers, *ratios, *buffers))
    check_shapes(model, state, buffers)
    check_agreement(model, state)
    for name, linear in columns.items():
        check_columns(name, state[name], state[name.removesuffix(COLUMNS) + "weight"], linear.weight)
    set_ratios(model, list(ratios.values()))  # first: a model of an earlier purge has shares, which it takes next
    _load(model, state, columns, [number for several in numbers.values() for number in several], buffers)


def _load(
    model: nn.Module,
    state: Mapping[str, Tensor],
    columns: Mapping[str, nn.Linear],
    numbers: Sequence[Number],
    buffers: Sequence[str],
) -> None:
    for name in buffers:
        path, _, leaf = name.rpartition(".")
        save_buffer(model.get_submodule(path), leaf)
    _take(model, state)
    correct_sizes(model, [name for name in tensors_of(model) if name in state])
    for name, linear in columns.items():
        gather(linear, state[name].to(linear.weight.device, copy=True))
    set_numbers(model, numbers)


@contextmanager
def _undone_by_errors(model: nn.Module) -> Iterator[None]:
    """A context that an error leaves with the modules of ``model`` as they were: no tensor is written into here."""
    before = Snapshot(model.modules())
    try:
        yield
    except BaseException as error:
        before.restore()
        if isinstance(error, StructureError) or not isinstance(error, Exception):  # Ctrl-C
            raise
        raise StructureError(
            f"{type(model).__name__}: loading failed ({type(error).__name__}: {error}), and the model is as it was; "
            "build the model that the gates were attached to, and pass the state dict of its purged copy"
        ) from error


def _unsaved_buffers(model: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """Buffers that state dicts of ``model`` leave out and that of the purged one has, because units left them."""
    unsaved = dict(model.named_buffers(remove_duplicate=False)).keys() - model.state_dict().keys()
    return sorted(unsaved & state.keys())


@torch.no_grad()
def _take(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Replace every saved tensor wherever it is registered, each old tensor by one new."""
    replaced: dict[Tensor, Tensor] = {}
    for path, module in model.named_modules():
        for table in (module._parameters, module._buffers):
            for leaf, old in table.items():
                name = join(path, leaf)
                if old is None or name not in state:
                    continue
                if old not in replaced:
                    replaced[old] = _placed(state[name], old)
                table[leaf] = replaced[old]


def _placed(saved: Tensor, old: Tensor) -> Tensor:
    """A copy of ``saved`` where, as what, and in the memory format in which ``old`` is."""
    value = like_format(saved.detach().to(old.device, copy=True), old)
    if old.is_contiguous():
        value = value.contiguous()
    return nn.Parameter(value, old.requires_grad) if isinstance(old, nn.Parameter) else value
