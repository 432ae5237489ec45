"""Models of Hugging Face: what was kept stands in their configuration, and their files have names of their own.

Nothing is imported for models that never met ``transformers``.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Set
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from lzero.plan.paths import join
from lzero.surgery.attached import gated_leaves, raw_tensor, root_gates, ungated
from lzero.surgery.config_numbers import MARK
from lzero.surgery.depth import KEPT
from lzero.surgery.left_out import MARK as CLOSED
from lzero.surgery.libraries.plain_config import plain_numbers
from lzero.surgery.libraries.registry import Library, library
from lzero.surgery.libraries.stock import NOT_SAVED
from lzero.surgery.ratios import saved_ratios

FORMAT = 1
ENTRY = "lzero"
"""The attribute of a configuration, and the entry of ``config.json``, that says what a purged model kept."""


@library("transformers.modeling_utils.PreTrainedModel")
class HuggingFace(Library):
    """Files that stock ``from_pretrained`` refuses while a model is gated; configurations that say what was kept."""

    def saving(self, model: nn.Module, state: MutableMapping[str, Any], prefix: str) -> None:
        """One entry under the name of a gated weight, of a shape that this never has.

        ``from_pretrained`` draws weights that it does not find and loads the rest; a weight of another shape it
        refuses.
        """
        mark = _mark(model)
        if mark is not None:
            state[prefix + mark] = torch.zeros(1)

    def loading(self, model: nn.Module, state: MutableMapping[str, Any], prefix: str) -> None:
        """Take that entry out again, and call the others what the model calls them.

        ``save_pretrained`` writes some models under older names, and the Trainer loads them as they are in the file.
        """
        here = {name.removeprefix(prefix) for name in state if name.startswith(prefix)}
        for written, name in _written_otherwise(model, here):
            state[prefix + name] = state.pop(prefix + written)
        mark = _mark(model)
        if mark is not None and _is_mark(state.get(prefix + mark)):
            del state[prefix + mark]

    def purged(self, small: nn.Module, model: nn.Module) -> None:
        """Plain numbers in the configuration where these can tell what was kept, else one entry that does."""
        config: Any = getattr(small, "config", None)
        if config is None:
            return
        _save_what_was_cut(small, model)
        marks = [name for name, _ in small.named_buffers() if name.rpartition(".")[2].startswith(MARK)]
        depths = [name for name in marks if _leaf(name) == KEPT]
        if depths:  # the configuration counts the blocks that are left
            marks = [name for name in marks if name not in depths]
            setattr(small, NOT_SAVED, [*(getattr(small, NOT_SAVED, None) or ()), *depths])
        left_out = [name for name in marks if _leaf(name) == CLOSED]
        shares = saved_ratios(small, dict(small.named_buffers()))
        several = [name for name in marks if small.get_buffer(name).dim() and name not in shares]
        if left_out:
            numbers, reason = None, f"{left_out[0].rpartition('.')[0]}: {_LEFT_OUT}"
        elif several:
            numbers, reason = None, f"{several[0]}: {_SEVERAL}"
        else:
            numbers, reason = plain_numbers(small, [*marks, *depths], root_gates(model).plan.example_inputs)
        if numbers is None:
            setattr(config, ENTRY, {"format": FORMAT, "reason": reason, **_kept(small, model, marks)})
            return
        for name, number in numbers.items():
            setattr(config, name, number)
        if marks:  # a stock model has no place for them; state dicts keep them for load_purged
            setattr(small, NOT_SAVED, [*(getattr(small, NOT_SAVED, None) or ()), *marks])


_LEFT_OUT = "a branch that is left out, which no size of a configuration tells"
_SEVERAL = "sizes that a module keeps together, which no single number of a configuration tells"


def _save_what_was_cut(small: nn.Module, model: nn.Module) -> None:
    """Have files carry the tensors of ``small`` that were cut and that a stock model makes anew, such as sines."""
    ignored = getattr(small, NOT_SAVED, None)
    if ignored:
        state = small.state_dict(keep_vars=True)
        whole = [name for name in ignored if name not in state or state[name].shape == _shape(model, name)]
        setattr(small, NOT_SAVED, type(ignored)(whole))


def _kept(small: nn.Module, model: nn.Module, marks: list[str]) -> dict[str, Any]:
    """The shapes of all tensors that purging changed, and the numbers beside them."""
    shapes = {
        name: list(tensor.shape)
        for name, tensor in small.state_dict(keep_vars=True).items()
        if name not in marks and _leaf(name) != KEPT and _shape(model, name) != tensor.shape
    }
    numbers = {name: small.get_buffer(name).tolist() for name in marks}
    return {"shapes": shapes, "numbers": numbers}


def _shape(model: nn.Module, name: str) -> torch.Size | None:
    """Of the tensor that was called ``name`` before gates were attached to ``model``; None where there was none."""
    with suppress(AttributeError):
        return raw_tensor(model, name).shape
    return None


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def _mark(model: nn.Module) -> str | None:
    """The name of one gated weight that is a matrix, and none of experts, which are written in another form."""
    for path, module in model.named_modules():
        if "weight" in gated_leaves(module) and ungated(module, "weight").dim() > 1 and "expert" not in path:
            return join(path, "weight")
    return None


def _is_mark(value: object) -> bool:
    return isinstance(value, Tensor) and value.shape == (1,)


def _written_otherwise(model: Any, names: Set[str]) -> Iterator[tuple[str, str]]:
    """Of ``names`` in a file: those that its library writes otherwise, and what ``model`` calls them."""
    try:
        from transformers.core_model_loading import revert_weight_conversion
    except ImportError:  # an older version, whose files have the names of the model
        return
    plain = (join(path, leaf) for path, module in model.named_modules() for leaf in gated_leaves(module))
    own = {*model.state_dict(), *plain}
    unknown, missing = names - own, own - names
    for name in sorted(missing) if unknown else ():
        with suppress(Exception):  # one that is written together with others, or not at all
            (written,) = revert_weight_conversion(model, {name: torch.empty(0)})
            if written in unknown:
                yield written, name
