"""The way back from a gated model to a plain one: a copy, or the user's own module."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import parametrize

from lzero._torch import NOT_SYNCHRONIZED, remove_hooks
from lzero.gates.gate import Gate
from lzero.gates.gates import Gates
from lzero.host.copies import deep_copy
from lzero.surgery.adapters import unseal
from lzero.surgery.attached import gated_leaves, gates_of, gates_on
from lzero.surgery.checkpoint import HOOKS, hide_place
from lzero.surgery.fills import remove_fills
from lzero.surgery.recurrent import unfollow_gates
from lzero.surgery.routings import remove_routings
from lzero.surgery.skips import remove_skips


def without_gates(model: nn.Module) -> nn.Module:
    """A copy of ``model`` without its gates, holding the ungated weights."""
    plain = deep_copy(model)
    gates = gates_of(plain)
    if gates is not None:
        strip(plain, gates)
    return plain


def strip(model: nn.Module, gates: Gates) -> None:
    """Take every trace of ``gates`` off ``model``, in place; its parameters keep their identity and their order."""
    for module in list(model.modules()):
        leaves = gated_leaves(module)
        if not leaves:
            continue
        order = gates_on(module, leaves[0])[0].siblings
        own_class(module)
        for leaf in leaves:
            parametrize.remove_parametrizations(module, leaf, leave_parametrized=False)
        restore_order(module, order)
        if isinstance(module, nn.RNNBase):
            unfollow_gates(module)
        remove_hooks(module, _is_gate)
    remove_fills(model)
    remove_skips(model)
    remove_routings(model)
    remove_hooks(model, lambda hook: _gates_behind(hook) is gates or hook in HOOKS)
    hide_place(model)
    unseal(model)
    model.__dict__.pop(NOT_SYNCHRONIZED, None)


def restore_order(module: nn.Module, order: tuple[str, ...]) -> None:
    """Put the parameters of ``module`` itself into this order: optimizers and state dicts go by it."""
    parameters = module._parameters
    for name in [*(name for name in order if name in parameters), *(name for name in parameters if name not in order)]:
        parameters[name] = parameters.pop(name)


def own_class(module: nn.Module) -> None:
    """Give ``module`` its own class: a parametrization lives on the class, which copies share."""
    shared = type(module)
    attributes = {name: value for name, value in vars(shared).items() if name not in ("__dict__", "__weakref__")}
    module.__class__ = type(shared.__name__, shared.__bases__, attributes)


def _gates_behind(hook: object) -> object:
    """What a hook of the model draws or watches."""
    return getattr(hook, "gates", None) or getattr(hook, "__self__", None)


def _is_gate(hook: object) -> bool:
    return isinstance(getattr(hook, "__self__", None), Gate)
