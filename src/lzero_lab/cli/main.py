"""The entry: arguments in, exit code out."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from types import ModuleType

from lzero import __version__
from lzero.errors import LzeroError
from lzero_lab.errors import DataError, needing

_OK, _FAILED, _USAGE, _INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of one command: 0 done, 1 a run failed, 2 wrong usage or a missing package, 130 interrupted.

    Failures are one line on standard error that names the place, the reason and the way out.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        commands = _commands()
    except DataError as error:
        _fail(str(error))
        return _USAGE
    try:
        options = _parse(arguments, commands)
    except SystemExit as stop:  # argparse has said why, or shown its help
        return stop.code if isinstance(stop.code, int) else _USAGE
    try:
        options.run(options)
    except LzeroError as error:
        _fail(f"error: {error}")
        return _FAILED
    except OSError as error:
        _fail(
            f"error: {error.filename or 'files'}: {error.strerror or error}; check the path, its permissions and space"
        )
        return _FAILED
    except KeyboardInterrupt:
        _fail(f"interrupted; {_how_to_continue(options, arguments)}")
        return _INTERRUPTED
    return _OK


def _commands() -> Sequence[ModuleType]:
    """The modules of the commands.

    Raises:
        DataError: what the command line draws its tables and bars with is not installed.
    """
    with needing("rich", "the command line"):
        import rich  # noqa: F401
    from lzero_lab.cli import compare, info, plot, purge, study, sweep, train  # they import it

    return train, compare, sweep, study, plot, purge, info


def _parse(arguments: Sequence[str], modules: Sequence[ModuleType]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="lzero", description="Ask for a density, get that density: smaller PyTorch models in one training."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for module in modules:
        module.add(commands)
    options = parser.parse_args(arguments)
    wrong = options.check(options) if hasattr(options, "check") else None
    if wrong:
        commands.choices[options.command].error(wrong)
    return options


def _how_to_continue(options: argparse.Namespace, arguments: Sequence[str]) -> str:
    if not hasattr(options, "resume"):
        return "run the command again"
    again = [*arguments, *([] if options.resume else ["--resume"])]
    return f"finished epochs are saved; continue with: lzero {shlex.join(again)}"


def _fail(message: str) -> None:
    """One line on standard error."""
    sys.stderr.write("lzero: " + " ".join(message.split()) + "\n")
