"""Tensors in a file of safetensors: to the bit, whatever their dtype, layout and memory."""

import hashlib

import pytest
import torch

from lzero.errors import StructureError
from lzero.shipped.weights import digest, read_weights, write_weights

KINDS = ["float32", "float64", "float16", "bfloat16", "complex64", "int8", "uint8", "int16", "int32", "int64", "bool"]


def back(path, state):
    write_weights(path / "w.safetensors", state)
    return read_weights(path / "w.safetensors")


@pytest.mark.parametrize("kind", KINDS)
def test_every_dtype_comes_back_to_the_bit(kind, tmp_path):
    dtype = getattr(torch, kind)
    numbers = torch.randn(3, 4, dtype=torch.complex64) * 3
    value = numbers.to(dtype) if dtype.is_complex else numbers.real.to(dtype)
    state = {"x": value, "one": value[0, 0].clone(), "none": value[:0], "scalar": torch.ones((), dtype=dtype)}
    found = back(tmp_path, state)
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        assert found[name].dtype == dtype and found[name].equal(tensor), name


def test_memory_that_is_shared_or_laid_out_otherwise_comes_back_plain(tmp_path):
    base, image = torch.randn(4, 6), torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    complex_ = torch.randn(3, dtype=torch.complex64)
    state = {
        "base": base, "rows": base[1:3], "column": base[:, 2], "transposed": base.t(), "same": base,
        "image": image, "conjugate": complex_.conj(), "expanded": torch.ones(1).expand(5),
        "parameter": torch.nn.Parameter(base[0]),
    }  # fmt: skip
    found = back(tmp_path, state)
    for name, tensor in state.items():
        assert torch.equal(found[name], tensor), name
        assert found[name].is_contiguous()
    assert (tmp_path / "w.safetensors").stat().st_size < 8 * sum(t.nbytes for t in state.values()) + 2000


def test_what_safetensors_does_not_know_is_refused_with_its_name(tmp_path):
    with pytest.raises(StructureError, match=r"phase: safetensors has no complex128; convert the tensor"):
        back(tmp_path, {"ok": torch.ones(2), "phase": torch.ones(2, dtype=torch.complex128)})
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_an_error_of_the_system(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        write_weights(tmp_path / "missing" / "w.safetensors", {"x": torch.ones(2)})


def test_another_file_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    for content in (b"", b"\x08", b"[]" * 99, b"\xff" * 99):
        path.write_bytes(content)
        with pytest.raises(StructureError, match=r"w\.safetensors: not readable as safetensors"):
            read_weights(path)


def test_the_digest_is_that_of_the_file(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert digest(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()
