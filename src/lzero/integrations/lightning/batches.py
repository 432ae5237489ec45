"""A small batch as a loader would give it, without asking the loader: its order and its workers stay untouched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from lzero.checks import shown
from lzero.errors import StructureError

EXAMPLES = 2


def first_examples(loader: object, count: int = EXAMPLES) -> Any:
    """The first ``count`` examples of the dataset, collated as ``loader`` does it; of several loaders as many batches.

    Args:
        loader: a DataLoader over a dataset with positions, a list of batches, or a dict, list or tuple of loaders.
        count: examples, or fewer where the dataset or the batch has fewer.

    Raises:
        StructureError: its examples can only be taken out of it.
    """
    if isinstance(loader, DataLoader):
        return _of_dataset(loader, count)
    if isinstance(loader, Mapping):
        return {name: first_examples(part, count) for name, part in loader.items()}
    if isinstance(loader, Sequence) and loader and not isinstance(loader, str):
        if isinstance(loader[0], DataLoader):
            return [first_examples(part, count) for part in loader]
        return loader[0]
    raise _refused(shown(loader))


def _of_dataset(loader: DataLoader[Any], count: int) -> Any:
    dataset: Any = loader.dataset
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__"):
        raise _refused(f"a DataLoader over {type(dataset).__name__}")
    if loader.batch_sampler is None:  # the dataset gives whole batches
        by_lists = isinstance(loader.sampler, BatchSampler)
        return loader.collate_fn(dataset[_positions(loader.sampler, count, dataset) if by_lists else 0])
    positions = _positions(loader.batch_sampler, count, dataset)
    if hasattr(dataset, "__getitems__"):
        return loader.collate_fn(dataset.__getitems__(positions))
    return loader.collate_fn([dataset[position] for position in positions])


def _positions(sampler: object, count: int, dataset: Any) -> list[int]:
    return list(range(min(count, getattr(sampler, "batch_size", count), len(dataset))))


def _refused(what: str) -> StructureError:
    return StructureError(
        f"no batch can be looked at without taking it from the training: {what} has no first examples by position; "
        "pass Budget(..., example_inputs=...), what one forward of the model takes"
    )
