"""Tables of latencies as a tensor of bytes: they ride with the gates in a state dict, which holds nothing else."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable

import torch
from torch import Tensor

from lzero.errors import BudgetError
from lzero.latency.table import Table

TABLES = "tables"
"""The name of that tensor in a saved training: a word of every file that has one."""

_MOST = 1 << 28  # bytes of JSON that are unpacked, so that a few made-up ones do not fill the memory


def pack(tables: Iterable[Table]) -> Tensor:
    """``tables``, equal ones once, as uint8: compressed, some 200 bytes a layer."""
    text = json.dumps([table.to_json() for table in dict.fromkeys(tables)])
    return torch.tensor(list(zlib.compress(text.encode(), 9)), dtype=torch.uint8)


def unpack(packed: Tensor | None) -> dict[str, Table]:
    """What :func:`pack` was given, by digest; nothing where there is nothing.

    Raises:
        BudgetError: other bytes.
    """
    if packed is None:
        return {}
    try:
        reader = zlib.decompressobj()
        text = reader.decompress(bytes(packed.cpu().to(torch.uint8).tolist()), _MOST).decode()
        tables = [Table.from_json(item, "the saved table") for item in json.loads(text)]
    except (BudgetError, RuntimeError, TypeError, ValueError, RecursionError, zlib.error) as problem:
        raise BudgetError(
            f"the saved tables of latencies cannot be read: {problem}; load a state dict as it was saved"
        ) from problem
    return {table.digest: table for table in tables}
