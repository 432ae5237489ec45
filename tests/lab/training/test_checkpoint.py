"""Checkpoints: entries of another type or shape are refused in one line, whichever they are; good ones are good."""

import copy
import math
import os

import pytest
import torch

from lzero.errors import NonFiniteError
from lzero_lab.errors import DamagedError, DataError
from lzero_lab.training.checkpoint import read_checkpoint
from lzero_lab.training.recipe import Recipe
from lzero_lab.training.training import Training

STRANGE = [None, True, -1, 3, 2.5, math.nan, "text", [], [1], {}, {"a": 1}, torch.zeros(()), torch.zeros(2, 3), b"x"]


@pytest.fixture(scope="module", params=["sgd", pytest.param("adam", marks=pytest.mark.slow)])
def saved(request, data, tmp_path_factory):
    """A recipe, the data and the entries of a checkpoint in the middle of its training."""
    recipe = Recipe(target=0.3, steps=8, batch_size=64, ema=0.9, optimizer=request.param)
    path = tmp_path_factory.mktemp("saved") / "a.pt"
    training = Training(recipe, data)
    training.run_epoch()
    training.save(path)
    assert Training(recipe, data).load(path).epoch == 1
    return recipe, read_checkpoint(path)


def places(value, path=()):
    """The path of every entry in dictionaries and lists, a few of many alike."""
    if isinstance(value, dict | list):
        entries = list(value.items() if isinstance(value, dict) else enumerate(value))
        for name, entry in entries[:3]:
            yield (*path, name)
            yield from places(entry, (*path, name))


def replaced(state, path, value):
    state = copy.deepcopy(state)
    inner = state
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return state


@pytest.mark.parametrize(
    "name", ["recipe", "epoch", "step", "seconds", "model", "optimizer", "rows", "order", "noise", "average"]
)
def test_entries_of_another_type_or_shape_are_refused_in_one_line(name, saved, data, tmp_path):
    recipe, state = saved
    training, path, refused = Training(recipe, data), tmp_path / "a.pt", 0
    for place in [(name,), *places(state[name], (name,))]:
        for value in STRANGE:
            torch.save(replaced(state, place, value), path)
            try:
                training.load(path)  # what is loaded by halves is loaded anew in the next round
                if training.step < training.steps:
                    training.run_epoch()
            except DamagedError as problem:
                assert str(problem).startswith(f"{path}: ")
                assert str(problem).endswith("; delete it and train anew") or name == "recipe"
                refused += 1
            except NonFiniteError:
                pass  # as after any bad number
            except DataError as problem:
                assert place == ("noise",) and "--device" in str(problem)
    assert refused >= len(STRANGE) - 4


def test_a_checkpoint_of_another_device_is_no_damage(saved, data, tmp_path):
    recipe, state = saved
    torch.save(state | {"noise": state["noise"] * 2}, tmp_path / "a.pt")
    with pytest.raises(
        DataError, match=r"a\.pt: saved by a training on a GPU; continue it there \(--device\)"
    ) as caught:
        Training(recipe, data).load(tmp_path / "a.pt")
    assert not isinstance(caught.value, DamagedError)


def test_counts_that_contradict_each_other_are_refused(saved, data, tmp_path):
    recipe, state = saved
    for wrong in ({"epoch": 2}, {"step": 0}, {"rows": []}, {"seconds": -1.0}, {"step": 9}):
        torch.save(state | wrong, tmp_path / "a.pt")
        with pytest.raises(DamagedError, match="delete it and train anew"):
            Training(recipe, data).load(tmp_path / "a.pt")


def test_permission_denied_is_the_reason_where_it_is(saved, data, tmp_path, monkeypatch):
    def denied(path):
        raise PermissionError(13, os.strerror(13), str(path))

    torch.save(saved[1], tmp_path / "a.pt")
    monkeypatch.setattr(type(tmp_path), "read_bytes", denied)
    with pytest.raises(
        DataError, match=r"a\.pt: cannot be read \(Permission denied\); mend that and try again"
    ) as caught:
        Training(saved[0], data).load(tmp_path / "a.pt")
    assert "delete" not in str(caught.value) and not isinstance(caught.value, DamagedError)


def test_a_lack_of_memory_while_loading_is_no_damage(saved, data, tmp_path, monkeypatch):
    def fails(*_):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    torch.save(saved[1], tmp_path / "a.pt")
    training = Training(saved[0], data)
    monkeypatch.setattr(training.model, "load_state_dict", fails)
    with pytest.raises(MemoryError, match="no memory to load it"):
        training.load(tmp_path / "a.pt")
