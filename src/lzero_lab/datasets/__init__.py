"""Data sets as plain tensors: scikit-learn's digits, MNIST and Fashion-MNIST from IDX files, CIFAR-10 from images."""

from lzero_lab.datasets.dataset import Dataset, batches
from lzero_lab.datasets.registry import load, names

__all__ = ["Dataset", "batches", "load", "names"]
