"""Running a stranger's model quietly; what fails in its forward is told from our own bugs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lzero.host.cache import results_in
from lzero.host.inputs import ExampleInputs
from lzero.host.mode import set_mode
from lzero.host.module_path import ModulePath
from lzero.host.quiet import isolated_random_state, unfused
from lzero.host.stand_ins import exact_ops


class ForwardError(Exception):
    """The user's forward has raised: caught around it alone, so that no bug of the library's reads like one of theirs.

    Attributes:
        path: of the module that raised; ``""`` where it is unknown or the root.
        error: what it raised.
    """

    def __init__(self, path: str, error: Exception) -> None:
        self.path, self.error = path, error
        message = str(error).strip().split("\n")[0]
        super().__init__(f"{path or 'its forward'}: {type(error).__name__}: {message}")


def forward(model: nn.Module, inputs: ExampleInputs, where: ModulePath | None = None) -> Any:
    """What ``model`` returns, op by op and with the global random state as before.

    Raises:
        ForwardError: it fails, ``where`` being the path that hooks on it keep.
    """
    if where is not None:
        where.reset()
    with unfused(), isolated_random_state(model), exact_ops(model):
        try:
            return inputs.call(model)
        except Exception as error:
            raise ForwardError("" if where is None else where.current, error) from error


@torch.no_grad()
def run(model: nn.Module, inputs: object, where: ModulePath | None = None) -> list[Tensor]:
    """The results of ``model``, flat; it is left in eval mode, and the global random state is as before.

    Keys and values that it keeps for its next call are not among them.

    Raises:
        ForwardError: it fails, ``where`` being the path that hooks on it keep.
    """
    set_mode(model, training=False)
    return list(results_in(forward(model, ExampleInputs.of(inputs), where), model))
