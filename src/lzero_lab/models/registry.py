"""Networks by name, sized for a data set."""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import nn

from lzero.errors import StructureError
from lzero_lab.datasets.dataset import Dataset
from lzero_lab.models.small import MLP, LeNet5, ResNet
from lzero_lab.models.wide_resnet import WideResNet


def _lenet5(dataset: Dataset) -> nn.Module:
    channels, height, width = dataset.image_shape
    if height != width:
        raise StructureError(
            f"lenet5: expected square images, {dataset.name} has {height} x {width}; use mlp or resnet"
        )
    return LeNet5(channels, height, classes=dataset.classes)


_BUILDERS: dict[str, Callable[[Dataset], nn.Module]] = {
    "mlp": lambda dataset: MLP(dataset.features, classes=dataset.classes),
    "lenet5": _lenet5,
    "resnet": lambda dataset: ResNet(dataset.image_shape[0], classes=dataset.classes),
    "resnet20": lambda dataset: ResNet(dataset.image_shape[0], blocks=3, classes=dataset.classes),
}
_WIDE = re.compile(r"wrn-([0-9]{1,4})-([0-9]{1,4})")


def build(name: str, dataset: Dataset) -> nn.Module:
    """A fresh network called `name`, sized for the images and classes of `dataset`.

    A wide residual network of any depth and width is called after them: ``"wrn-28-10"``.

    Its weights come from torch's global generator: seed that first.

    Raises:
        StructureError: an unknown name, or images that the network cannot read.
    """
    wide = _WIDE.fullmatch(name)
    if wide is not None:
        depth, width = map(int, wide.groups())
        return WideResNet(depth, width, dataset.image_shape[0], dataset.classes)
    if name not in _BUILDERS:
        raise StructureError(
            f"build: no model is called {name!r}; there are: {', '.join(names())}, and wrn-<depth>-<width>, such as "
            "wrn-28-10"
        )
    return _BUILDERS[name](dataset)


def known(name: str) -> bool:
    """Whether :func:`build` knows the ``name``; the depth and width in one may still make no network."""
    return name in _BUILDERS or _WIDE.fullmatch(name) is not None


def names() -> tuple[str, ...]:
    """The names that :func:`build` knows, besides those of wide residual networks."""
    return tuple(_BUILDERS)
