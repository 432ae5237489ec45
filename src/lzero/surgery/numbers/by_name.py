"""The family of all modules, for classes that nobody knows: the words in a name tell what it counts."""

from __future__ import annotations

import re

from torch import nn

from lzero.surgery.numbers.registry import Role, number_family

_HEADS = re.compile(r"head|^h$")
_HEAD_SIZE = re.compile(r"(head|kv|key|value|query).*(dim|size)|dim_head|d_head|^d_?[kvq]+$")
_SIZE = re.compile(r"size|dim|features|channels|width|hidden|inner|planes|units|filters|embed|split|^[a-z]$")
_OTHER = re.compile(
    r"patch|kernel|window|vocab|im(a)?ge?|class|label|seq|len|max|pos|batch|group|stride|pool|layer|depth"
)
_INNER = re.compile(r"inner|split|all_head|(attn|attention|qkv|proj|ff|mlp|hidden|expand)\w*(dim|size|features|width)")


@number_family(nn.Module)
def by_name(name: str) -> Role:
    """The role that a name like this has in most code."""
    if _HEAD_SIZE.search(name) and "all_head" not in name:
        return Role.HEAD_SIZE
    if _HEADS.search(name) and not re.search("size|dim|group", name):
        return Role.HEADS
    if _SIZE.search(name) and not _OTHER.search(name):
        return Role.INNER if _INNER.search(name) else Role.SIZE
    return Role.STAYS
