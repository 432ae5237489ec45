"""The networks that the lab trains, as plain modules that know nothing of gates."""

from lzero_lab.models.registry import build, known, names
from lzero_lab.models.small import MLP, LeNet5, ResNet
from lzero_lab.models.wide_resnet import WideResNet

__all__ = ["MLP", "LeNet5", "ResNet", "WideResNet", "build", "known", "names"]
