"""Units out of a model that trains, in place: its parameters stay the objects that they are, and become smaller."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from lzero._torch import hook_loading_first, leave_loading_hooks
from lzero.checks import shown
from lzero.errors import SolverError
from lzero.gates.gates import Gates
from lzero.gates.narrow import narrow, narrow_ledger
from lzero.gates.whole import Whole
from lzero.host.memory_format import like_format
from lzero.host.resize import resize
from lzero.host.snapshot import Snapshot
from lzero.host.tensors import find_tensor, replace_tensors, saved_size, saved_tensors
from lzero.plan.narrowed import may_go, narrowed, positions_left
from lzero.surgery.attached import raw_tensor, root_gates
from lzero.surgery.checkpoint import PREFIX
from lzero.surgery.optimizer_state import OptimizerStates
from lzero.surgery.register import register
from lzero.surgery.remove import strip
from lzero.surgery.shrink import shrink

LEFT = f"{PREFIX}left"
"""The entry of a state dict that says which gates are left."""


def narrow_model(
    model: nn.Module,
    keep: Tensor,
    optimizers: Iterable[torch.optim.Optimizer] = (),
    copies: Iterable[nn.Module] = (),
) -> None:
    """``model`` without the units whose gates ``keep``, bool [G], closes, in place; the others follow.

    Parameters stay the objects that they are, and so do the gates. Whatever stops it, all of them are as they were, to
    the bit.

    Args:
        model: with gates attached, unwrapped.
        keep: of groups that :func:`lzero.plan.narrowed.may_go` says no of, all True; one at least in each.
        optimizers: all that have parameters of ``model``.
        copies: other models with the same gates, which lose the same units.

    Raises:
        StructureError: an optimizer keeps what cannot be cut.
    """
    models, undo = [model, *copies], list[Callable[[], None]]()
    try:
        for number, each in enumerate(models):
            _narrow(each, keep.to(root_gates(each).log_alpha.device), () if number else optimizers, undo)
    except BaseException:
        for back in reversed(undo):
            back()
        raise
    for each in models:
        gates = root_gates(each)
        narrow_ledger(gates, keep.to(gates.log_alpha.device))


def _narrow(
    model: nn.Module,
    keep: Tensor,
    optimizers: Iterable[torch.optim.Optimizer],
    undo: list[Callable[[], None]],
) -> None:
    """Narrow one model; what takes it back, first things last, is appended to ``undo`` before it is needed."""
    gates = root_gates(model)
    kept = {name: mask.cpu() for name, mask in gates.split(keep).items()}
    plan = narrowed(gates.plan, kept)
    tensors = {name: raw_tensor(model, name) for group in gates.plan.groups for name in group.tensors}
    stays = positions_left(gates.plan, kept, {name: tensor.shape for name, tensor in tensors.items()})
    parameters = {name: tensor for name, tensor in tensors.items() if isinstance(tensor, nn.Parameter)}
    states = OptimizerStates(optimizers, {parameters[name]: stays[name] for name in stays if name in parameters})
    undo.append(Snapshot(list(model.modules())).restore)
    strip(model, gates)
    whole = gates.whole or _whole(model, gates)
    shrink(model, gates.plan.groups, kept)
    for name in stays:
        if name in parameters:
            undo.append(_undo(parameters[name]))
            resize(parameters[name], lambda values, dims=stays[name]: _at(values, dims))  # type: ignore[misc]
    replace_tensors(model, {find_tensor(model, name): tensor for name, tensor in parameters.items()})
    undo.append(_undo(gates.log_alpha))
    narrow(gates, plan, keep, whole)
    register(model, plan.maps(), gates, rescale=False, then=follow_saved)
    undo.append(states.restore)
    states.apply()


class SavedWidths:
    """A hook on loading: a model that takes up a training that units had left loses the same ones first."""

    def __init__(self, gates: Gates) -> None:
        self.gates = gates

    def __call__(self, model: nn.Module, state: Mapping[str, Tensor], prefix: str, *_: object) -> None:
        """Let ``model`` be as narrow as the one that ``state`` was saved of.

        Raises:
            SolverError: it is narrower already.
        """
        saved: object = state.get(prefix + LEFT)
        own = torch.arange(self.gates.plan.size) if self.gates.whole is None else self.gates.whole.numbers
        if saved is None:
            if self.gates.whole is not None and any(key.startswith(prefix + PREFIX) for key in state):
                raise SolverError(_NARROWER)
            return
        if not isinstance(saved, Tensor) or saved.dtype != torch.long or saved.dim() != 1:
            expected = "expected the numbers of gates in int64"
            raise SolverError(f"{prefix}{LEFT}: {expected}, found {shown(saved)}; {_AS_SAVED}")
        keep = torch.isin(own, saved.cpu())
        if int(keep.sum()) < len(saved):
            raise SolverError(_NARROWER)
        if len(saved) < len(own):
            able = may_go(self.gates.plan)
            for name, mask in self.gates.split(keep).items():
                if not bool(mask.any() if able[name] else mask.all()):
                    raise SolverError(f"{prefix}{LEFT}: does not fit the gates of {name}; {_AS_SAVED}")
            leave_loading_hooks(model)
            narrow_model(model, keep.to(self.gates.log_alpha.device))


_AS_SAVED = "load a state dict as it was saved, into the model as it was built"
_NARROWER = (
    "the saved training had units that have left this model since (lzero.compact): load it into the model as it was "
    "built, with gates attached anew"
)


def follow_saved(model: nn.Module, gates: Gates) -> None:
    """Let ``model`` take up trainings that units have left; before all other hooks on loading."""
    hook_loading_first(model, SavedWidths(gates))


def _whole(model: nn.Module, gates: Gates) -> Whole:
    """What there is of ``model``, whose gates are off."""
    shapes = {name: tuple(tensor.shape) for name, tensor in saved_tensors(model).items()}
    return Whole(gates.plan, torch.arange(len(gates)), shapes, saved_size(model))


def _at(values: Tensor, dims: Mapping[int, Tensor]) -> Tensor:
    """``values`` at the positions that stay of each of the ``dims``, in their memory format."""
    small = values
    for dim, where in dims.items():
        small = small.index_select(dim, where.to(values.device))
    return like_format(small, values)


def _undo(tensor: Tensor) -> Callable[[], None]:
    values, grad = tensor.data, tensor.grad

    def back() -> None:
        tensor.grad = None
        resize(tensor, lambda _: values)
        tensor.grad = grad

    return back
