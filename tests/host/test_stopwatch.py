"""How long a forward takes: of a clock that the test moves."""

import pytest
import torch
from torch import nn

from lzero.host import stopwatch
from lzero.host.stopwatch import FORWARDS, SECONDS, milliseconds


class Slow(nn.Module):
    """Moves the clock by the next of ``durations``, and by the last one from then on."""

    def __init__(self, *durations):
        super().__init__()
        self.durations, self.now, self.calls = list(durations), 0.0, 0

    def forward(self, x, *, shift=0.0):
        self.calls += 1
        assert not torch.is_grad_enabled()
        self.now += self.durations.pop(0) if len(self.durations) > 1 else self.durations[0]
        return x + shift


def timed(monkeypatch, model, inputs):
    monkeypatch.setattr(stopwatch, "perf_counter", lambda: model.now)
    return milliseconds(model, inputs)


def test_it_is_the_median_without_the_first_forward(monkeypatch):
    model = Slow(9.0, 0.2, 0.4, 0.5)
    assert timed(monkeypatch, model, torch.ones(2)) == pytest.approx(400)
    assert model.calls == 4


@pytest.mark.parametrize(("each", "calls"), [(2 * SECONDS, 4), (SECONDS / 8, 9), (1e-9, FORWARDS + 1)])
def test_the_number_of_forwards_is_bounded(monkeypatch, each, calls):
    model = Slow(each)
    assert timed(monkeypatch, model, {"x": torch.ones(2), "shift": 1.0}) == pytest.approx(1000 * each)
    assert model.calls == calls
