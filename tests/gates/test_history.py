"""What has happened since the last step: the reasons that it gives, and the draws that a backward may ask for."""

import pytest
import torch

from lzero.errors import SolverError
from lzero.gates import history as module
from lzero.gates.history import History


def walked(*events):
    history = History()
    for event in events:
        if event == "train":
            history.forward(True)
        elif event == "no_grad":
            with torch.no_grad():
                history.forward(True)
        elif event == "eval":
            history.forward(False)
        else:
            getattr(history, event)()
    return history


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([], "there was no forward since the last step"),
        (["train"], "no backward has come to them since the forward: call step"),
        (["train", "backward"], "their gradient was cleared after backward"),
        (["no_grad"], "the forward ran under torch.no_grad"),
        (["eval"], "the model ran in eval mode"),
        (["eval", "no_grad"], "the forward ran under torch.no_grad"),
        (["eval", "no_grad", "train"], "no backward has come to them"),
        (["train", "backward", "step"], "there was no forward since the last step: step() was called twice"),
        (["train", "step", "eval"], "the model ran in eval mode"),
        (["backward"], "their gradient was cleared after backward"),
        (["eval", "undrawn_backward"], "their gradient was cleared after backward"),
    ],
)
def test_the_reason_is_what_came_last_on_the_way_to_a_gradient(events, reason):
    assert walked(*events).why_no_gradient().startswith(reason)


def test_scores_are_counted_for_ever():
    assert walked("score", "step", "score", "train", "step").scores == 2


@pytest.mark.parametrize(
    ("events", "another"),
    [
        (["train"], False),
        (["train", "train"], True),
        (["train", "eval"], True),
        (["train", "no_grad"], True),
        (["eval", "train"], False),  # no backward asks for the draw of the first
        (["eval", "no_grad", "eval"], False),
        (["train", "backward", "train"], False),
        (["train", "backward", "eval"], False),
        (["train", "train", "backward", "train"], False),
        (["train", "step", "train"], True),  # a step forgets no draw
    ],
)
def test_a_backward_may_ask_for_another_draw_where_forwards_came_between(events, another, monkeypatch):
    history = walked(*events)
    assert not history.recomputes_another_draw()  # it is no recomputation
    monkeypatch.setattr(module, "in_backward", lambda: True)
    assert history.recomputes_another_draw() == another


def test_after_a_refusal_the_next_forward_begins_anew(monkeypatch):
    history = walked("train", "train")
    monkeypatch.setattr(module, "in_backward", lambda: True)
    assert history.recomputes_another_draw()
    history.forward(True)
    assert not history.recomputes_another_draw()


def optimized(history, forwards, kind=torch.optim.LBFGS):
    parameter = torch.zeros(2, requires_grad=True)
    optimizer = kind([parameter], lr=0.1)

    def closure():
        for forward in range(forwards):
            history.forward(True)
            if forward:
                history.step()
        optimizer.zero_grad()
        loss = (parameter - 1).pow(2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)


@pytest.mark.parametrize("before", [[], ["train", "step"] * 2, ["eval"] * 9, ["train", "step"] * 9 + ["train"]])
def test_a_forward_within_an_optimizer_that_compares_losses_is_refused(before):
    with pytest.raises(SolverError, match=r"LBFGS runs the loss several times a step .* use LBFGS on the purged model"):
        optimized(walked(*before), 1)


def test_a_forward_within_another_optimizer_is_not():
    history = walked()
    optimized(history, 2, torch.optim.SGD)
    assert history.why_no_gradient().startswith("there was no forward")


def test_callers_are_looked_at_in_the_first_forwards_and_where_two_have_no_step_between(monkeypatch):
    looked = []
    monkeypatch.setattr(module, "_check_caller", lambda: looked.append(1))
    walked(*["train", "backward", "step"] * 9, *["eval"] * 9)
    assert len(looked) == 3
    looked.clear()
    walked(*["train", "step"] * 3, "train", "train", "train", "step", "train", "train")
    assert len(looked) == 5


@pytest.mark.parametrize(
    ("events", "undrawn"),
    [
        ([], False),
        (["eval", "undrawn_backward"], True),
        (["train", "backward"], False),
        (["eval", "undrawn_backward", "train", "backward"], False),
        (["eval", "undrawn_backward", "step"], False),
    ],
)
def test_gradients_of_eval_mode_alone_are_told_from_those_of_draws(events, undrawn):
    assert walked(*events).undrawn is undrawn


def test_a_gradient_is_discarded_where_weights_have_moved_and_lost_theirs():
    weight, frozen = torch.ones(3, requires_grad=True), torch.ones(3)
    for moved, grad, discarded in [
        (True, None, True),
        (True, torch.zeros(3), True),
        (True, torch.ones(3), False),
        (False, None, False),
    ]:
        history = walked("train")
        history.saw(weight), history.saw(frozen)
        assert not history.discarded()  # no backward yet
        history.backward()
        if moved:
            with torch.no_grad():
                weight.add_(1)
        weight.grad = grad
        assert history.discarded() is discarded
        history.step()
        assert not history.discarded()
