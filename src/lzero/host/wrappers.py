"""Models in the wrappers of PyTorch: gates are attached to what is inside, before it is wrapped."""

from __future__ import annotations

import sys

from torch import Tensor, nn

from lzero._torch import COMPILED
from lzero.errors import StructureError

# Found in sys.modules, so that nothing is imported for models that never met it: whoever has an object of a class has
# imported its module.
_DATA_PARALLEL = {
    ("torch.nn.parallel", "DistributedDataParallel"): "module",
    ("torch.nn.parallel", "DataParallel"): "module",
}
_AROUND = {
    COMPILED[:2]: COMPILED[2],
    ("torch.optim.swa_utils", "AveragedModel"): "module",
}
_SHARDED = {("torch.distributed.fsdp", "FullyShardedDataParallel"): "", ("torch.distributed.fsdp", "FSDPModule"): ""}
_DTENSOR = ("torch.distributed.tensor", "DTensor")

_ORDER = "attach gates to the plain model first, and wrap it afterwards"
_HOW = {
    "DistributedDataParallel": "DistributedDataParallel(model)",
    "DataParallel": "DataParallel(model)",
    "OptimizedModule": "torch.compile(model)",
    "AveragedModel": "AveragedModel(model)",
    "FullyShardedDataParallel": "FullyShardedDataParallel(model, use_orig_params=True)",
    "FSDPModule": "fully_shard(model)",
}


def check_unwrapped(model: nn.Module) -> None:
    """Raise where ``model`` is in a wrapper, or a part of it is in one that shards or copies it.

    A compiled or averaged part of a model is no obstacle: the one runs op by op here, the other is a part like others.

    Raises:
        StructureError: naming the wrapper, and what to do first.
    """
    for path, module in model.named_modules():
        for place, inside in (_DATA_PARALLEL | _SHARDED | ({} if path else _AROUND)).items():
            if _is(module, place):
                where = f" (the model inside is its .{inside})" if inside else ""
                raise StructureError(
                    f"{path or type(model).__name__}: is wrapped already, by {place[1]}; {_ORDER}: "
                    f"lzero.attach_gates(model, inputs), then {_HOW[place[1]]}{where}"
                )
    for name, parameter in model.named_parameters():
        if is_distributed(parameter):
            raise StructureError(
                f"{name}: is sharded already (a DTensor); {_ORDER}: lzero.attach_gates(model, inputs), then "
                "fully_shard or parallelize_module"
            )


def check_not_parallel(model: nn.Module, what: str) -> None:
    """Raise where ``model`` is in DistributedDataParallel or DataParallel, which know its parameters by their sizes.

    Args:
        model: any module.
        what: the function that changes them, such as ``"compact"``.

    Raises:
        StructureError: with the way out.
    """
    for module in model.modules():
        for place, inside in _DATA_PARALLEL.items():
            if _is(module, place):
                raise StructureError(
                    f"{place[1]}: knows the parameters by the sizes that they had; call lzero.{what}(ddp.{inside}, "
                    f"optimizer) on all processes, and wrap the model anew: ddp = {place[1]}(ddp.{inside})"
                )


def check_unsharded(model: nn.Module, what: str) -> None:
    """Raise where this process has only a part of the weights of ``model``.

    Args:
        model: a model, unwrapped.
        what: the function to call on the gathered model, such as ``"purge"``.

    Raises:
        StructureError: with the way to the whole model.
    """
    kinds = [place[1] for module in model.modules() for place in _SHARDED if _is(module, place)]
    name = next((name for name, parameter in model.named_parameters() if is_distributed(parameter)), None)
    if kinds or name is not None:
        raise StructureError(
            f"{type(model).__name__}: its weights are sharded over the processes "
            f"({kinds[0] if kinds else f'{name} is a DTensor'}), and {what} needs them in one place; call, on all "
            "processes, lzero.integrations.fsdp.purge(model, build_model), which gathers them and purges a plain model "
            "(build_model builds the network anew, without gates)"
        )


def unwrap(model: nn.Module) -> nn.Module:
    """The user's module inside DistributedDataParallel, DataParallel, torch.compile and AveragedModel, nested any way.

    Any other module is given back as it is.
    """
    wrappers = _DATA_PARALLEL | _AROUND
    while inside := next((leaf for place, leaf in wrappers.items() if _is(model, place)), None):
        held = model._modules.get(inside)
        if held is None:  # around a function
            break
        model = held
    return model


def restore_forward(model: nn.Module) -> None:
    """Give ``model`` the forward of its class where ``accelerate`` has put one around it, for mixed precision.

    That runs under autocast and hands out float32: a part of the training loop, which a model from a file has not.
    """
    original = model.__dict__.pop("_original_forward", None)
    if original is None:
        return
    model.__dict__.pop("forward", None)
    if getattr(original, "__func__", None) is not type(model).forward:  # one that stood there before
        model.forward = original


def is_distributed(tensor: Tensor) -> bool:
    """Whether ``tensor`` is spread over processes or devices (a DTensor)."""
    return _is(tensor, _DTENSOR)


def _is(value: object, place: tuple[str, str]) -> bool:
    kind = getattr(sys.modules.get(place[0]), place[1], None)
    # Not isinstance: what torch.compile returns says that it is of the class of the model inside.
    return isinstance(kind, type) and issubclass(type(value), kind)
