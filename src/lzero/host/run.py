"""Running a stranger's model quietly; what fails in its forward is told from our own bugs."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from lzero.host.cache import results_in
from lzero.host.failure_line import failure_line
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
        line: file, number and source of the line of the user's own that raised it; ``""`` where there is none.
    """

    def __init__(self, path: str, error: Exception) -> None:
        self.path, self.error = path, error
        self.line = failure_line(error.__traceback__)
        message = str(error).strip().split("\n")[0]
        place = f" at {self.line}" if self.line else ""
        super().__init__(f"{path or 'its forward'}: {type(error).__name__}: {message}{place}")

    @property
    def is_of_a_view(self) -> bool:
        """Whether the tensor has not as many elements as the sizes that it was to be viewed with."""
        return _VIEWED.search(str(self.error)) is not None


_VIEWED = re.compile(r"shape '.*' is invalid for input of size")


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
