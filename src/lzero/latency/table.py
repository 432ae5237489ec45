"""A table of latencies: what the layers of one model take on one device, by their widths."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from lzero.checks import file_path, shown
from lzero.errors import BudgetError
from lzero.files import replacing
from lzero.latency.layer import Layer
from lzero.latency.record import from_json, to_json


@dataclass(frozen=True, eq=False)
class Table:
    """Milliseconds of the layers of a model, by their widths: what :func:`lzero.latency.measure` returns.

    Attributes:
        layers: those that compute with weights, in the order of the model.
        before: milliseconds of a forward before the first of them.
        device: what it was measured on, in words.
        threads: of PyTorch, on a CPU.
        torch: version of PyTorch.
        shapes: of the tensors that one forward was called with.
        checks: (share, measured, predicted) of the whole model and of narrow ones, which keep that share of the units
            of a group on average: milliseconds of whole forwards beside what the layers add up to.

    Raises:
        BudgetError: no layers, or one twice.
    """

    layers: tuple[Layer, ...]
    before: float = 0.0
    device: str = ""
    threads: int = 1
    torch: str = ""
    shapes: tuple[tuple[int, ...], ...] = ()
    checks: tuple[tuple[float, float, float], ...] = ()

    def __post_init__(self) -> None:
        paths = [layer.path for layer in self.layers]
        if not paths or len(set(paths)) < len(paths):
            raise BudgetError(f"table: expected layers, each once, found {shown(paths)}")

    @property
    def batch(self) -> int:
        """Examples in one forward."""
        return next((shape[0] for shape in self.shapes if shape), 1)

    @property
    def total(self) -> float:
        """Milliseconds of the whole model."""
        return self.before + sum(layer.total for layer in self.layers)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the table: equal tables have equal ones."""
        return hashlib.sha256(to_json(vars_of(self)).encode()).hexdigest()

    def predict(self, widths: Mapping[str, Sequence[float] | None]) -> float:
        """Milliseconds of a model whose layers have these ``widths``.

        Args:
            widths: path of a layer -> its widths, (rows, columns): of a Linear or convolution what it makes and what it
                reads. None where it has left with its block. A layer that is not named is whole.

        Raises:
            BudgetError: a path that is not in the table, or no pair of widths.
        """
        known = {layer.path for layer in self.layers}
        for path, pair in widths.items():
            if path not in known:
                raise BudgetError(f"widths: no layer {path!r} in the table; its layers are {', '.join(sorted(known))}")
            if pair is not None and len(pair) != 2:
                raise BudgetError(f"widths[{path!r}]: expected (rows, columns) or None, found {shown(pair)}")
        ms = self.before
        for layer in self.layers:
            pair = widths.get(layer.path, (layer.row_widths[-1], layer.column_widths[-1]))
            ms += 0.0 if pair is None else layer.predict(*pair)
        return ms

    def save(self, path: str | os.PathLike[str]) -> None:
        """The table as JSON at ``path``, for :meth:`load`. The file appears whole or not at all.

        Raises:
            BudgetError: it cannot be written.
        """
        target = file_path("path", path, error=BudgetError)
        try:
            with replacing(target) as temporary:
                temporary.write_text(to_json(vars_of(self), lines=True), encoding="utf-8")
        except (OSError, ValueError) as error:
            raise BudgetError(f"{target}: cannot be written ({error}); name a file in a folder that exists") from error

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Table:
        """The table in the file ``path`` that :meth:`save` wrote; everything in it is checked.

        Raises:
            BudgetError: no such file, or another or damaged one.
        """
        target = file_path("path", path, error=BudgetError)
        try:
            text = target.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise BudgetError(f"{target}: cannot be read ({error}); name a file that was saved") from error
        return cls.from_json(text, str(target))

    def to_json(self) -> str:
        """The table on one line of JSON."""
        return to_json(vars_of(self))

    @classmethod
    def from_json(cls, text: str, place: str = "table") -> Table:
        """The table that :meth:`to_json` wrote as ``text``.

        Raises:
            BudgetError: anything else; the message begins with ``place``.
        """
        return cls(**from_json(text, place))

    def __eq__(self, other: object) -> bool:
        return self.digest == other.digest if isinstance(other, Table) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return (
            f"Table({self.digest[:8]}: {len(self.layers)} layers, {self.total:.4g} ms on {self.device or 'a device'})"
        )

    def __str__(self) -> str:
        """What was measured, how well the layers add up to whole forwards, and the layers."""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        lines = [f"{self.total:.4g} ms on {self.device}, {threads}, batch {self.batch}, torch {self.torch}"]
        lines += [
            f"{share:.0%} of the units: {measured:.4g} ms measured, {predicted:.4g} ms predicted"
            for share, measured, predicted in self.checks
        ]
        width = max(len(layer.path) for layer in self.layers)
        for layer in self.layers:
            sizes = " x ".join(str(widths[-1]) for widths in (layer.row_widths, layer.column_widths) if widths[-1])
            lines.append(f"  {layer.path:<{width}}  {layer.total:>9.4g} ms  {sizes}, at least {layer.ms[0][0]:.3g} ms")
        return "\n".join(lines)


def vars_of(table: Table) -> dict[str, object]:
    """The fields of ``table``, by name."""
    return {name: getattr(table, name) for name in table.__dataclass_fields__}


def checked_table(measure: str, table: object) -> Table | None:
    """``table`` where the ``measure`` is one that needs it, None where it is none that does.

    Raises:
        BudgetError: a latency without a table, another measure with one, or something else than a table.
    """
    if measure != "latency":
        if table is None:
            return None
        raise BudgetError(f"table: belongs to the measure 'latency', found one for {measure!r}; leave it out")
    if isinstance(table, Table):
        return table
    raise BudgetError(
        f"table: a budget of latency needs what layers take by their width, found {shown(table)}; pass "
        "Constraint(0.5, 'latency', table=lzero.latency.measure(model, inputs))"
    )
