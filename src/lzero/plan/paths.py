"""Names of tensors and paths of modules: who owns what, and what lies below what."""

from __future__ import annotations

import re


def owner(tensor: str) -> str:
    """Path of the module whose forward uses a tensor: what a parametrization holds belongs to the parametrized one."""
    return re.sub(r"(^|\.)parametrizations\..*$", "", tensor.rpartition(".")[0])


def covers(path: str, name: str) -> bool:
    """Whether the module or tensor called ``name`` is, or lies below, the module ``path``; ``""`` is the root."""
    return not path or name == path or name.startswith(f"{path}.")


def join(path: str, leaf: str) -> str:
    """The name of ``leaf`` in the module at ``path``."""
    return f"{path}.{leaf}" if path else leaf
