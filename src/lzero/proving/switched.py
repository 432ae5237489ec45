"""Whether a model gives the same results with a cache as without, whole and purged."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

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
    return _gap(plain, one, two) < whole.tolerance


@torch.no_grad()
def why_not_switched(whole: RandomModel, gated: nn.Module, purged: nn.Module) -> str:
    """What goes wrong where ``purged`` keeps a cache, which ``gated`` does not; empty where nothing does."""
    try:
        gap = _gap(gated, whole.forward(gated), whole.forward(purged))
    except ForwardError as error:
        return f"the purged model fails in {error}"
    return "" if gap < whole.tolerance else f"purged and gated outputs differ by {gap:.0e}"


def _gap(model: nn.Module, one: object, two: object) -> float:
    """The largest relative difference of what two forwards of ``model`` returned, keys and values aside."""
    kept = cached_tensors(one) | cached_tensors(two)
    results = [[tensor for tensor in results_in(made, model) if id(tensor) not in kept] for made in (one, two)]
    return difference(*results).relative
