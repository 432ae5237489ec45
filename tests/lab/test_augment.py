import pytest
import torch
from torch.nn import functional as F

from lzero_lab.augment import crop_and_flip


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
