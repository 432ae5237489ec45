"""CIFAR-10's archive: read as a stream, in an order of its own, refused where it is not what it says."""

import io
import os
import sys
import tarfile

import numpy as np
import pytest
import torch
from cifar import CLASSES, picture, write_archive

from lzero_lab.datasets import cifar10, dataset, load
from lzero_lab.datasets.cifar10 import ARCHIVE, read_archive
from lzero_lab.errors import DataError
from lzero_lab.files import write_tensors


@pytest.fixture
def small_validation(monkeypatch):
    monkeypatch.setattr(dataset, "VALIDATION_IMAGES", 16)


def test_images_come_class_by_class_whatever_the_order_in_the_archive(tmp_path):
    one = read_archive(write_archive(tmp_path / "one.tar.gz"))
    other = read_archive(write_archive(tmp_path / "other.tar.gz", order=-1))
    for split, count in (("train", 20), ("test", 4)):
        images, labels = one[split]
        assert images.shape == (3 * count, 32, 32, 3) and images.dtype == np.uint8
        assert labels.tolist() == [label for label in range(len(CLASSES)) for _ in range(count)]
        assert (images.mean((1, 2)).argmax(1) == labels).all()  # each class has its colour
        np.testing.assert_array_equal(images, other[split][0])


@pytest.mark.parametrize("folder", [".", "cifar10"])
def test_the_archive_becomes_normalised_splits(tmp_path, folder, small_validation):
    path = write_archive(tmp_path / folder / ARCHIVE)
    data, again = load("cifar10", tmp_path), load("cifar10", tmp_path)
    assert (data.name, data.classes, data.image_shape) == ("cifar10", 3, (3, 32, 32))
    assert [len(data.train_x), len(data.validation_x), len(data.test_x)] == [44, 16, 12]
    assert data.train_x.dtype == torch.float32 and data.train_x.is_contiguous()
    assert data.train_x.equal(again.train_x) and data.validation_y.equal(again.validation_y)
    assert len(data.validation_y.unique()) == 3 and not data.train_y.equal(data.train_y.sort().values)  # shuffled
    mean, std = (torch.tensor(values)[:, None, None] for values in (cifar10.MEAN, cifar10.STD))
    pixels = (torch.cat([data.train_x, data.validation_x]) * std + mean) * 255
    expected = torch.from_numpy(read_archive(path)["train"][0]).permute(0, 3, 1, 2)
    rows = {tuple(row) for row in pixels.round().long().flatten(1).tolist()}
    assert rows == {tuple(row) for row in expected.long().flatten(1).tolist()}  # every image once
    assert data.test_y.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_nothing_is_written_and_other_members_are_left_alone(tmp_path):
    further = [("../outside/train/cat/9999.txt", b"no image"), ("README", b"words"), ("val/cat/0000.jpg", b"not read")]
    path = write_archive(tmp_path / "a" / ARCHIVE, further=further)
    with_link = tmp_path / "link.tar"
    with tarfile.open(with_link, "w") as archive, tarfile.open(path) as old:
        for member in old:
            archive.addfile(member, old.extractfile(member))
        link = tarfile.TarInfo("train/cat/7777.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert len(read_archive(with_link)["train"][0]) == 60
    assert sorted(p.name for p in tmp_path.rglob("*")) == sorted(["a", ARCHIVE, "link.tar"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train/cat/8.jpg", b"no image", r"expected train/cat/8\.jpg as JPEG, found cannot identify"),
        ("train/cat/8.jpg", picture(0, 0, format_="PNG"), "as JPEG, found cannot identify"),
        ("train/cat/8.jpg", picture(0, 0)[:-300], "as JPEG, found .*truncated"),
        ("train/cat/8.jpg", picture(0, 0, (32, 31)), "of 32 x 32 pixels, found 32 x 31"),
        ("train/cat/8.jpg", bytes(2_000_000), "of at most 1,048,576 bytes, found 2,000,000"),
        ("train/dog/8.jpg", picture(0, 0), "of the same classes, found train: bird, cat, dog, ship; test: bird, cat"),
    ],
)
def test_a_member_that_is_not_what_its_name_says_is_refused(tmp_path, name, content, message):
    path = write_archive(tmp_path / ARCHIVE, train=1, test=1, further=[(name, content)])
    with pytest.raises(DataError, match=f"{ARCHIVE}: .*{message}.*; replace it by the original file"):
        read_archive(path)


def test_a_damaged_archive_is_refused(tmp_path):
    path = write_archive(tmp_path / ARCHIVE)
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], b"not an archive", b""):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=f"{ARCHIVE}: .*; replace it by the original file"):
            read_archive(path)
    with tarfile.open(fileobj=io.BytesIO(), mode="w") as archive:
        path.write_bytes(archive.fileobj.getvalue() + bytes(10240))
    with pytest.raises(DataError, match="found train: none; test: none"):
        read_archive(path)


def test_a_missing_archive_says_what_to_put_where(tmp_path):
    with pytest.raises(DataError, match=rf"cifar10: no data folder was named; put {ARCHIVE}.*--data-dir"):
        load("cifar10")
    with pytest.raises(DataError, match=rf"cifar10: missing {tmp_path}/cifar10/{ARCHIVE} or {tmp_path}/{ARCHIVE};"):
        load("cifar10", tmp_path)


def test_too_few_images_for_a_validation_set_are_refused(tmp_path):
    write_archive(tmp_path / ARCHIVE, train=2, test=1)
    with pytest.raises(DataError, match=r"expected more than 5,000 training images .*, found 6"):
        load("cifar10", tmp_path)


def test_without_pillow_it_says_what_to_install(tmp_path, monkeypatch):
    path = write_archive(tmp_path / ARCHIVE, train=1, test=1)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(DataError, match=r"^cifar10: needs pillow; install it with: pip install 'lzero\[lab\]'$"):
        read_archive(path)


@pytest.mark.slow
@pytest.mark.skipif("LZERO_DATA" not in os.environ, reason="LZERO_DATA names no folder with the real files")
def test_the_real_archive_has_its_known_shape_and_statistics():
    data = load("cifar10", os.environ["LZERO_DATA"])
    assert (len(data.train_x), len(data.validation_x), len(data.test_x)) == (45_000, 5_000, 10_000)
    assert data.validation_y.bincount().min() > 450
    for statistic, expected in ((data.train_x.mean((0, 2, 3)), 0.0), (data.train_x.std((0, 2, 3)), 1.0)):
        torch.testing.assert_close(statistic, torch.full((3,), expected), atol=1e-2, rtol=0)


def test_decoded_images_are_the_same_data_set(tmp_path, small_validation):
    write_archive(tmp_path / "archive" / ARCHIVE)
    path = cifar10.decode(tmp_path / "archive", tmp_path / "decoded")
    assert path.name == cifar10.DECODED
    one, other = (vars(load("cifar10", tmp_path / folder)) for folder in ("archive", "decoded"))
    for name, value in one.items():
        assert value.equal(other[name]) if isinstance(value, torch.Tensor) else value == other[name]


@pytest.mark.parametrize(
    "values",
    [
        {"train": [torch.zeros(2, 32, 32, 3, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)]},
        {"train": [torch.zeros(2, 32, 32, 3), torch.zeros(2, dtype=torch.int64)], "test": []},
        {"train": [torch.zeros(2, 32, 32, 3, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64)], "test": []},
        {"train": 3, "test": 4},
    ],
)
def test_a_decoded_file_that_holds_something_else_is_refused(tmp_path, values):
    write_tensors(tmp_path / cifar10.DECODED, values)
    with pytest.raises(DataError, match=cifar10.DECODED):
        load("cifar10", tmp_path)
