"""Bytes of real tensors that an object leads to."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

_PLAIN = (str, bytes, int, float, bool, complex, type(None), type, torch.dtype, torch.device, torch.Size)


def tensors_behind(*roots):
    """Every tensor and array that attributes and containers lead to; parameters stay out.

    Modules are entered as far as they are of lzero: the network itself is not what is asked for.
    """
    found, seen, queue = {}, set(), list(roots)
    while queue:
        thing = queue.pop()
        if isinstance(thing, _PLAIN) or id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, torch.Tensor):
            if not isinstance(thing, nn.Parameter):
                found[id(thing)] = thing
                queue.append(thing.grad if thing.is_leaf else None)
        elif isinstance(thing, np.ndarray):
            if isinstance(thing.base, np.ndarray):
                queue.append(thing.base)
            else:
                found[id(thing)] = thing
        elif isinstance(thing, Mapping):
            queue += [*thing.keys(), *thing.values()]
        elif isinstance(thing, list | tuple | set | frozenset):
            queue += list(thing)
        elif type(thing).__module__.split(".")[0] in ("lzero", "cooper") or isinstance(thing, torch.optim.Optimizer):
            queue += list(getattr(thing, "__dict__", {}).values())
            queue += [getattr(thing, name, None) for name in getattr(type(thing), "__slots__", ())]
    return list(found.values())


def bytes_of(things, without=()):
    """Bytes behind ``things``, every storage once, and not those of ``without``."""
    sizes, known = {}, {tensor.untyped_storage().data_ptr() for tensor in without}
    for thing in things:
        if isinstance(thing, torch.Tensor):
            storage = thing.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
        else:
            start = thing.__array_interface__["data"][0]
            sizes[start] = max(sizes.get(start, 0), thing.nbytes)
    return sum(size for start, size in sizes.items() if start not in known)


def bytes_a_gate(training):
    """Bytes beyond Adam's two moments, with the gradient and the draw of a step, for each gate of a Training."""
    training.step()
    training.backward()
    modules = [module for module in training.model.modules() if type(module).__module__.startswith("lzero.")]
    ledger = training.gates.ledger.items()
    moments = [tensor for name, tensor in ledger if name.endswith(("exp_avg", "exp_avg_sq"))]
    inputs = [training.gates.plan.example_inputs]  # the user's
    inputs = [tensor for tensor in tensors_behind(inputs) if isinstance(tensor, torch.Tensor)]
    return bytes_of(tensors_behind(*modules, training.solver), [*moments, *inputs]) / len(training.gates)
