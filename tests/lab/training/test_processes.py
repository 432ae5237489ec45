"""Three processes train what one trains: the same network, the same gates on all, resumed to the bit."""

import itertools

import pytest
import torch
from processes import run
from torch import distributed

from lzero_lab import datasets
from lzero_lab.datasets import Dataset
from lzero_lab.errors import UsageError
from lzero_lab.training.processes import Processes, lost
from lzero_lab.training.recipe import Recipe
from lzero_lab.training.training import Training

# Sums of three numbers depend on their order. A batch of 101 gives one process an example less, and the last batch of
# the 304 examples is a single one.
COUNT, EXAMPLES, BATCH = 3, 304, 101
QUIET = {  # nothing is drawn in them
    "dense": Recipe(method="dense", optimizer="sgd", lr=0.1, epochs=3, batch_size=BATCH),
    "deterministic": Recipe(
        target=0.3, estimator="deterministic", optimizer="sgd", lr=0.1, epochs=3, batch_size=BATCH, l2=1e-3, ema=0.9
    ),
}
DRAWN = {
    "hard concrete": Recipe(target=0.3, epochs=4, batch_size=BATCH),
    "ARM": Recipe(target=0.3, estimator="arm", epochs=2, batch_size=BATCH, augment=True),
    "BatchNorm": Recipe(model="wrn-10-1", target=0.5, steps=2, batch_size=16, augment=True),
}


def few() -> Dataset:
    digits = datasets.load("digits")
    values = {name: getattr(digits, name)[:EXAMPLES] for name in ("train_x", "train_y", "validation_x", "validation_y")}
    return Dataset("digits", **values, test_x=digits.test_x, test_y=digits.test_y)


def outcome(training):
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in training.recorder.rows]
    return {name: tensor.clone() for name, tensor in training.model.state_dict().items()}, rows


def alike(one, other):
    (weights, rows), (others, other_rows) = one, other
    return rows == other_rows and weights.keys() == others.keys() and all(map(torch.equal, *map(values, (one, other))))


def values(outcome):
    return [outcome[0][name] for name in sorted(outcome[0])]


def trained(rank, path):
    """Every training by its name; one of them also broken off, and resumed from what the first process saved."""
    data, processes = few(), Processes(rank, COUNT)
    found = {name: Training(recipe, data, processes=processes).run() for name, recipe in (QUIET | DRAWN).items()}
    recipe = DRAWN["hard concrete"]
    broken = Training(recipe, data, processes=processes)
    broken.run_epoch()
    broken.run_epoch()
    resumed = Training(recipe, data, processes=processes)
    if rank == 0:
        broken.save(path)
        resumed.load(path)
    found["resumed"] = resumed.run()
    density = found["hard concrete"].purge().certificate.deployed["params"]
    with processes.stream(broken._stream, seed=0, epoch=2).active():
        scores = broken.model.train()(data.train_x[:50]).detach()
    return {name: outcome(training) for name, training in found.items()} | {"density": density, "scores": scores}


@pytest.fixture(scope="module")
def each(tmp_path_factory):
    folder = tmp_path_factory.mktemp("each")
    return run(folder, trained, count=COUNT, path=str(folder / "checkpoint.pt"))


@pytest.mark.parametrize("name", QUIET)
def test_where_nothing_is_drawn_several_processes_train_what_one_trains(name, each):
    weights, rows = outcome(Training(QUIET[name], few()).run())
    for others, other_rows in (process[name] for process in each):
        for path, tensor in weights.items():
            torch.testing.assert_close(others[path], tensor, rtol=1e-4, atol=1e-5, msg=path)
        for row, other in zip(rows, other_rows, strict=True):
            assert row == pytest.approx(other, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", [*QUIET, *DRAWN, "resumed"])
def test_all_have_the_same_weights_gates_and_rows_to_the_bit(name, each):
    assert all(alike(each[0][name], process[name]) for process in each[1:])
    assert len(each[0][name][1]) >= 1


def test_each_draws_gates_of_its_own(each):
    first, second, third = (process["scores"] for process in each)
    assert not first.equal(second) and not first.equal(third) and not second.equal(third)


def test_a_training_that_the_first_one_resumes_is_the_uninterrupted_one_to_the_bit(each):
    assert alike(each[0]["resumed"], each[0]["hard concrete"])


def test_the_density_is_at_most_the_target_and_close_to_it(each):
    assert 0.25 < each[0]["density"] <= 0.3 and len({process["density"] for process in each}) == 1


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_parts_are_equal_to_within_one_and_weigh_up_to_the_mean_of_the_batch(count):
    for size in (1, 2, 5, 12, 100):
        x = torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(size))
        processes = [Processes(rank, count) for rank in range(count)]
        parts = [one.part(x, x) for one in processes]
        torch.testing.assert_close(sum(part.mean() * weight for part, _, weight in parts) / count, x.mean())
        assert torch.cat([part for part, _, weight in parts if weight]).equal(x)
        sizes = [len(range(size)[one.share(size)]) for one in processes]
        assert max(sizes) - min(sizes) <= 1 and all(len(part) for part, _, _ in parts)


def test_no_two_processes_epochs_or_seeds_draw_the_same():
    mine = Training(Recipe(method="dense"), few())._stream
    assert Processes(0, 3).stream(mine, 0, 5) is mine
    streams = [Processes(rank, 3).stream(mine, *at) for rank in (1, 2) for at in itertools.product((-1, 0, 1), (0, 1))]
    states = {bytes(stream.state()[0].tolist()) for stream in [mine, *streams]}
    assert len(states) == 1 + 12


def launched(monkeypatch, rank=1, count=4, here=4):
    for name, value in {"RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": here, "LOCAL_RANK": rank % here}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    return Processes.of_torchrun()


def test_torchrun_says_how_many_they_are_and_nobody_else(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")  # of some other launcher
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    alone = Processes.of_torchrun()
    assert (len(alone), alone.first, alone.launcher, alone.decide()) == (1, True, "", {})
    several = launched(monkeypatch)
    assert (len(several), several.first, several.rank, several.decide()) == (4, False, 1, {"processes": 4})
    assert several.launcher == "torchrun --nproc-per-node 4 --no-python "
    assert launched(monkeypatch, count=8).launcher == "torchrun --nnodes 2 --nproc-per-node 4 --no-python "


def test_each_needs_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    processes = launched(monkeypatch)
    with pytest.raises(UsageError, match=r"--device cuda:0: several .* share a training.*write --device cuda"):
        processes.meet("cuda:0")
    with pytest.raises(UsageError, match="torchrun has started 4 processes, and PyTorch sees GPUs for 1 here; pass"):
        processes.meet("cuda")
    assert not distributed.is_initialized() and Processes().meet("cuda:0") == "cuda:0"


def test_one_of_them_speaks_and_shows_what_all_would(monkeypatch, capsys):
    processes = [launched(monkeypatch, rank, count=2, here=2) for rank in (0, 1)]
    store = distributed.HashStore()
    for one in processes:
        vars(one)["_store"] = store  # in the place of torchrun's
    for one in reversed(processes):
        with one.one_shows():
            print(f"usage by {one.rank}")
    assert capsys.readouterr().out == "usage by 1\n" and not any(one.speaks() for one in processes)
    assert all(Processes().speaks() for _ in range(2))


def test_who_cannot_be_asked_leaves_it_to_the_first(monkeypatch):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    assert [launched(monkeypatch, rank).speaks() for rank in (0, 1)] == [True, False]


def test_the_loss_of_another_process_is_told_from_other_faults():
    assert lost(distributed.DistStoreError("x")) and lost(RuntimeError("[gloo/transport/tcp/pair.cc:553] Connection"))
    assert not lost(RuntimeError("a fault")) and not lost(ValueError("gloo"))
