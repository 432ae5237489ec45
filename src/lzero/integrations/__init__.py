"""One callback or call for each training framework: ``lzero.integrations.lightning.Budget(0.10)``.

Each module is imported when it is first used, and imports its framework itself; the extra of the same name
(``pip install "lzero[lightning]"``) installs it.
"""

import importlib
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lzero.integrations import accelerate as accelerate
    from lzero.integrations import fabric as fabric
    from lzero.integrations import fsdp as fsdp
    from lzero.integrations import lightning as lightning
    from lzero.integrations import peft as peft
    from lzero.integrations import request as request
    from lzero.integrations import transformers as transformers

STACKS: dict[str, tuple[str, ...]] = {
    "accelerate": ("accelerate",),
    "fabric": ("lightning", "lightning_fabric"),
    "fsdp": ("torch",),
    "lightning": ("lightning", "pytorch_lightning"),
    "peft": ("peft",),
    "transformers": ("transformers",),
}
"""A module of this folder -> the packages of which it needs one; its extra has the same name."""


def __dir__() -> list[str]:
    """One name for each framework, whether it is installed or not."""
    return sorted(STACKS)


if not TYPE_CHECKING:  # a checker must see every name that is not there

    def __getattr__(name: str) -> object:
        """The module of a framework, imported on first use.

        Raises:
            ImportError: the framework is not installed.
        """
        if name not in STACKS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(sorted(STACKS))}")
        if not any(find_spec(package) for package in STACKS[name]):
            raise ImportError(
                f"{__name__}.{name} needs {' or '.join(STACKS[name])}, which is not installed; install it: "
                f'pip install "lzero[{name}]"'
            )
        return importlib.import_module(f"{__name__}.{name}")
