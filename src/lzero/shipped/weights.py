"""Tensors by name in a file of safetensors: no code in it, read by whatever reads safetensors."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from lzero.errors import StructureError


def write_weights(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write the tensors of ``state`` into ``path``, each in a memory of its own and in the plain memory format.

    Raises:
        StructureError: a dtype that safetensors does not know.
        OSError: the file cannot be written.
    """
    for name, tensor in state.items():
        if not _known(tensor.dtype):
            raise StructureError(
                f"{name}: safetensors has no {str(tensor.dtype).removeprefix('torch.')}; convert the tensor "
                "(complex ones by torch.view_as_real), or save result.model.state_dict() by torch.save"
            )
    plain: dict[str, Tensor] = {}
    places: set[int] = set()
    for name, tensor in state.items():
        value = tensor.detach().resolve_conj().resolve_neg().contiguous()
        memory = value.untyped_storage()
        if memory.nbytes() != value.nbytes or memory.data_ptr() in places:  # a part of something, or the same again
            value = value.clone()
        places.add(value.untyped_storage().data_ptr())
        plain[name] = value
    try:
        safetensors.torch.save_file(plain, path, {"format": "pt"})
    except safetensors.SafetensorError as error:  # what it makes of a full disk
        raise OSError(str(error)) from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors in ``path``, on the CPU.

    Raises:
        StructureError: no such file, or none of safetensors.
    """
    try:
        return safetensors.torch.load_file(path)
    except Exception as error:  # whatever damaged bytes make it meet
        raise StructureError(
            f"{path}: not readable as safetensors ({type(error).__name__}: {error}); save the purged model again"
        ) from error


def digest(path: Path) -> str:
    """SHA-256 of the file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _known(dtype: torch.dtype) -> bool:
    try:
        safetensors.torch.save({"x": torch.empty(0, dtype=dtype)})
    except Exception:
        return False
    return True
