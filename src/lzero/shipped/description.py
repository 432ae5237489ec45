"""What stands beside the weights of a purged model: JSON that says what they are, checked when it is read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lzero.checks import shown
from lzero.entries import Entries
from lzero.errors import StructureError
from lzero.shipped.origin import Origin
from lzero.version import __version__

FORMAT = 1
_SUM = "sha256"
_AGAIN = "save the purged model again with lzero.save_purged"


@dataclass(frozen=True)
class Description:
    """The content of ``lzero.json``.

    Attributes:
        origin: the architecture that the weights belong to, before units left it.
        tensors: dtype and shape of every tensor in the file of weights, by name.
        tied: names of one tensor each; the first of them is in the file.
        weights: bytes and SHA-256 of the file of weights.
        certificate: what was asked for and what is shipped.
        kept: group of units -> how many there were and which ones live, as ``"0-3,7"``.
        library: the version of lzero that wrote it.
    """

    origin: Origin
    tensors: Mapping[str, tuple[str, tuple[int, ...]]]
    tied: tuple[tuple[str, ...], ...]
    weights: tuple[int, str]
    certificate: Mapping[str, Any]
    kept: Mapping[str, tuple[int, str]]
    library: str = __version__

    def to_json(self) -> str:
        """The description as text, one tensor a line."""
        values = {
            "format": FORMAT,
            "lzero": self.library,
            "class": self.origin.kind,
            "weights": list(self.weights),
            "tensors": {name: [dtype, list(shape)] for name, (dtype, shape) in self.tensors.items()},
            "tied": [list(names) for names in self.tied],
            "before": {name: list(shape) for name, shape in self.origin.shapes.items()},
            "bytes_before": self.origin.size,
            "granularity": dict(self.origin.granularity),
            "kept": {group: list(kept) for group, kept in self.kept.items()},
            "certificate": dict(self.certificate),
        }
        return _written({**values, _SUM: _digest(values)})

    @classmethod
    def from_json(cls, text: str, place: str) -> Description:
        """The description that :meth:`to_json` wrote as ``text``.

        Raises:
            StructureError: anything else; the message begins with ``place``.
        """
        try:
            values = json.loads(text)
            sum_ = (
                _digest({name: value for name, value in values.items() if name != _SUM}) if type(values) is dict else ""
            )
        except (ValueError, RecursionError) as error:
            raise StructureError(f"{place}: not readable as JSON ({type(error).__name__}); {_AGAIN}") from error
        read = _Reader(place, _AGAIN, StructureError)
        found = read.table("the file", values)
        if (version := found.get("format")) != FORMAT or type(version) is not int:
            raise StructureError(
                f"{place}: expected format {FORMAT}, found {shown(version)}; load it with the lzero that wrote it "
                f"({shown(found.get('lzero'))}), this is {__version__}"
            )
        if found.get(_SUM) != sum_:
            raise StructureError(f"{place}: damaged or changed, its checksum is not that of its content; {_AGAIN}")
        weights = read.row("weights", found.get("weights"), 2)
        origin = Origin(
            read.word("class", found.get("class")),
            {name: read.shape(name, shape) for name, shape in read.table("before", found.get("before")).items()},
            {name: read.word(name, kind) for name, kind in read.table("granularity", found.get("granularity")).items()},
            read.whole("bytes_before", found.get("bytes_before")),
        )
        return cls(
            origin,
            {name: read.tensor(name, entry) for name, entry in read.table("tensors", found.get("tensors")).items()},
            tuple(
                tuple(read.word("tied", name) for name in read.row("tied", names))
                for names in read.row("tied", found.get("tied"))
            ),
            (read.whole("weights", weights[0]), read.word("weights", weights[1])),
            read.table("certificate", found.get("certificate")),
            {name: read.kept(name, kept) for name, kept in read.table("kept", found.get("kept")).items()},
            read.word("lzero", found.get("lzero")),
        )


def ranges(mask: Tensor) -> str:
    """The positions at which a bool mask [k] is true, as ``"0-3,7"``."""
    numbers = mask.nonzero().squeeze(1).tolist()
    starts = [n for n, before in zip(numbers, [-2, *numbers], strict=False) if n != before + 1]
    ends = [n for n, after in zip(numbers, [*numbers[1:], -2], strict=False) if after != n + 1]
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


class _Reader(Entries):
    """What the description of a purged model has."""

    def shape(self, name: str, value: object) -> tuple[int, ...]:
        return tuple(self.whole(name, size) for size in self.row(name, value))

    def tensor(self, name: str, value: object) -> tuple[str, tuple[int, ...]]:
        dtype, shape = self.row(name, value, 2)
        return self.word(name, dtype), self.shape(name, shape)

    def kept(self, name: str, value: object) -> tuple[int, str]:
        total, open_ = self.row(name, value, 2)
        return self.whole(name, total), self.word(name, open_)


def _digest(values: Mapping[str, Any]) -> str:
    """SHA-256 of the content, however it is laid out."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _written(values: Mapping[str, Any]) -> str:
    """JSON with the entries of each table on lines of their own."""
    lines = []
    for name, value in values.items():
        inside = (
            ",\n  ".join(f"{json.dumps(key)}: {json.dumps(item)}" for key, item in value.items())
            if isinstance(value, dict)
            else ""
        )
        lines.append(f" {json.dumps(name)}: " + (f"{{\n  {inside}\n }}" if inside else json.dumps(value)))
    return "{\n" + ",\n".join(lines) + "\n}\n"
