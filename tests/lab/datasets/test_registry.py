"""Data sets by name: the digits, and what is said of a name that there is not."""

import pytest
import torch

from lzero_lab.datasets import load, names
from lzero_lab.errors import DataError


def test_the_digits_are_split_without_overlap_and_always_alike():
    data, again = load("digits"), load("digits")
    parts = [data.train_x, data.validation_x, data.test_x]
    assert [len(part) for part in parts] == [1_100, 247, 450]
    assert data.image_shape == (1, 8, 8)
    everything = torch.cat(parts)
    assert (everything.min(), everything.max()) == (0, 1)
    assert all(
        one.equal(other) for one, other in zip(parts, [again.train_x, again.validation_x, again.test_x], strict=True)
    )
    assert data.train_y.bincount(minlength=10).min() > 80  # shuffled: every class is everywhere

    from sklearn.datasets import load_digits

    def rows(images):
        return sorted(map(tuple, images.reshape(len(images), -1).tolist()))

    assert rows(everything * 16) == rows(torch.from_numpy(load_digits().images))


def test_an_unknown_data_set_lists_the_known():
    with pytest.raises(DataError, match="no data set is called 'cifar'; there are: digits, mnist, fashion-mnist"):
        load("cifar")


def test_every_name_is_known_to_load(tmp_path):
    assert names() == ("digits", "mnist", "fashion-mnist", "cifar10")
    for name in ("mnist", "cifar10"):
        with pytest.raises(DataError, match=f"^{name}: missing "):
            load(name, tmp_path)
