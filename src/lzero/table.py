"""What purging did, layer by layer: units, parameters and MACs before and after, and what was left whole and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from torch import Tensor

from lzero.cost import Cost, Measure
from lzero.fold import Place, fold, unfolded
from lzero.gates.gates import Gates
from lzero.layer_rows import LayerRows, NamedLayer
from lzero.listing import Cell, Column, Listing, bytes_in_words, fitting, number, share, span
from lzero.plan.refusal import Refusal
from lzero.plan.table import gates_on, layers_of, left_whole
from lzero.recorder import Row

_COUNTS = ("units", "inputs", "parameters", "macs")
_MOST = 60  # lines; above, blocks that were alike before purging share one
_BETWEEN = (" -> ", "  ")


@dataclass(frozen=True)
class Layer(NamedLayer):
    """One layer before and after purging.

    Attributes:
        parameters_before: of it.
        parameters: that are left; weights purged to zero do not count.
        macs_before: multiply-accumulates of it, of one forward of the example inputs.
        macs: that are left.
        units_before: what it makes, where gates stand on that; None elsewhere.
        units: that are left.
        inputs_before: what it alone reads, where gates stand on that; None elsewhere.
        inputs: that are left.
    """

    parameters_before: int
    parameters: int
    macs_before: int
    macs: int
    units_before: int | None = None
    units: int | None = None
    inputs_before: int | None = None
    inputs: int | None = None

    def pair(self, noun: str) -> tuple[int, int] | None:
        """What there was before and what is left of ``"units"``, ``"inputs"``, ``"parameters"`` or ``"macs"``."""
        before, after = getattr(self, f"{noun}_before"), getattr(self, noun)
        return None if before is None or after is None else (before, after)


@dataclass(frozen=True)
class Table(LayerRows):
    """One row a layer, to print or to write.

    Attributes:
        layers: in the order of the model.
        refusals: units that were left whole, and why.
        size_before: bytes of all tensors of the state dict before.
        size: the same of the purged model.
    """

    layers: tuple[Layer, ...]
    refusals: tuple[Refusal, ...]
    size_before: int
    size: int

    @classmethod
    def of(cls, gates: Gates, open_: Tensor, size_before: int, size: int) -> Table:
        """That of ``gates`` purged to ``open_``, bool [G]; ``size_before`` and ``size`` are bytes of all tensors."""
        plan, kept = gates.plan, gates.split(open_)
        if gates.whole is not None:  # units have left before
            plan, kept = gates.whole.plan, gates.whole.masks(open_)
        parts = layers_of(plan.shapes)
        measures: list[Measure] = [*["params"] * len(parts), *["macs"] * len(parts)]  # type: ignore[list-item]
        cost = Cost(gates, measures, [*parts.values()] * 2)
        left = [round(value) for value in cost.value(open_).tolist()]
        all_ = [round(value) for value in cost.total.tolist()]
        nouns = {"units": gates_on(plan.groups, "unit"), "inputs": gates_on(plan.groups, "input")}
        layers = []
        for number_, path in enumerate(parts):
            counts: dict[str, int] = {}
            for noun, at in (("parameters", number_), ("macs", len(parts) + number_)):
                counts[f"{noun}_before"], counts[noun] = all_[at], left[at]
            gone = counts["parameters_before"] and not counts["parameters"]  # it has left with a block
            for noun, groups in nouns.items():
                if path in groups:
                    masks = [kept[name] for name in groups[path]]
                    counts[f"{noun}_before"] = sum(len(mask) for mask in masks)
                    counts[noun] = 0 if gone else sum(int(mask.sum()) for mask in masks)
            layers.append(Layer(path, **counts))
        return cls(tuple(layers), tuple(r for r in plan.refusals if r.reason), size_before, size)

    @property
    def refused(self) -> list[Row]:
        """What was left whole as plain dicts: ``layer``, ``units`` and the ``reason``."""
        return [{"layer": r.name, "units": r.size, "reason": r.reason} for r in self.refusals]

    def to_markdown(self, *, folded: bool = True) -> str:
        """The layers as a table in Markdown; alike ones on one line where ``folded``."""
        return self._listing(self._places(folded), short=False).markdown()

    def text(self, *, folded: bool = True) -> str:
        """The page that ``print`` shows.

        Args:
            folded: blocks that follow each other and are alike share a line; of a long model also those that were
                alike before purging, with the least and the most that is left. False gives every layer its own.
        """
        places = self._places(folded)
        lines = fitting(lambda short: self._listing(places, short))
        lines.append(f"tensors: {bytes_in_words(self.size_before)} -> {bytes_in_words(self.size)}")
        return "\n".join([*lines, *left_whole(self.refusals)])

    def __str__(self) -> str:
        return self.text()

    def _places(self, folded: bool) -> list[Place]:
        names = [layer.name for layer in self.layers]
        if not folded:
            return unfolded(names)
        alike = fold(names, [tuple(asdict(layer).values())[1:] for layer in self.layers])
        if len(alike) <= _MOST:
            return alike
        return fold(names, [tuple(pair and pair[0] for pair in map(layer.pair, _COUNTS)) for layer in self.layers])

    def _listing(self, places: Sequence[Place], short: bool) -> Listing:
        shown = [noun for noun in _COUNTS if any(layer.pair(noun) is not None for layer in self.layers)]
        groups = [[self.layers[n] for n in place.members] for place in places]
        all_ = Layer("all", *(self.total(f"{noun}{end}") for noun in _COUNTS[2:] for end in ("_before", "")))
        return Listing(
            [Column("MACs" if noun == "macs" else noun, _BETWEEN) for noun in shown],
            places,
            [[_cell(noun, layers, short) for noun in shown] for layers in groups],
            [len({tuple(map(layer.pair, shown)) for layer in layers}) > 1 for layers in groups],
            [_cell(noun, [all_], short) for noun in shown],
        )


def _cell(noun: str, layers: Sequence[Layer], short: bool) -> Cell:
    """Before, after and the share that is left, of each of some layers that were alike."""
    pairs = [pair for pair in (layer.pair(noun) for layer in layers) if pair is not None and pair[0]]
    if not pairs:
        return ()
    before, after = zip(*pairs, strict=True)
    return number(before[0], short=short), span(min(after), max(after), short=short), share(sum(after), sum(before))
