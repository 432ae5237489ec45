"""A model of a class as its library builds and fills it from files, beside the purged one that was saved there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lzero.host.copies import linked_copy
from lzero.host.inputs import ExampleInputs
from lzero.host.run import ForwardError, run
from lzero.host.tensors import replace_tensors, same_values

NOT_SAVED = "_keys_to_ignore_on_save"
"""What transformers reads of a model that it saves: names of tensors that it leaves out of files."""


_DRAWS = (
    Tensor.normal_,
    Tensor.uniform_,
    nn.init.normal_,
    nn.init.uniform_,
    nn.init.trunc_normal_,
    nn.init.kaiming_normal_,
    nn.init.kaiming_uniform_,
    nn.init.xavier_normal_,
    nn.init.xavier_uniform_,
)


class Undrawn(TorchFunctionMode):
    """A context in which parameters are made without values, which files will give: no time, and no memory yet."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """What ``func`` gives; a parameter itself in the place of one that is drawn."""
        named = kwargs or {}
        drawn = args[0] if args else named.get("tensor")
        if func in _DRAWS and isinstance(drawn, nn.Parameter):
            return drawn
        return func(*args, **named)


def difference_from_stock(small: nn.Module, stock: nn.Module, left_out: Collection[str], inputs: object) -> str:
    """What ``stock``, with the values that files carry of ``small``, does otherwise; empty where it does the same.

    A buffer that no file has is made anew with the model, from sizes that may be smaller now.

    Args:
        small: a purged model.
        stock: one of its class and sizes, with any values, that nobody needs; it gets parameters of ``small``.
        left_out: names of tensors that only ``small`` has.
        inputs: of one forward.
    """
    if inputs is None:
        return "cannot be tried, there are no example inputs"
    unsaved = {*left_out, *(getattr(small, NOT_SAVED, None) or ())}
    saved = {name: tensor for name, tensor in small.state_dict(keep_vars=True).items() if name not in unsaved}
    stock.to(next(small.parameters()).device)
    own = stock.state_dict(keep_vars=True)
    replace_tensors(stock, {own[name]: tensor for name, tensor in saved.items()})
    given = ExampleInputs.of(inputs).to(next(small.parameters()).device)
    try:
        results = [run(linked_copy(model, private=True), given) for model in (small, stock)]
    except ForwardError as error:
        return f"does not run: {error}"
    expected, found = results
    if [tensor.shape for tensor in expected] != [tensor.shape for tensor in found]:
        return "gives results of other shapes"
    if not all(map(same_values, expected, found)):
        return "gives other results: it computes with a size of its configuration"
    return ""
