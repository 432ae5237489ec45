"""Methods x budgets x seeds as one list of cells, from a TOML file."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from lzero_lab import datasets, models
from lzero_lab.errors import DataError
from lzero_lab.studies.cell import Cell
from lzero_lab.training import methods
from lzero_lab.training.recipe import Recipe

_SECTIONS = {"data", "seeds", "networks", "budgets", "methods"}
_FURTHER = {"note", "curves"}  # that a study may leave out
_PLANNED = {
    "at",
    "on",
    "only",
    "why",
    "methods",
    "share_of_epochs",
}  # what is said of a method or budget besides the recipe


@dataclass(frozen=True)
class Study:
    """A plan of trainings that can be compared: every method at every budget.

    Attributes:
        data: name of the data set.
        seeds: one training each.
        networks: name of a model -> fields of :class:`Recipe` that all trainings of it share.
        budgets: name -> fields of :class:`Recipe`: ``model``, ``target``, ``measure``, ``scope``. ``methods`` lists
            those that are trained at it; by default all that do not leave it out by ``only``.
        methods: name -> fields of :class:`Recipe` that make the method; under ``at``, budget -> further fields, and
            under ``on``, model -> further fields. ``only`` lists the budgets that the method is trained at, and ``why``
            says what for.
            ``start`` names the method whose trained network of the same model and seed it begins with, and
            ``share_of_epochs`` is how many of the network's epochs it has, rounded up.
        note: what is to be said beside all of its numbers.
        curves: budget -> methods that are drawn epoch by epoch.
    """

    data: str
    seeds: Sequence[int]
    networks: Mapping[str, Mapping[str, Any]]
    budgets: Mapping[str, Mapping[str, Any]]
    methods: Mapping[str, Mapping[str, Any]]
    note: str = ""
    curves: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, source: str | Path) -> Study:
        """The study called ``source``, one of :func:`names`, or the one in the TOML file of that path.

        Raises:
            DataError: neither exists, or it is no TOML, sections are missing or unknown, or a name in one of them
                refers to nothing.
        """
        if isinstance(source, str) and source in names():
            text = _folder().joinpath(f"{source}.toml").read_text(encoding="utf-8")
        else:
            try:
                text = Path(source).read_text(encoding="utf-8")
            except (OSError, ValueError) as problem:
                reason = problem.strerror if isinstance(problem, OSError) else "not UTF-8"
                raise DataError(f"{source}: no study ({reason}); there are: {', '.join(names())}") from problem
        try:
            values = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as problem:  # RecursionError: lists in lists in lists
            raise DataError(f"{source}: not readable as TOML ({problem}); mend it there") from problem
        if values.keys() - _FURTHER != _SECTIONS:
            raise DataError(
                f"{source}: expected {', '.join(sorted(_SECTIONS))}, found {', '.join(values) or 'nothing'}"
            )
        study = cls(**values)
        wrong = next(study._problems(), None)
        if wrong is not None:
            raise DataError(f"{source}: {wrong}")
        return study

    def cells(self, data_dir: str | None = None) -> list[Cell]:
        """Every training, seed by seed, so that a study that is cut short has something of everything.

        Raises:
            DataError: a recipe that cannot be made; the message names the method and the budget.
        """
        return [cell for seed in self.seeds for cell in self._cells_of(seed, data_dir)]

    def choose(self, **chosen: Sequence[Any] | None) -> Study:
        """The part of the study with the chosen ``seeds``, ``budgets`` and ``methods``; None leaves all.

        A method that begins with the network of another one brings that one with it.

        Raises:
            DataError: a name that the study does not have.
        """
        kept: dict[str, Any] = {}
        for section in ("seeds", "budgets", "methods"):
            all_, wanted = getattr(self, section), chosen.get(section)
            unknown = [name for name in wanted or () if section != "seeds" and name not in all_]
            if unknown:
                raise DataError(f"study: no {section[:-1]} is called {unknown[0]!r}; there are: {', '.join(all_)}")
            if section == "methods" and wanted is not None:
                sources = {all_[name].get("start", name) for name in wanted}
                wanted = [name for name in all_ if name in sources or name in wanted]
            if isinstance(all_, Mapping):
                kept[section] = {name: all_[name] for name in (all_ if wanted is None else wanted)}
            else:
                kept[section] = list(dict.fromkeys(all_ if wanted is None else wanted))
        return replace(self, **kept)

    def altered(self, **fields: Any) -> Study:
        """The study with these ``fields`` of :class:`Recipe` for all networks, in the place of their own.

        What a budget or a method says of the same field stands.
        """
        return replace(self, networks={name: {**own, **fields} for name, own in self.networks.items()})

    def _problems(self) -> Iterator[str]:
        """What is of the wrong shape or refers to nothing; the first one counts, later ones may follow from it."""
        if self.data not in datasets.names():
            yield f"data: no data set is called {self.data!r}; there are: {', '.join(datasets.names())}"
        if not isinstance(self.seeds, list) or not self.seeds or any(type(seed) is not int for seed in self.seeds):
            yield f"seeds: expected a list of whole numbers, such as [0, 1], found {self.seeds!r}"
        for section in ("networks", "budgets", "methods"):
            yield from _no_tables(section, getattr(self, section))
        for section in ("budgets", "methods"):
            for name in getattr(self, section):
                if not name or not name.isprintable():  # it is to stand in a cell of a table
                    yield f"{section}: {name!r}: expected a name of printable characters on one line"
        if not isinstance(self.note, str):
            yield f"note: expected a text, found {self.note!r}"
        if not isinstance(self.curves, Mapping):
            yield f"curves: expected methods for each budget, found {self.curves!r}"
        yield from _unknown("curves", "budget is called", self.curves, self.budgets)
        listed = {f"budgets, {name!r}, methods": budget.get("methods", []) for name, budget in self.budgets.items()}
        for place, found in (listed | {f"curves, {name!r}": drawn for name, drawn in self.curves.items()}).items():
            if not isinstance(found, list):
                yield f"{place}: expected a list of methods, found {found!r}"
            yield from _unknown(place, "method is called", found, self.methods)
        used = {str(budget.get("model", "mlp")) for budget in self.budgets.values()}
        there = f"there are: {', '.join(models.names())}"
        yield from (f"budgets: no network is called {model!r}; {there}" for model in used if not models.known(model))
        yield from _unknown("networks", "budget has the model", self.networks, used)
        for method, fields in self.methods.items():
            for part, what, known in (("at", "budget is called", self.budgets), ("on", "budget has the model", used)):
                yield from _no_tables(f"methods, {method!r}, {part}", fields.get(part, {}))
                yield from _unknown(f"methods, {method!r}, {part}", what, fields.get(part, {}), known)
            start, share = fields.get("start", ""), fields.get("share_of_epochs", 1.0)
            if start:
                yield from _unknown(f"methods, {method!r}, start", "method is called", [start], self.methods)
                if isinstance(start, str) and self.methods.get(start, {}).get("start"):
                    yield f"methods, {method!r}, start: {start!r} begins with another one itself; name another"
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
                yield f"methods, {method!r}, share_of_epochs: expected a share in (0, 1], found {share!r}"
            if not isinstance(fields.get("why", ""), str):
                yield f"methods, {method!r}, why: expected a text, found {fields['why']!r}"
            only = fields.get("only", [])
            if not isinstance(only, list):
                yield f"methods, {method!r}, only: expected a list of budgets, found {only!r}"
            yield from _unknown(f"methods, {method!r}, only", "budget is called", only, self.budgets)

    def _cells_of(self, seed: int, data_dir: str | None) -> Iterator[Cell]:
        """The trainings with a ``seed``; those that others begin with are marked."""
        starts = {str(fields["start"]) for fields in self.methods.values() if fields.get("start")}
        sources: dict[tuple[str, str], Cell] = {}  # method and model -> what leaves its weights
        for method in sorted(starts, key=list(self.methods).index):
            for budget, model in self._budgets_of(method):
                recipe = self._recipe(method, budget, seed, "")
                cell = Cell(self.data, recipe, data_dir, (("label", method), ("budget", budget)), begins_others=True)
                sources.setdefault((method, model), cell)
        own = {cell.key: cell for cell in sources.values()}
        for budget, asked in self.budgets.items():
            for method, fields in self.methods.items():
                if (budget, _model(asked)) not in self._budgets_of(method):
                    continue
                source = sources.get((str(fields.get("start")), _model(asked)))
                if fields.get("start") and source is None:
                    raise DataError(
                        f"study: method {method!r} at {budget!r}: no {fields['start']!r} of that network; train that "
                        "at one of its budgets too"
                    )
                recipe = self._recipe(method, budget, seed, "" if source is None else source.file_name)
                cell = Cell(self.data, recipe, data_dir, (("label", method), ("budget", budget)))
                yield own.get(cell.key, cell)

    def _budgets_of(self, method: str) -> list[tuple[str, str]]:
        """The budgets that a method is trained at, with their models."""
        return [
            (budget, _model(asked))
            for budget, asked in self.budgets.items()
            if budget in self.methods[method].get("only", self.budgets) and method in asked.get("methods", [method])
        ]

    def _recipe(self, method: str, budget: str, seed: int, start: str) -> Recipe:
        fields, asked = self.methods[method], self.budgets[budget]
        model = _model(asked)
        further = fields.get("on", {}).get(model, {}) | fields.get("at", {}).get(budget, {})
        values = {**self.networks.get(model, {}), **asked, **fields, **further, "seed": seed, "start": start}
        share = values.get("share_of_epochs", 1.0)
        try:
            if share != 1.0:
                values["epochs"] = math.ceil(share * values.get("epochs", Recipe.epochs))
            recipe = Recipe.from_dict({name: value for name, value in values.items() if name not in _PLANNED})
            methods.check(recipe)
        except DataError as problem:
            raise DataError(f"study: method {method!r} at {budget!r}: {problem}") from problem
        return recipe


def _model(budget: Mapping[str, Any]) -> str:
    return str(budget.get("model", "mlp"))


def _no_tables(place: str, values: Any) -> Iterator[str]:
    if not isinstance(values, Mapping):
        yield f"{place}: expected a table for each name, found {values!r}"
        return
    for name, fields in values.items():
        if not isinstance(fields, Mapping):
            yield f"{place}, {name!r}: expected a table of fields, found {fields!r}"


def _unknown(place: str, what: str, names: Iterable[Any], known: Iterable[str]) -> Iterator[str]:
    known = sorted(known)
    for name in names:
        if name not in known:
            yield f"{place}: no {what} {name!r}; there are: {', '.join(known)}"


def names() -> tuple[str, ...]:
    """The studies that come with the library."""
    return tuple(sorted(path.name.removesuffix(".toml") for path in _folder().iterdir() if path.name.endswith(".toml")))


def _folder() -> Any:
    return resources.files("lzero_lab").joinpath("studies")
