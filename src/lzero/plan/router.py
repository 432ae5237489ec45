"""The product that gives each expert a logit: where closed experts are kept from being chosen."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Router:
    """A product of E rows in front of a softmax or a choice: log z is added to the logits of experts with gates z.

    Attributes:
        path: of the module in whose forward the product runs.
        tensor: name of its weight, whose rows or columns are the experts.
        chosen: (path, name) of the numbers that say how many experts a token goes to, each no more than are left.
        sparse: whether tokens go to some of the experts alone: those of a closed one go to others, so that closing it
            saves memory and no work.
    """

    path: str
    tensor: str
    chosen: tuple[tuple[str, str], ...] = ()
    sparse: bool = False

    def below(self, start: str) -> Router:
        """The same by the names that it has in the module at ``start``."""
        cut = len(start) + 1 if start else 0
        chosen = tuple((path[cut:], name) for path, name in self.chosen)
        return replace(self, path=self.path[cut:], tensor=self.tensor[cut:], chosen=chosen)
