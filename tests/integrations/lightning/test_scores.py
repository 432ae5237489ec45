"""Callbacks that go by a score begin anew: stand-ins with the public attributes of Lightning's."""

import math
from types import SimpleNamespace

import torch

from lzero.integrations.lightning.scores import Scores


def saver(mode="min", **options):
    best = {"a.ckpt": torch.tensor(0.5), "b.ckpt": torch.tensor(0.7)}
    known = {"best_k_models": best, "best_model_path": "a.ckpt", "kth_best_model_path": "b.ckpt"}
    return SimpleNamespace(monitor="loss", mode=mode, best_model_score=0.5, kth_value=0.7, **known, **options)


def test_early_stopping_counts_from_the_start():
    low, high = (SimpleNamespace(mode=mode, wait_count=3, best_score=torch.tensor(0.2)) for mode in ("min", "max"))
    Scores([low, high], []).hear_anew()
    assert (low.wait_count, high.wait_count) == (0, 0)
    assert float(low.best_score) == math.inf and float(high.best_score) == -math.inf


def test_the_best_checkpoint_is_one_that_comes():
    low, high, last = saver(), saver("max"), SimpleNamespace(monitor=None, best_model_path="last.ckpt")
    scores = Scores([], [low, high, last, SimpleNamespace()])
    assert scores.without_best() == []
    scores.forget_best()
    for kept, worst in ((low, math.inf), (high, -math.inf)):
        assert kept.best_k_models == {} and kept.best_model_path == kept.kth_best_model_path == ""
        assert kept.best_model_score is None and float(kept.kth_value) == worst
    assert last.best_model_path == "last.ckpt" and scores.without_best() == ["a.ckpt", "a.ckpt"]
    high.best_model_path = "c.ckpt"
    assert scores.without_best() == ["a.ckpt"]
