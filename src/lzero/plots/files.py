"""Figures on disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from lzero.errors import RecordError
from lzero.files import replacing

# No dates and no version strings: the same rows give the same bytes.
_METADATA: dict[str, dict[str, None]] = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def save(figure: Figure, path: str | os.PathLike[str], *, dpi: float = 200) -> Path:
    """The path of the PNG, SVG or PDF that was written, whole or not at all, on the figure's own background.

    Args:
        figure: what a function of :mod:`lzero.plots` returned, or any other.
        path: where it goes; the suffix says as what.
        dpi: dots an inch.

    Raises:
        RecordError: another suffix.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in _METADATA:
        raise RecordError(f"plots.save: {target} ends in {suffix!r}; use one of {', '.join(_METADATA)}")
    settings: dict[Any, Any] = {
        "svg.hashsalt": "lzero",
        "pdf.fonttype": 42,
        "savefig.transparent": False,
        "savefig.facecolor": "auto",
    }
    with replacing(target, parents=True) as temporary, matplotlib.rc_context(settings):
        figure.savefig(temporary, format=suffix[1:], dpi=dpi, metadata=_METADATA[suffix])
    return target
