"""The folder of one run: its files by name, who may write into it, and what they are read as."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lzero.certificate import Certificate
from lzero.purge import PurgeResult
from lzero.recorder import Recorder
from lzero.save import save_purged
from lzero.shipped.folder import DESCRIPTION, WEIGHTS
from lzero_lab.errors import DamagedError, DataError
from lzero_lab.files import read_json, write_json
from lzero_lab.lock import LOCK, alone_in
from lzero_lab.training.recipe import UNGATED, Recipe
from lzero_lab.training.summary import Summary

_PLACES = {"data_dir"}  # entries of a config that say where something lies, not what is computed
_LATER: Mapping[str, Any] = {"processes": 1}  # what an entry that is not there stands for
_SHOWN = 80  # characters of a value in a message
_ELSEWHERE = "choose another folder (--out), or delete this one"


class RunFolder:
    """The files of one run by name; every one is written whole or not at all.

    Attributes:
        path: the folder.
        config: what was asked for, JSON.
        rows: one row an epoch, CSV.
        checkpoint: everything that continues the training to the bit.
        purged: weights of the purged model; with :attr:`description` what :func:`lzero.load_purged` takes the folder
            for.
        description: what they are, JSON.
        certificate: the certificate, JSON.
        architecture: units kept in every layer, CSV.
        summary: the numbers of the run, JSON; it is written last and says that the run is finished.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.rows = self.path / "rows.csv"
        self.checkpoint = self.path / "checkpoint.pt"
        self.purged = self.path / WEIGHTS
        self.description = self.path / DESCRIPTION
        self.certificate = self.path / "certificate.json"
        self.architecture = self.path / "architecture.csv"
        self.summary = self.path / "summary.json"

    def figure(self, name: str) -> Path:
        """Where the figure called ``name`` lies."""
        return self.path / f"{name}.png"

    @contextmanager
    def claim(self, config: Mapping[str, Any], *, resume: bool = False) -> Iterator[RunFolder]:
        """The folder itself, holding ``config``: empty before, or with ``resume`` begun with the same one.

        Where the data lie may change. Within the context no other process has it: see :func:`lzero_lab.lock.alone_in`.

        Raises:
            DataError: the path is a file, holds other files, or a run that this one may not continue, or that another
                process is at work on.
        """
        with alone_in(self.path):
            self._begin(json.loads(json.dumps(config)), resume)
            yield self

    def _begin(self, asked: Mapping[str, Any], resume: bool) -> None:
        content = {entry.name for entry in self.path.iterdir()} - {LOCK}
        if content - {self.config.name}:
            if self.config.name not in content:
                raise DataError(f"{self.path}: holds files but no run; {_ELSEWHERE}")
            different = _differences(self.read_config(), asked)
            if different:
                raise DataError(f"{self.path}: holds a run with {'; '.join(different)}; {_ELSEWHERE}")
            if not resume:
                raise DataError(f"{self.path}: holds this run already; continue it with --resume, or {_ELSEWHERE}")
        write_json(self.config, asked)

    def read_config(self) -> dict[str, Any]:
        """What was asked for when the run began."""
        return read_json(self.config, set(), "name a run folder of lzero")

    @property
    def finished(self) -> bool:
        """Whether the run came to its end and everything was written; since then, files may have been lost."""
        return self.summary.is_file()

    def lost(self, recipe: Recipe) -> list[str]:
        """The names of the files that a finished run of ``recipe`` has left, and that are not there."""
        expected = [self.rows, self.purged, self.description, self.certificate]
        if recipe.method not in UNGATED:
            expected.append(self.architecture)
        return [path.name for path in expected if not path.is_file()]

    def write_shipped(self, result: PurgeResult) -> None:
        """Writes the purged model, its certificate and its architecture."""
        save_purged(result, self.path)
        write_json(self.certificate, result.certificate.to_dict())
        layers = Recorder()
        for layer, mask in result.kept.items():
            layers.append(layer=layer, kept=int(mask.sum()), total=len(mask))
        if len(layers):
            layers.to_csv(self.architecture)

    def read_summary(self) -> Summary:
        """The numbers of the finished run.

        Raises:
            DataError: the file is missing, damaged or something else.
        """
        advice = "delete it and continue with --resume"
        values = read_json(self.summary, set(Summary.__dataclass_fields__), advice)
        try:
            return Summary.from_dict(values)
        except DataError as problem:
            raise DataError(f"{self.summary}: {problem}; {advice}") from problem

    def read_certificate(self) -> Certificate:
        """The certificate that :meth:`write_shipped` wrote.

        Raises:
            DataError: the file is missing, damaged or something else.
        """
        # What the command line trains has no budget of latency.
        entries, advice = set(Certificate.__dataclass_fields__) - {"latency"}, "write it anew with lzero purge"
        values = read_json(self.certificate, entries, advice)
        columns = [values[name] for name in ("expected", "before_settling", "deployed", "asked")]
        if not all(isinstance(column, dict) and all(map(_is_number, column.values())) for column in columns):
            raise DamagedError(f"{self.certificate}: expected densities by name, found something else; {advice}")
        if (
            any(column.keys() != columns[0].keys() for column in columns[:3])
            or not columns[3].keys() <= columns[0].keys()
        ):
            raise DamagedError(f"{self.certificate}: its densities are of different names; {advice}")
        numbers = [values[name] for name in ("threshold", "moved", "parameters", "parameters_before")]
        difference, warnings = values["largest_difference"], values["warnings"]
        if not all(map(_is_number, [*numbers, 0.0 if difference is None else difference])):
            raise DamagedError(f"{self.certificate}: expected numbers, found something else; {advice}")
        if not isinstance(warnings, list):
            raise DamagedError(f"{self.certificate}: expected a list of warnings, found {warnings!r}; {advice}")
        return Certificate(**{name: values[name] for name in entries} | {"warnings": tuple(map(str, warnings))})


def _differences(found: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """One phrase for each entry, at any depth, that differs: "epochs 40 and not 2"."""
    phrases = []
    for key in dict.fromkeys(key for key in [*found, *asked] if key not in _PLACES):
        mine, other = (values.get(key, _LATER.get(key)) for values in (found, asked))
        if isinstance(mine, Mapping) and isinstance(other, Mapping):
            phrases += _differences(mine, other)
        elif mine != other:
            phrases.append(f"{key} {_in_words(mine)} and not {_in_words(other)}")
    return phrases


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _in_words(value: Any) -> str:
    try:
        text = json.dumps(value)
    except RecursionError:  # lists in lists in lists
        text = f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
