"""One wrong entry in a saved state: it is loaded as it is, or refused without a trace."""

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from plans import same, snapshot
from purged import CASES, purged

from lzero.errors import StructureError
from lzero.reload import load_purged

CORRUPTIONS = {
    "narrow": lambda t: t.narrow(0, 0, max(t.shape[0] - 1, 0)) if t.dim() else t,
    "wide": lambda t: torch.cat([t, t]) if t.dim() else t,
    "narrow last": lambda t: t.narrow(-1, 0, max(t.shape[-1] - 1, 0)) if t.dim() else t,
    "flat": lambda t: t.flatten(),
    "unsqueezed": lambda t: t.unsqueeze(0),
    "long": lambda t: t.long(),
    "bool": lambda t: t.bool(),
    "complex": lambda t: t + 0j,
    "double": lambda t: t.double(),
    "half": lambda t: t.half(),
    "sparse": lambda t: t.to_sparse() if t.dim() else t,
    "meta": lambda t: t.to("meta"),
    "list": lambda t: t.tolist(),
    "none": lambda t: None,
    "text": lambda t: "weights",
    "number": lambda t: 3,
    "quantized": lambda t: torch.quantize_per_tensor(t.float(), 0.1, 0, torch.qint8),
    "nan": lambda t: torch.full_like(t, torch.nan) if t.is_floating_point() else t,
    "negative": lambda t: -t - 1,
    "transposed": lambda t: t.t() if t.dim() == 2 else t,
    "strided": lambda t: torch.cat([t, t], -1)[..., ::2] if t.dim() else t,
    "gone": None,
}
SAVED = {case: (build, purged(build, torch.randn(shape), granularity).state_dict())
         for case, (build, shape, granularity) in CASES.items()}  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_one_wrong_entry_is_loaded_as_it_is_or_refused_without_a_trace(data):
    build, good = SAVED[data.draw(st.sampled_from(sorted(SAVED)))]
    name, kind = data.draw(st.sampled_from(sorted(good))), data.draw(st.sampled_from(sorted(CORRUPTIONS)))
    state = {key: value.clone() for key, value in good.items()}
    spoil = CORRUPTIONS[kind]
    try:
        state[name] = spoil(state[name]) if spoil else None
    except RuntimeError:  # cannot be spoilt like this
        assume(False)
    if spoil is None:
        del state[name]
    elif data.draw(st.booleans()):
        state[f"{name}2"] = state.pop(name)
    model = build()
    before = snapshot(model)
    try:
        load_purged(model, state)
    except StructureError:
        same(before, snapshot(model))
    else:
        loaded = model.state_dict()
        assert loaded.keys() == state.keys()
        for key, value in state.items():
            torch.testing.assert_close(loaded[key], value, rtol=0, atol=0, equal_nan=True)
