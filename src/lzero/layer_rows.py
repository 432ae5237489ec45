"""Tables with a row a layer: as plain dicts, as a Recorder, as CSV, and their sums."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass

from lzero.recorder import Recorder, Row


@dataclass(frozen=True)
class NamedLayer:
    """One layer of a model, to which tables add what they count.

    Attributes:
        name: its path, or the name of a parameter of the model itself.
    """

    name: str


class LayerRows:
    """What all tables of layers give, from their ``layers`` alone."""

    layers: tuple[NamedLayer, ...]

    @property
    def rows(self) -> list[Row]:
        """The layers as plain dicts: ``layer`` is the name, and what is None is left out."""
        rows: list[Row] = []
        for layer in self.layers:
            values = {"layer": layer.name, **asdict(layer)}
            rows.append({name: value for name, value in values.items() if name != "name" and value is not None})
        return rows

    def recorder(self) -> Recorder:
        """The rows as a table."""
        return Recorder(self.rows)

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Writes the rows at ``path``, whole or not at all.

        Raises:
            RecordError: ``path`` cannot be written.
        """
        self.recorder().to_csv(path)

    def total(self, name: str) -> int:
        """The sum of the column ``name``, such as ``"parameters"``."""
        return sum(int(row.get(name, 0)) for row in self.rows)
