"""A batch of a loader's first examples, and what of the loader stays as it was."""

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, SequentialSampler, TensorDataset

from lzero.errors import StructureError
from lzero.integrations.lightning.batches import first_examples

X, Y = torch.arange(24.0).view(12, 2), torch.arange(12)
DATA = TensorDataset(X, Y)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(X)


class ByLists(Dataset):
    """As datasets that fetch a whole batch at once."""

    def __len__(self):
        return 12

    def __getitem__(self, positions):
        return X[positions]

    def __getitems__(self, positions):
        return [X[position] + 100 for position in positions]


def test_the_first_examples_are_collated_as_the_loader_does():
    x, y = first_examples(DataLoader(DATA, 4))
    assert torch.equal(x, X[:2]) and torch.equal(y, Y[:2])
    assert first_examples(DataLoader(DATA, 1))[0].shape == (1, 2)
    assert first_examples(DataLoader(DATA, 4), 100)[0].shape == (4, 2)
    assert first_examples(DataLoader(DATA, 4, collate_fn=len)) == 2
    assert torch.equal(first_examples(DataLoader(ByLists(), 4)), X[:2] + 100)


def test_loaders_of_whole_batches():
    sampler = BatchSampler(SequentialSampler(DATA), 4, drop_last=False)
    assert torch.equal(first_examples(DataLoader(DATA, batch_sampler=sampler))[0], X[:2])
    assert torch.equal(first_examples(DataLoader(ByLists(), batch_size=None, sampler=sampler)), X[:2])
    assert torch.equal(first_examples(DataLoader(list(X.split(3)), batch_size=None)), X[:3])


def test_several_loaders_and_lists_of_batches():
    one, two = DataLoader(DATA, 4), DataLoader(list(X), 3)
    both = first_examples({"a": one, "b": two})
    assert torch.equal(both["a"][0], X[:2]) and torch.equal(both["b"], X[:2])
    assert torch.equal(first_examples([one, two])[1], X[:2])
    assert first_examples([(X, Y), (X, Y)])[0] is X


def test_the_order_of_a_loader_is_what_it_would_have_been():
    def order(look):
        loader = DataLoader(DATA, 4, shuffle=True, generator=torch.Generator().manual_seed(5))
        if look:
            first_examples(loader)
        torch.manual_seed(9)
        return [y.tolist() for _, y in loader]

    assert order(look=True) == order(look=False)


@pytest.mark.parametrize("loader", [DataLoader(Stream(), 4), iter([X]), (x for x in X), 3, [], "ab"])
def test_what_can_only_be_taken_is_refused(loader):
    with pytest.raises(StructureError, match=r"without taking it from the training: .* Budget\(\.\.\., example_inputs"):
        first_examples(loader)
