"""IDX files: read back to the byte, refused where they are cut or not what they say, and made into splits."""

import gzip
import os
import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lzero_lab.datasets import idx as module
from lzero_lab.datasets import load
from lzero_lab.datasets.dataset import VALIDATION_IMAGES
from lzero_lab.datasets.idx import read_idx
from lzero_lab.errors import DataError

TRAIN = VALIDATION_IMAGES + 7


def idx(array):
    """The bytes of an IDX file, written here a second time on purpose."""
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, 1) if path.suffix == ".gz" else content)
    return path


@pytest.fixture(scope="module")
def arrays():
    generator = np.random.default_rng(0)
    return {
        "train-images-idx3-ubyte": generator.integers(0, 256, (TRAIN, 2, 3)),
        "train-labels-idx1-ubyte": np.arange(TRAIN) % 10,
        "t10k-images-idx3-ubyte": generator.integers(0, 256, (11, 2, 3)),
        "t10k-labels-idx1-ubyte": np.arange(11) % 10,
    }


def fill(folder, arrays, suffix=""):
    for name, array in arrays.items():
        write(folder / f"{name}{suffix}", idx(array))


@given(shape=st.lists(st.integers(0, 5), min_size=1, max_size=4), zipped=st.booleans(), seed=st.integers(0, 99))
def test_an_idx_file_is_read_back(shape, zipped, seed, tmp_path_factory):
    array = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    path = write(tmp_path_factory.mktemp("idx") / ("a.gz" if zipped else "a"), idx(array))
    read = read_idx(path, dimensions=len(shape))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, array)


@given(data=st.data(), zipped=st.booleans())
def test_a_cut_idx_file_is_refused_at_every_length(data, zipped, tmp_path_factory):
    whole = idx(np.arange(12).reshape(3, 4))
    content = gzip.compress(whole) if zipped else whole
    cut = data.draw(st.integers(0, len(content) - 1))
    path = tmp_path_factory.mktemp("idx") / ("a.gz" if zipped else "a")
    path.write_bytes(content[:cut])
    with pytest.raises(DataError, match=r"a(\.gz)?: expected .*, found .*; replace it"):
        read_idx(path, dimensions=2)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected a header of 12 bytes, found 0"),
        (b"\0\0\x08\x02\0\0", "expected a header of 12 bytes, found 6"),
        (b"\0\0\x08\x03" + bytes(12), "expected the magic bytes 00 00 08 02, found 00 00 08 03"),
        (b"\0\0\x0d\x02" + bytes(12), "expected the magic bytes 00 00 08 02, found 00 00 0d 02"),
        (b"PK\x03\x04" + bytes(12), "found 50 4b 03 04"),
        (idx(np.zeros((3, 4)))[:-1], r"expected 12 bytes for the declared shape \(3, 4\), found 11"),
        (idx(np.zeros((3, 4))) + b"\0", r"expected 12 bytes for the declared shape \(3, 4\), found more"),
        (struct.pack(">4B2I", 0, 0, 8, 2, 2**32 - 1, 2**32 - 1), "expected 18,446,744,065,119,617,025 bytes .*found 0"),
    ],
)
def test_a_file_that_is_not_what_it_says_is_refused(tmp_path, suffix, content, message):
    path = write(tmp_path / f"images{suffix}", content)
    with pytest.raises(DataError, match=f"images{suffix}: .*{message}"):
        read_idx(path, dimensions=2)


def test_a_damaged_gzip_stream_is_refused(tmp_path):
    path = tmp_path / "a.gz"
    content = bytearray(gzip.compress(idx(np.arange(4096).reshape(64, 64) % 251)))
    content[-6] ^= 0xFF  # in the checksum: all bytes come out, and one of them may be wrong
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.gz: expected 4,096 bytes .*found 4,096 \(gzip: CRC check failed"):
        read_idx(path, dimensions=2)
    path.write_bytes(b"not gzip at all")
    with pytest.raises(DataError, match=r"a\.gz: expected a header .*Not a gzipped file"):
        read_idx(path, dimensions=2)


def test_an_unreadable_path_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none: not readable \(.*No such file"):
        read_idx(tmp_path / "none", dimensions=2)
    with pytest.raises(DataError, match="not readable"):
        read_idx(tmp_path, dimensions=2)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize(("folder", "suffix"), [(".", ""), ("own name", ".gz"), ("torchvision", "")])
def test_idx_files_become_normalised_splits(tmp_path, arrays, name, folder, suffix):
    below = {".": ".", "own name": name, "torchvision": module.IDX_SOURCES[name].folders[1]}[folder]
    fill(tmp_path / below, arrays, suffix)
    data = load(name, tmp_path)
    mean, std = {"mnist": (0.1307, 0.3081), "fashion-mnist": (0.2860, 0.3530)}[name]

    assert (data.name, data.classes, data.image_shape, data.features) == (name, 10, (1, 2, 3), 6)
    assert data.train_x.dtype == torch.float32 and data.train_y.dtype == torch.int64
    images = torch.cat([data.train_x, data.validation_x]) * std + mean
    expected = torch.from_numpy(arrays["train-images-idx3-ubyte"] / 255).float().unsqueeze(1)
    torch.testing.assert_close(images, expected)
    assert len(data.validation_x) == VALIDATION_IMAGES  # the last ones, in order
    labels = torch.from_numpy(arrays["train-labels-idx1-ubyte"])
    assert data.train_y.equal(labels[:7]) and data.validation_y.equal(labels[7:])
    assert data.test_x.shape == (11, 1, 2, 3) and data.test_y.tolist() == [*range(10), 0]


def test_a_missing_file_says_what_to_put_where(tmp_path, arrays):
    with pytest.raises(DataError, match=r"mnist: no data folder was named; put train-images.*data_dir"):
        load("mnist")
    with pytest.raises(DataError, match=rf"mnist: missing train-images.*t10k-labels.* in {tmp_path}/mnist or"):
        load("mnist", tmp_path)
    fill(tmp_path / "mnist", {name: array for name, array in arrays.items() if "t10k-labels" not in name})
    with pytest.raises(
        DataError, match=rf"mnist: missing t10k-labels-idx1-ubyte \(plain or .gz\) in {tmp_path}/mnist;"
    ):
        load("mnist", tmp_path)


def test_the_files_of_one_data_set_never_pass_for_the_other(tmp_path, arrays, monkeypatch):
    source = module.IdxSource(("fashion-mnist", "FashionMNIST/raw", "."), (), 0.0, 1.0)
    monkeypatch.setitem(module.IDX_SOURCES, "fashion-mnist", source)
    fill(tmp_path / "mnist", arrays)
    with pytest.raises(DataError, match="fashion-mnist: missing"):
        load("fashion-mnist", tmp_path / "mnist")


def test_an_installed_fashion_mnist_is_found_without_a_data_folder(tmp_path, arrays, monkeypatch):
    source = module.IdxSource(("fashion-mnist", "."), (str(tmp_path / "system"),), 0.0, 1.0)
    monkeypatch.setitem(module.IDX_SOURCES, "fashion-mnist", source)
    fill(tmp_path / "system", arrays, ".gz")
    assert len(load("fashion-mnist").train_x) == 7
    assert len(load("fashion-mnist", tmp_path / "elsewhere").train_x) == 7


@pytest.mark.parametrize(
    ("file", "array", "message"),
    [
        (
            "t10k-labels-idx1-ubyte",
            np.zeros(12),
            "expected 11 labels, one an image of t10k-images-idx3-ubyte, found 12",
        ),
        ("t10k-labels-idx1-ubyte", np.full(11, 10), "expected labels from 0 to 9, found a label 10"),
        (
            "t10k-images-idx3-ubyte",
            np.zeros((11, 3, 3)),
            "expected images of 2 x 3 pixels as in train-images.*found 3 x 3",
        ),
        ("t10k-images-idx3-ubyte", np.zeros((11, 0, 3)), "expected at least one image, found shape"),
    ],
)
def test_files_that_do_not_fit_together_are_refused(tmp_path, arrays, file, array, message):
    fill(tmp_path, arrays)
    write(tmp_path / file, idx(array))
    with pytest.raises(DataError, match=f"{file}: {message}"):
        load("mnist", tmp_path)


def test_too_few_images_for_a_validation_set_are_refused(tmp_path, arrays):
    fill(tmp_path, {name: array[:VALIDATION_IMAGES] for name, array in arrays.items()})
    with pytest.raises(DataError, match=r"expected more than 5,000 training images .* found 5,000"):
        load("mnist", tmp_path)


@pytest.mark.skipif("LZERO_DATA" not in os.environ, reason="LZERO_DATA names no folder with the real files")
def test_the_real_mnist_has_its_known_shape_and_statistics():
    data = load("mnist", os.environ["LZERO_DATA"])
    assert (len(data.train_x), len(data.validation_x), len(data.test_x)) == (55_000, 5_000, 10_000)
    assert data.image_shape == (1, 28, 28)
    everything = torch.cat([data.train_x, data.validation_x])
    assert abs(everything.mean()) < 1e-3 and abs(everything.std() - 1) < 1e-3
    assert data.train_y[:5].tolist() == [5, 0, 4, 1, 9]
