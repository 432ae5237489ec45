"""Whether a model gives the same results with a cache as without."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lzero.host.cache import Switched, cached_tensors, results_in, with_cache_again
from lzero.host.copies import linked_copy
from lzero.host.run import ForwardError
from lzero.proving.compare import difference
from lzero.proving.random_model import RandomModel


@torch.no_grad()
def same_results(whole: RandomModel, switched: Sequence[Switched]) -> bool:
    """Whether ``whole`` gives what it gives with ``switched`` configurations too, keys and values aside."""
    plain, asked = linked_copy(whole.model, private=True), linked_copy(whole.model, private=True)
    with_cache_again(asked, switched)
    try:
        one, two = whole.forward(plain), whole.forward(asked)
    except ForwardError:
        return False
    kept = cached_tensors(one) | cached_tensors(two)
    results = [[t for t in results_in(made, plain) if id(t) not in kept] for made in (one, two)]
    return difference(*results).relative < whole.tolerance
