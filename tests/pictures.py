"""Pictures of a model, of all that attaching and detaching may touch, and models to take them of."""

import torch
from plans import lenet, mlp, tied
from torch import nn

import lzero


def picture(model):
    """All of a model that attaching may touch."""
    modules = list(model.named_modules(remove_duplicate=False))
    registries = ("_parameters", "_buffers", "_modules", "_forward_pre_hooks", "_forward_hooks")
    registries += ("_forward_pre_hooks_with_kwargs", "_load_state_dict_pre_hooks", "_state_dict_hooks")
    return {
        "classes": [(name, id(module), type(module)) for name, module in modules],
        "held": [[list(getattr(module, registry).items()) for registry in registries] for _, module in modules],
        "attributes": [list(vars(module)) for _, module in modules],
        "plain": [
            {k: v for k, v in vars(m).items() if isinstance(v, int | float | str | bool | tuple | list)}
            for _, m in modules
        ],
        "values": {name: (p.data_ptr(), p.stride(), p.detach().clone()) for name, p in model.named_parameters()},
        "state": list(model.state_dict()),
        "grads": [p.requires_grad for p in model.parameters()],
        "random": torch.get_rng_state(),
    }


def unchanged(before, after):
    assert before["state"] == after["state"] and before["classes"] == after["classes"]
    for one, two in zip(before["held"], after["held"], strict=True):
        for first, second in zip(one, two, strict=True):
            assert [name for name, _ in first] == [name for name, _ in second]
            assert all(a is b for (_, a), (_, b) in zip(first, second, strict=True))
    assert before["attributes"] == after["attributes"] and before["plain"] == after["plain"]
    assert before["grads"] == after["grads"] and torch.equal(before["random"], after["random"])
    for name, (place, stride, value) in before["values"].items():
        other = after["values"][name]
        assert (place, stride) == other[:2] and torch.equal(value, other[2]), name


class Lstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.out = nn.LSTM(4, 6, num_layers=2, batch_first=True), nn.Linear(6, 3)

    def forward(self, x):
        return self.out(self.inner(x)[0])


def discovered(make, *shape):
    def build():
        model = make()
        return model, lzero.discover(model, torch.randn(shape))

    return build


MODELS = {"mlp": mlp, "lenet": lenet, "tied": tied, "lstm": discovered(Lstm, 2, 3, 4)}
