"""A result goes from one process to the one that waits for it, once, and its file goes away."""

import multiprocessing

import pytest
import torch
from torch import nn

import lzero
from lzero.errors import StructureError
from lzero.integrations.lightning.hand_over import HandOver


def result():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))
    lzero.attach_gates(model, torch.rand(2, 4))
    return lzero.purge(model, constraints=[lzero.Constraint(0.5)])


def give(over):
    assert over.elsewhere and over.result is None
    over.give(result())


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
def test_what_another_process_leaves_is_taken_once():
    over = HandOver()
    assert not over.elsewhere and over.result is None
    process = multiprocessing.get_context("fork").Process(target=give, args=(over,))
    process.start()
    process.join()
    assert process.exitcode == 0
    taken = over.result
    assert taken is not None and taken.model(torch.rand(3, 4)).shape == (3, 2)
    assert taken.certificate.deployed["params"] <= 0.5 and over.result is taken
    assert not over._file.exists()


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: content[:40], lambda content: b""])
def test_what_is_damaged_is_not_unpickled(damage, monkeypatch):
    over = HandOver()
    over.give(result())
    over._file.write_bytes(damage(over._file.read_bytes()))
    monkeypatch.setattr("pickle.loads", lambda content: pytest.fail("unpickled"))
    with pytest.raises(StructureError, match="is not what a process of this training has left there; train again"):
        _ = over.result
    assert not over._file.exists()


@pytest.mark.filterwarnings("ignore::lzero.LzeroWarning")
def test_what_a_stranger_has_left_is_not_unpickled(monkeypatch):
    over = HandOver()
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(multiprocessing.current_process(), "authkey", b"another family of processes")
        over.give(result())
    monkeypatch.setattr("pickle.loads", lambda content: pytest.fail("unpickled"))
    with pytest.raises(StructureError, match="is not what a process of this training"):
        _ = over.result
