"""Which part of a model a training step calls first, and with what: a step that ends where computing would begin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from lzero.errors import StructureError
from lzero.host.copies import linked_copy
from lzero.host.inputs import Arguments, ExampleInputs
from lzero.host.quiet import isolated_random_state, unfused
from lzero.host.wrappers import unwrap


@dataclass(frozen=True, eq=False)
class FirstCall:
    """The first call of a module that is trained.

    Attributes:
        path: of the module within the model; empty for the model itself.
        module: the one that was called; inside ``torch.compile``, what was compiled.
        inputs: what it was called with, as :func:`lzero.attach_gates` takes them.
    """

    path: str
    module: nn.Module
    inputs: ExampleInputs

    def check_whole(self, model: nn.Module, what: str) -> None:
        """Raise where the module holds only some of the parameters of ``model`` that are trained.

        Raises:
            StructureError: naming it, and how to say what to gate.
        """
        own, all_ = _trainable(self.module), _trainable(model)
        if own < all_:
            raise StructureError(
                f"{what} calls {self.path!r} first, which holds {len(own)} of the {len(all_)} parameters that are "
                f"trained: name the part that is to become smaller, Budget(..., module={self.path!r}), or pass "
                "example_inputs= (or set example_input_array) to gate what forward() of the whole module takes"
            )


class _Called(BaseException):
    """Ends a step; no Exception, which the user's code may catch."""

    def __init__(self, module: nn.Module, inputs: object) -> None:
        super().__init__()
        self.module, self.inputs = module, inputs


def first_call(step: Callable[[Any], object], model: nn.Module, what: str, among: nn.Module | None = None) -> FirstCall:
    """What ``step(model)`` calls first, of the model and its parts; it is stopped there.

    It runs on a copy, so that what it counts or keeps leaves no trace, and random generators are as they were.

    Args:
        step: takes the model, and runs until it calls a part.
        model: the whole model.
        what: the name of the step, for errors.
        among: the part to look at; by default all that hold parameters that are trained.

    Raises:
        StructureError: the step failed, or ended, before it called any; or the model cannot be copied.
    """
    twin = linked_copy(model)
    places = [path for path, part in model.named_modules() if (_trainable(part) if among is None else part is among)]
    paths = {twin.get_submodule(path): path for path in places}
    for part in paths:
        part.register_forward_pre_hook(_stop, prepend=True, with_kwargs=True)
    with isolated_random_state(model), unfused():
        try:
            step(twin)
        except _Called as called:
            path = paths[called.module]
            return FirstCall(path, unwrap(model.get_submodule(path)), ExampleInputs.of(called.inputs).copy())
        except Exception as error:
            raise StructureError(
                f"{what} failed before it called a module that is trained ({type(error).__name__}: {error}), when it "
                "was tried for what the model is called with; pass Budget(..., example_inputs=...)"
            ) from error
    raise StructureError(
        f"{what} calls no module that is trained; pass Budget(..., example_inputs=...), what one forward takes"
    )


def _stop(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    raise _Called(module, Arguments(args, kwargs) if args and kwargs else kwargs or args)


def _trainable(module: nn.Module) -> set[int]:
    return {id(parameter) for parameter in module.parameters() if parameter.requires_grad}
