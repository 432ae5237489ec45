"""The processes of one training: how they meet, what each has of a batch, what they share, and which one speaks."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import timedelta
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, distributed, nn

from lzero_lab.errors import UsageError
from lzero_lab.training.runtime import RandomStream

_PATIENCE = timedelta(minutes=10)  # in which a process waits for the others


class Processes:
    """One process, or those of ``torch.distributed`` that train one network together; the first one writes and shows.

    Every one has the whole network and a part of each batch. Alone, nothing is sent and nothing computed for it.

    Args:
        rank: which of them this is, from 0.
        count: how many there are.

    Attributes:
        rank: which of them this is.
    """

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self._count = rank, count
        self._device = torch.device("cpu")

    @classmethod
    def of_torchrun(cls) -> Processes:
        """Those that torchrun has started, before they meet; a single one where it has not."""
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            return cls()
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))

    def __len__(self) -> int:
        return self._count

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and shows."""
        return self.rank == 0

    @property
    def launcher(self) -> str:
        """What a command line begins with to be run by as many: "torchrun --nproc-per-node 2 --no-python "."""
        if len(self) == 1:
            return ""
        here = int(os.environ.get("LOCAL_WORLD_SIZE", self._count))
        machines = f"--nnodes {self._count // here} " if here < self._count else ""
        return f"torchrun {machines}--nproc-per-node {here} --no-python "

    def decide(self) -> dict[str, int]:
        """What their number adds to the entries of a config that decide what comes out; nothing where it is one."""
        return {"processes": len(self)} if len(self) > 1 else {}

    def meet(self, device: str) -> str:
        """The device of this process, ``"cuda:1"`` of ``"cuda"``, once all of them are there.

        Raises:
            UsageError: one GPU for all of them, or fewer GPUs than processes.
            RuntimeError: they have not come together in ten minutes.
        """
        if len(self) == 1:
            return device
        self._device = torch.device(device)
        if self._device.type == "cuda":
            self._device = torch.device("cuda", _local_gpu(self._device))
            torch.cuda.set_device(self._device)
        distributed.init_process_group(
            "nccl" if self._device.type == "cuda" else "gloo",
            store=self._store,
            rank=self.rank,
            world_size=self._count,
            timeout=_PATIENCE,
            device_id=self._device if self._device.type == "cuda" else None,
        )
        return str(self._device)

    def leave(self) -> None:
        """From here on every process is on its own; all of them come to this."""
        if len(self) > 1:
            distributed.barrier()
            distributed.destroy_process_group()

    def share(self, count: int) -> slice:
        """Which of so many things are this process's; shares are equal to within one."""
        return slice(count * self.rank // self._count, count * (self.rank + 1) // self._count)

    def part(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, float]:
        """This process's examples of a batch, and the weight w of their mean loss.

        The mean over processes of w times the mean loss of a part is the mean loss of the batch. A process has at least
        one example, of weight 0 where there are fewer examples than processes: all have gradients to average.
        """
        own = self.share(len(x))
        weight = (own.stop - own.start) * self._count / len(x)
        own = own if weight else slice(1)
        return x[own], y[own], weight

    def average_gradients(self, model: nn.Module) -> None:
        """Put the mean over processes into the gradients of the weights; the gates' are averaged by their trainer.

        All in one message, in the order of the parameters: sums of three or more numbers are rounded by where they lie
        in it, and a resumed training is to round as one that was never broken off.
        """
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        if len(self) == 1 or not gradients:
            return
        message = self.average(torch.cat([gradient.reshape(-1) for gradient in gradients]))
        parts = torch.split(message, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def stream(self, stream: RandomStream, seed: int, epoch: int) -> RandomStream:
        """What this process draws from in an epoch: draws of its own, which the epoch decides.

        The first one goes on with ``stream``. So a checkpoint of it is all that the others continue from, too.
        """
        if self.first:
            return stream
        digest = hashlib.sha256(f"{seed} {epoch} {self.rank}".encode()).digest()
        return RandomStream(int.from_bytes(digest[:8], "big"), self._device)

    def average(self, value: Tensor) -> Tensor:
        """``value``, in place, with the mean over processes in it."""
        if len(self) > 1:
            distributed.all_reduce(value)
            value.div_(self._count)
        return value

    def average_statistics(self, model: nn.Module) -> None:
        """Give all the mean of the running means and variances that normalizations have taken of their parts.

        They are linear in what a batch adds, so that once an epoch is as good as after every step.
        """
        for name, buffer in model.named_buffers():
            if name.rpartition(".")[2] in ("running_mean", "running_var"):
                self.average(buffer)

    def total(self, count: int) -> int:
        """The sum of ``count`` over the processes."""
        if len(self) == 1:
            return count
        value = torch.tensor(count, device=self._device)
        distributed.all_reduce(value)
        return int(value)

    def agree(self, answer: bool) -> bool:
        """The ``answer`` of the first process, on all."""
        given = [answer]
        if len(self) > 1:
            distributed.broadcast_object_list(given, 0)
        return given[0]

    def hand_out(self, give: Callable[[], dict[str, Any]], take: Callable[[dict[str, Any]], None]) -> None:
        """The other processes ``take`` the tensors and plain values that the first one will ``give``, on the CPU."""
        if len(self) == 1:
            return
        file = io.BytesIO()
        if self.first:
            torch.save(give(), file)
        sent = [file.getvalue()]
        distributed.broadcast_object_list(sent, 0)
        if not self.first:
            take(torch.load(io.BytesIO(sent[0]), map_location="cpu", weights_only=True))

    @contextmanager
    def one_shows(self) -> Iterator[None]:
        """What each process shows within the context is shown once."""
        if len(self) == 1:
            yield
            return
        output, error = io.StringIO(), io.StringIO()
        try:
            with redirect_stdout(output), redirect_stderr(error):
                yield
        finally:
            if (output.getvalue() or error.getvalue()) and self.speaks():
                sys.stdout.write(output.getvalue())
                sys.stderr.write(error.getvalue())

    def speaks(self) -> bool:
        """Whether it is on this process to say why the command ends: the one that asks first.

        It is the one that has met the cause: torchrun ends the others as soon as one has failed, and they miss it.
        """
        if len(self) == 1:
            return True
        try:
            return int(self._store.add("said", 1)) == 1
        except (RuntimeError, ValueError):  # torchrun has ended, and its store with it
            return self.first

    @cached_property
    def _store(self) -> Any:
        """That of torchrun, which outlives the processes; other keys after a restart."""
        from torch.distributed.rendezvous import rendezvous  # not in every build

        store = next(iter(rendezvous("env://", timeout=_PATIENCE)))[0]
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        return distributed.PrefixStore(f"lzero/{attempt}", store)  # type: ignore[attr-defined]


def lost(problem: BaseException) -> bool:
    """Whether ``problem`` says that another process has ended, or could not be met."""
    if not (distributed.is_available() and isinstance(problem, RuntimeError)):
        return False
    return isinstance(problem, distributed.DistError) or "gloo" in str(problem)


def _local_gpu(asked: torch.device) -> int:
    """The number of the GPU of this process.

    Raises:
        UsageError: see :meth:`Processes.meet`.
    """
    if asked.index is not None:
        raise UsageError(f"--device {asked}: several processes share a training, a GPU each; write --device cuda")
    index, found = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if index >= found:
        here = os.environ.get("LOCAL_WORLD_SIZE", "more")
        raise UsageError(
            f"torchrun has started {here} processes, and PyTorch sees GPUs for {found} here; "
            f"pass --nproc-per-node {found}"
        )
    return index
