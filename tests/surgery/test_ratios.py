"""What follows the share of a stream that stays: eps to the bit, weights by its root, and both through a state dict."""

import math

import pytest
import torch
from streams import built, close_some, given
from torch import nn

import lzero
from lzero.errors import StructureError
from lzero.surgery.ratios import Ratio, set_ratios

FEW = ["layer norm", "by hand, as Llama", "layer norm without parameters", "gpt", "group norm"]


def purged(name, seed=1, share=0.5):
    model = built(name)
    gates = lzero.attach_gates(model, (given(name, 2, 6),), granularity="width")
    close_some(gates, share, seed)
    return model, lzero.purge(model).model


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
@pytest.mark.parametrize("name", FEW)
def test_a_purged_model_is_loaded_to_the_bit(name):
    _, small = purged(name)
    loaded = lzero.load_purged(built(name, seed=7), small.state_dict())
    x = given(name, 3, 6)
    with torch.no_grad():
        assert torch.equal(loaded(x), small(x))
    assert str(loaded) == str(small)
    again = lzero.load_purged(built(name, seed=8), loaded.state_dict())
    assert [str(value) for value in again.state_dict().values()] == [str(v) for v in small.state_dict().values()]


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
def test_eps_and_weight_are_those_of_the_closed_form():
    model, small = purged("layer norm")
    norm, before = small[1].body[0], built("layer norm")[1].body[0]
    kept = lzero.gates_of(model).split(lzero.gates_of(model).open_mask())["0"]
    k = int(kept.sum())
    assert 1 < k < 12 and norm.normalized_shape == (k,) and norm.eps == before.eps * 12 / k
    torch.testing.assert_close(norm.weight, before.weight[kept] * math.sqrt(12 / k), rtol=1e-15, atol=0)
    assert torch.equal(norm.bias, before.bias[kept]) and norm.purged_eps.tolist() == [12, k]


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
@pytest.mark.parametrize("name", ["by hand, as Gemma", "rms norm without parameters", "length"])
def test_where_the_fill_keeps_the_statistic_nothing_but_the_width_changes(name):
    _, small = purged(name)
    assert not any(key.endswith("purged_eps") for key in small.state_dict())
    norms = [module for module in small.modules() if hasattr(module, "eps")]
    assert all(module.eps in (1e-3, None) for module in norms)


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
def test_a_model_that_is_purged_twice_is_loaded_from_its_first_form():
    _, small = purged("layer norm", share=0.3)
    x = given("layer norm", 2, 6)
    gates = lzero.attach_gates(small, (x,), granularity="width")
    close_some(gates, 0.5, 3)
    smaller = lzero.purge(small).model
    loaded = lzero.load_purged(built("layer norm", seed=7), smaller.state_dict())
    fresh = given("layer norm", 3, 4)
    torch.testing.assert_close(loaded(fresh), smaller(fresh), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(loaded(fresh), small.eval()(fresh), rtol=1e-9, atol=1e-9)


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
@pytest.mark.parametrize("name", FEW)
def test_a_second_purge_is_loaded_into_a_model_of_the_first(name, tmp_path):
    _, small = purged(name, share=0.3)
    first = lzero.load_purged(built(name, seed=7), small.state_dict())
    gates = lzero.attach_gates(small, (given(name, 2, 6),), granularity="width")
    close_some(gates, 0.3, 3)
    result = lzero.purge(small)
    lzero.save_purged(result, tmp_path / "second")
    loaded, x = lzero.load_purged(first, tmp_path / "second"), given(name, 3, 6)
    with torch.no_grad():
        assert torch.equal(loaded(x), result.model(x))
    assert str(loaded) == str(result.model)


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
@pytest.mark.parametrize(
    "share", [torch.tensor([4, 5]), torch.tensor([4, 0]), torch.tensor(4), torch.tensor([4.0, 2.0]), torch.ones(3)]
)
def test_a_share_that_is_none_is_refused(share):
    _, small = purged("layer norm")
    state = small.state_dict() | {"3.purged_eps": share}
    fresh = built("layer norm")
    with pytest.raises(
        StructureError, match=r"3\.purged_eps: expected how many units there were and how many are left"
    ):
        lzero.load_purged(fresh, state)
    assert fresh[3].eps == 1e-5 and fresh[3].normalized_shape == (12,)


def test_a_ratio_is_of_what_there_was():
    norm = nn.LayerNorm(4, eps=0.5)
    model = nn.Sequential(norm)
    set_ratios(model, [Ratio("0", "eps", 12, 6)])
    set_ratios(model, [Ratio("0", "eps", 3, 1)])
    assert norm.eps == 1.5 and norm.purged_eps.tolist() == [3, 1]
    bare = nn.LayerNorm(12, elementwise_affine=False)
    set_ratios(nn.Sequential(bare), [Ratio("0", "normalized_shape", 12, 4)])
    assert bare.normalized_shape == (4,)


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_purged_model_in_another_precision_keeps_its_ratio(dtype):
    _, small = purged("layer norm")
    loaded = lzero.load_purged(built("layer norm", seed=7), small.to(dtype).state_dict())
    assert loaded[3].eps == small[3].eps and loaded[3].purged_eps.dtype is torch.int64


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
@pytest.mark.parametrize(("norm", "eps"), [(nn.LayerNorm, 1), (nn.RMSNorm, 1), (nn.RMSNorm, 0)])
def test_a_whole_number_that_is_added_to_the_variance_follows(norm, eps):
    def stream():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 12), norm(12, eps=eps), nn.Linear(12, 3)).double()

    model, x = stream(), torch.randn(4, 5, dtype=torch.float64)
    gates = lzero.attach_gates(model, (x,), granularity="width")
    close_some(gates, 0.5, 1)
    small = lzero.purge(model).model
    assert 1 < len(small[0].weight) < 12 and small[1].eps == eps * 12 / len(small[0].weight)
    torch.testing.assert_close(small(x), model.eval()(x), rtol=1e-12, atol=1e-12)
    loaded = lzero.load_purged(stream(), small.state_dict())
    assert torch.equal(loaded(x), small(x)) and loaded[1].eps == small[1].eps
