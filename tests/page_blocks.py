"""Pages of the documentation as programs: their blocks of code, run in order."""

import re
import warnings
from pathlib import Path

import torch

import lzero

DOCS = Path(__file__).parent.parent / "docs"


def blocks_of(name):
    """The blocks of Python on a page."""
    return re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(encoding="utf-8"), re.DOTALL)


def run(name, blocks=None, known=None):
    """All names at the end of a page; under ``"shipped"`` what each block has left as ``result``, but for None.

    ``blocks`` are some of the page's, and ``known`` the names that they begin with.
    """
    names, results = {**(known or {}), "__name__": "page"}, []
    torch.manual_seed(0)
    for block in blocks_of(name) if blocks is None else blocks:
        names.pop("result", None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", lzero.LzeroWarning)  # the trainings are as short as a page
            exec(compile(block, f"docs/{name}", "exec"), names)
        results += [names["result"]] if names.get("result") is not None else []
    return names | {"shipped": results, "certificates": [result.certificate for result in results]}


def check_shipped(certificates):
    """Every purged model meets its budget, and gives what the gated one gave."""
    for certificate in certificates:
        assert certificate.asked and certificate.largest_difference < 1e-4
        assert all(certificate.deployed[name] <= asked for name, asked in certificate.asked.items())
