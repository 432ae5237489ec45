"""The entry: arguments in, exit code out."""

from __future__ import annotations

import argparse
import io
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from types import ModuleType
from typing import TextIO

from lzero import __version__
from lzero.errors import LzeroError
from lzero_lab.errors import DataError, UsageError, disk_full, needing, out_of_memory
from lzero_lab.training.processes import Processes, lost

_OK, _FAILED, _USAGE, _INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of one command: 0 done, 1 a run failed, 2 wrong usage or a missing package, 130 interrupted.

    Failures are one line on standard error that names the place, the reason and the way out.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    _prepare_streams()
    code, processes = _OK, Processes.of_torchrun()
    try:
        code = _run(arguments, processes)
        sys.stdout.flush()
    except OSError as error:
        _silence(sys.stdout)
        closed = isinstance(error, BrokenPipeError)
        reason = "was closed before all was shown" if closed else f"cannot be written ({error.strerror or error})"
        if code == _OK:  # otherwise a line is said already
            _fail(f"error: standard output {reason}; what belongs into files is there", processes)
        return code or _FAILED
    return code


def _run(arguments: Sequence[str], processes: Processes) -> int:
    """What :func:`main` returns.

    Raises:
        OSError: from standard output alone.
    """
    fail = partial(_fail, processes=processes)
    try:
        commands = _commands()
    except DataError as error:
        fail(str(error))
        return _USAGE
    try:
        with processes.one_shows():
            options = _parse(arguments, commands)
    except SystemExit as stop:  # argparse has said why, or shown its help
        return stop.code if isinstance(stop.code, int) else _USAGE
    try:
        options.processes = processes
        _refuse_several(options)
        options.run(options)
    except UsageError as error:
        fail(f"error: {error}")
        return _USAGE
    except LzeroError as error:
        fail(f"error: {error}{_if_disk_full(error, options, arguments)}")
        return _FAILED
    except BrokenPipeError:
        raise
    except OSError as error:
        place, reason = error.filename or "files or standard output", error.strerror or error
        way_out = _if_disk_full(error, options, arguments)
        fail(f"error: {place}: {reason}; check the path, its permissions and space{way_out}")
        return _FAILED
    except (MemoryError, RuntimeError) as error:
        if lost(error):
            again = _how_to_continue(options, arguments)
            fail(f"error: another process of this training has ended, or is not heard of; {again}")
            return _FAILED
        if not out_of_memory(error):
            raise
        fail(f"error: no memory left: {error}; a smaller --model, --batch-size or fewer --workers need less")
        return _FAILED
    except SystemExit as stop:  # of a user's model, in its forward
        fail(f"error: code of the model called sys.exit({stop.code!r}); take that out")
        return _USAGE
    except KeyboardInterrupt:
        fail(f"interrupted; {_how_to_continue(options, arguments)}")
        return _INTERRUPTED
    return _OK


def _commands() -> Sequence[ModuleType]:
    """The modules of the commands.

    Raises:
        DataError: what the command line draws its tables and bars with is not installed.
    """
    with needing("rich", "the command line"):
        import rich  # noqa: F401
    from lzero_lab.cli import compare, info, plot, purge, report, study, sweep, train, watch  # they import it

    return train, compare, sweep, study, plot, watch, report, purge, info


def command_parsers() -> dict[str, argparse.ArgumentParser]:
    """The parser of every command by its name, for the page about them.

    Raises:
        DataError: what the command line draws its tables and bars with is not installed.
    """
    return dict(_parser(_commands())[1].choices)


def _parser(
    modules: Sequence[ModuleType],
) -> tuple[argparse.ArgumentParser, argparse._SubParsersAction[argparse.ArgumentParser]]:
    """The parser of the whole command line, and those of its commands."""
    parser = argparse.ArgumentParser(
        prog="lzero", description="Ask for a density, get that density: smaller PyTorch models in one training."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for module in modules:
        module.add(commands)
    return parser, commands


def _parse(arguments: Sequence[str], modules: Sequence[ModuleType]) -> argparse.Namespace:
    parser, commands = _parser(modules)
    options = parser.parse_args(arguments)
    wrong = options.check(options) if hasattr(options, "check") else None
    if wrong:
        commands.choices[options.command].error(wrong)
    return options


def _refuse_several(options: argparse.Namespace) -> None:
    """All but a training is one process: those of torchrun would be at work in one folder.

    Raises:
        UsageError: torchrun has started this one beside others, for another command.
    """
    count = len(options.processes)
    if count > 1 and not hasattr(options, "together"):
        raise UsageError(
            f"lzero {options.command} runs in one process, and torchrun has started {count}: leave torchrun out; what "
            "several processes share is one training, lzero train, and a study has --workers and --scheduler"
        )


def _how_to_continue(options: argparse.Namespace, arguments: Sequence[str]) -> str:
    if not hasattr(options, "resume"):
        return "run the command again"
    again = [*arguments, *([] if options.resume else ["--resume"])]
    return f"finished epochs are saved; continue with: {options.processes.launcher}lzero {shlex.join(again)}"


def _if_disk_full(error: BaseException, options: argparse.Namespace, arguments: Sequence[str]) -> str:
    return f"; {_how_to_continue(options, arguments)}" if disk_full(error) else ""


def _fail(message: str, processes: Processes) -> None:
    """One line on standard error, if there is any; of several processes one says it."""
    if not processes.speaks():
        return
    with suppress(OSError, ValueError):
        sys.stderr.write("lzero: " + " ".join(message.split()) + "\n")
        sys.stderr.flush()


def _prepare_streams() -> None:
    """Whatever is shown can be shown: no stream is missing, and no character stops one that cannot encode it."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started this; the next file that is opened must not take its number
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _silence(stream: TextIO) -> None:
    """What is left in the stream goes nowhere, so that Python can close it."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        stream.flush()
