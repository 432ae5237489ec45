"""Parts of a data set, the batches of an epoch, and random crops of them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from lzero_lab.datasets.dataset import Dataset, batches, crop_and_flip, without_validation
from lzero_lab.errors import DataError


@pytest.mark.parametrize(("shape", "padding"), [((64, 3, 6, 5), 2), ((8, 1, 4, 4), 0), ((200, 2, 8, 8), 4)])
def test_every_image_is_a_crop_of_the_padded_one_or_its_mirror_image(shape, padding):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    height, width = shape[2:]
    padded = F.pad(x, [padding] * 4)
    seen = set()
    for image, around in zip(crop_and_flip(x, torch.Generator().manual_seed(1), padding=padding), padded, strict=True):
        fits = [
            (top, left, mirrored)
            for top in range(2 * padding + 1)
            for left in range(2 * padding + 1)
            for mirrored in (False, True)
            if image.equal(around[:, top : top + height, left : left + width].flip([2] if mirrored else []))
        ]
        assert len(fits) == 1
        seen.update(fits)
    assert {mirrored for *_, mirrored in seen} == {False, True}
    if shape[0] == 200:
        assert {top for top, *_ in seen} == {left for _, left, _ in seen} == set(range(9))


def test_the_draws_come_from_the_generator_alone():
    x = torch.randn(16, 3, 8, 8)
    before = torch.get_rng_state()
    one, other = (crop_and_flip(x, torch.Generator().manual_seed(3)) for _ in range(2))
    assert one.equal(other) and torch.get_rng_state().equal(before)
    assert not one.equal(crop_and_flip(x, torch.Generator().manual_seed(4)))
    torch.manual_seed(5)
    drawn = crop_and_flip(x)
    torch.manual_seed(5)
    assert crop_and_flip(x).equal(drawn) and not drawn.equal(x)


def test_the_result_lies_in_memory_as_channels_last():
    assert crop_and_flip(torch.randn(4, 3, 8, 8)).is_contiguous(memory_format=torch.channels_last)


@given(count=st.integers(0, 40), size=st.integers(1, 50), drop_last=st.booleans(), seed=st.integers(0, 9))
def test_batches_hold_every_example_once(count, size, drop_last, seed):
    x, y = torch.arange(count).float().unsqueeze(1), torch.arange(count)

    def epoch():
        return list(batches(x, y, size, torch.Generator().manual_seed(seed), drop_last=drop_last))

    found = epoch()
    assert all(one.squeeze(1).long().equal(other) for one, other in found)
    seen = sorted(label for _, labels in found for label in labels.tolist())
    if drop_last:
        assert len(seen) == count - count % size and len(set(seen)) == len(seen)
        assert all(len(labels) == size for _, labels in found)
    else:
        assert seen == list(range(count))
    assert all(a[1].equal(b[1]) for a, b in zip(found, epoch(), strict=True))


def test_two_epochs_of_one_generator_differ():
    generator = torch.Generator().manual_seed(0)
    x = torch.arange(100)
    first, second = (torch.cat([labels for _, labels in batches(x, x, 32, generator)]) for _ in range(2))
    assert not first.equal(second)
    assert not first.equal(x)


def test_bad_batches_are_refused_at_the_call():
    x, generator = torch.zeros(4, 1), torch.Generator()
    with pytest.raises(DataError, match="batch_size is 0, expected at least 1"):
        batches(x, x, 0, generator)
    with pytest.raises(DataError, match="4 inputs but 3 labels"):
        batches(x, x[:3], 2, generator)


def test_a_dataset_is_frozen():
    empty = torch.zeros(1, 1, 2, 2)
    data = Dataset("d", empty, empty, empty, empty, empty, empty)
    with pytest.raises(AttributeError):
        data.classes = 3


def test_a_dataset_moves_as_a_whole_and_knows_the_shape_of_an_image():
    x, y = torch.rand(4, 3, 5, 6), torch.zeros(4, dtype=torch.int64)
    data = Dataset("made up", x, y, x, y, x, y, classes=7)
    moved = data.to("meta")
    assert (moved.name, moved.classes, moved.image_shape, moved.features) == ("made up", 7, (3, 5, 6), 90)
    parts = ("train_x", "train_y", "validation_x", "validation_y", "test_x", "test_y")
    assert all(getattr(moved, part).is_meta and not getattr(data, part).is_meta for part in parts)


def test_the_validation_images_come_off_the_training_file():
    assert without_validation("file", 60_000) == 55_000
    with pytest.raises(DataError, match=r"file: expected more than 5,000 training images .*, found 5,000; replace it"):
        without_validation("file", 5_000)
