"""A purged model as a folder: its weights, and what they are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from lzero.checks import folder_path, shown
from lzero.errors import StructureError
from lzero.files import replacing
from lzero.purge import PurgeResult
from lzero.shipped.description import Description, ranges
from lzero.shipped.folder import DESCRIPTION, WEIGHTS
from lzero.shipped.origin import Origin
from lzero.shipped.weights import digest, write_weights
from lzero.surgery.saved_entries import check_entries


def save_purged(result: PurgeResult, folder: str | os.PathLike[str]) -> None:
    """A purged model in ``folder``, for :func:`load_purged`: ``model.safetensors`` and ``lzero.json``, no pickle.

    The weights are written under the names that the purged model has for them, a tied tensor once; the description
    beside them has the class, original and kept shapes, the units that live, and the certificate. Both files appear
    whole, and only when both are written; a fault before that leaves the folder as it was. The last moment alone, in
    which one has taken its place and the other not, can be cut in two by a crash: loading then says so.

    Args:
        result: of :func:`purge`.
        folder: where the two files go; made where it is missing, and anything else in it stays.

    Example:
        >>> import lzero, os, tempfile
        >>> from torch import nn, zeros
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
        >>> gates = lzero.attach_gates(model, zeros(1, 8))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lzero.save_purged(lzero.purge(model, constraints=[lzero.Constraint(0.5)]), folder)
        ...     sorted(os.listdir(folder))
        ['lzero.json', 'model.safetensors']

    Raises:
        StructureError: no result of a purge; a state dict with something else than dense tensors; a dtype that
            safetensors does not know; files that cannot be written.
    """
    if not isinstance(result, PurgeResult):
        raise StructureError(f"save_purged: expected what lzero.purge returned, found {shown(result)}")
    target = folder_path("folder", folder, error=StructureError)
    written, tied = _once(check_entries(result.model.state_dict(keep_vars=True)))
    try:
        target.mkdir(parents=True, exist_ok=True)
        # The description takes its place last: it says which weights belong to it.
        with replacing(target / DESCRIPTION) as words, replacing(target / WEIGHTS) as weights:
            write_weights(weights, written)
            words.write_text(_described(result, written, tied, weights).to_json(), encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: no name at all, by its characters
        if isinstance(error, StructureError):
            raise
        raise StructureError(f"{target}: cannot be written ({error}); name a folder of yours") from error


def _described(
    result: PurgeResult, written: dict[str, Tensor], tied: tuple[tuple[str, ...], ...], weights: Path
) -> Description:
    return Description(
        origin=result.origin or Origin.of(result.model),
        tensors={
            name: (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)) for name, tensor in written.items()
        },
        tied=tied,
        weights=(weights.stat().st_size, digest(weights)),
        certificate=result.certificate.to_dict(),
        kept={group: (len(mask), ranges(mask)) for group, mask in result.kept.items()},
    )


def _once(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[tuple[str, ...], ...]]:
    """Every tensor of ``state`` under its first name, and all the names of those that have several."""
    names: dict[int, list[str]] = {}
    for name, tensor in state.items():
        names.setdefault(id(tensor), []).append(name)
    tied = tuple(tuple(found) for found in names.values() if len(found) > 1)
    return {found[0]: state[found[0]] for found in names.values()}, tied
