"""The models of torchvision, and the smallest one of every module of timm, without weights, on images that are small.

Few classes, and images as small as a model runs on: detection models scale them to `SIDE`, transformers are built for
them where they can be. Weights are drawn by each library's own initialisation and moved by noise, so that nothing is
zero by it.
"""

import itertools
from unittest.mock import patch

import timm
import torch
import torchvision
from source import NotBuilt, Source, line, parameters
from torch import nn
from torchvision.models.video import mvit

CLASSES = 6
SIDE = 64
SIDES = (64, 96, 128, 160, 192, 224, 256, 288, 320)
MANY = 250_000_000
"""Parameters from which on nothing is moved by noise: it is a copy of them more."""

_DETECTION = {
    "weights_backbone": None,
    "min_size": SIDE,
    "max_size": 2 * SIDE,
    "num_classes": CLASSES,
}
_BACKBONE = {"weights_backbone": None, "num_classes": CLASSES}
_SQUARE = {"num_classes": CLASSES, "image_size": SIDE}
_CLIP = {"spatial_size": (SIDE, SIDE), "temporal_size": 8}
_OPTIONS = (
    (("raft",), {}),
    (("fasterrcnn", "maskrcnn", "keypointrcnn", "retinanet", "fcos"), _DETECTION),
    (("ssd", "fcn", "deeplab", "lraspp"), _BACKBONE),
    (("vit_h",), {**_SQUARE, "image_size": 56}),
    (("vit",), _SQUARE),
)
_MVIT = mvit._mvit
_SIDE = {"inception_v3": 80, "maxvit_t": 224, "raft_large": 128, "raft_small": 128, "vit_h_14": 56, "s3d": 224}


def torchvision_types():
    """All models of torchvision but those with quantised weights."""
    return [name for name in torchvision.models.list_models() if not name.startswith("quantized")]


def torchvision_model(kind, runs):
    """A model of torchvision, what inputs it takes, and its class."""
    options = next((found for names, found in _OPTIONS if kind.startswith(names)), {"num_classes": CLASSES})
    torch.manual_seed(0)
    with patch.object(mvit, "_mvit", lambda **given: _MVIT(**given | _CLIP)):  # it takes no other size
        model = torchvision.models.get_model(kind, weights=None, **options)
    where = type(model).__module__
    side = _SIDE.get(kind, SIDE)
    form = ("images", side)
    if ".detection." in where:
        form = ("list", side)
    elif ".optical_flow." in where:
        form = ("pairs", side)
    elif ".video." in where or type(model).__name__ == "SwinTransformer3d":
        form = ("clips", side)
    return _ready(model, form, runs), form, type(model).__name__


def timm_types():
    """The modules of timm, of which each is a family."""
    return timm.list_modules()


def timm_model(kind, runs):
    """The smallest model of a module of timm, the size of its images, and its name."""
    sizes = {}
    for name in timm.list_models(module=kind):
        with torch.device("meta"):
            sizes[name] = parameters(timm.create_model(name, num_classes=CLASSES))
    name = min(sizes, key=sizes.get)
    reasons = []
    for side, options in itertools.product(SIDES, ({}, {"img_size": None})):
        torch.manual_seed(0)
        form = ("images", side)
        try:
            model = timm.create_model(name, num_classes=CLASSES, **dict.fromkeys(options, side))
            return _ready(model, form, runs), form, name
        except Exception as error:
            reasons.append(line(error))
    raise NotBuilt(f"{name}: {reasons[-1]}")


def _ready(model, form, runs):
    """`model` in eval mode, its weights moved by noise, where it runs on inputs of this form.

    What detects draws all weights: by the initialisation of its library an image moves no score, rounding would order
    them.
    """
    model = model.float().eval()
    with torch.no_grad():
        for parameter in model.parameters() if parameters(model) < MANY else ():
            if form[0] == "list" and parameter.dim() > 1:
                nn.init.kaiming_normal_(parameter)
            parameter += 0.02 * torch.randn_like(parameter)
    runs(model, inputs_of(model, form, 2, 0, 0))
    return model


def inputs_of(model, form, batch, more, seed):
    """Images of this form, `more` pixels larger one way."""
    made = torch.Generator().manual_seed(seed)
    what, side = form
    size = (3, side, side + more)
    if what == "list":
        return ([torch.rand(*size, generator=made) for _ in range(batch)],)
    if what == "pairs":
        return tuple(torch.randn(batch, *size, generator=made) for _ in range(2))
    if what == "clips":
        frames = 8 if side == SIDE else 16
        return (torch.randn(batch, 3, frames, *size[1:], generator=made),)
    return (torch.randn(batch, *size, generator=made),)


_FRESH = ((3, 32, "batch and size"), (3, 64, "batch and size"), (3, 0, "batch"), (2, 0, "values"))

TORCHVISION = Source("torchvision", torchvision_types, torchvision_model, inputs_of, (2, 0), _FRESH, 1)
TIMM = Source("timm", timm_types, timm_model, inputs_of, (2, 0), _FRESH, 1)
