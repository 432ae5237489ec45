"""Running without a trace: random numbers as they were, and everything op by op."""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import numpy as np
import torch
from torch import nn

from lzero._torch import compiler_is_loaded, without_packed_kernels


@contextmanager
def isolated_random_state(model: nn.Module, seed: int = 0) -> Iterator[None]:
    """A context in which random draws start from ``seed`` and after which every generator is as it was before.

    The global generators of PyTorch, NumPy and Python: forwards draw from all of them.
    """
    tensors = (*model.parameters(), *model.buffers())
    devices = sorted({tensor.get_device() for tensor in tensors if tensor.is_cuda})
    python, numpy = random.getstate(), np.random.get_state(legacy=False)
    try:
        with torch.random.fork_rng(devices=devices):
            # torch.manual_seed would also reseed devices that are not forked here.
            torch.default_generator.manual_seed(seed)
            for device in devices:
                torch.cuda.default_generators[device].manual_seed(seed)
            random.seed(seed)
            with suppress(TypeError):  # NumPy cannot seed a bit generator that the user has put in place of its own
                np.random.seed(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def unfused() -> Iterator[None]:
    """A context in which everything runs op by op; then all is as before.

    Whole layers (attention, LSTM) are taken apart, compiled modules run their eager forward, and inference mode is off;
    whether gradients are recorded stays as it is.
    """
    fast, gradients = torch.backends.mha.get_fastpath_enabled(), torch.is_grad_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        # inference_mode(False) would turn gradients on.
        with without_packed_kernels(), torch.inference_mode(False), torch.set_grad_enabled(gradients), _eager():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def silenced() -> Iterator[None]:
    """A context without warnings and log records: of a forward that goes a way that nobody asked for."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _eager() -> AbstractContextManager[Any]:
    """Compiled modules run as they were written; where nothing was compiled, torch's compiler is not even loaded."""
    if not compiler_is_loaded():
        return nullcontext()
    eager: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return eager
