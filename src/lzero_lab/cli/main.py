"""The entry: arguments in, exit code out."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence

from lzero import __version__
from lzero.errors import LzeroError
from lzero_lab.cli import compare, info, plot, purge, study, sweep, train
from lzero_lab.cli.console import fail

_OK, _FAILED, _USAGE, _INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of one command: 0 done, 1 a run failed, 2 wrong usage, 130 interrupted.

    Failures are one line on standard error that names the place, the reason and the way out.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        options = _parse(arguments)
    except SystemExit as stop:  # argparse has said why, or shown its help
        return stop.code if isinstance(stop.code, int) else _USAGE
    try:
        options.run(options)
    except LzeroError as error:
        fail(f"error: {error}")
        return _FAILED
    except OSError as error:
        fail(
            f"error: {error.filename or 'files'}: {error.strerror or error}; check the path, its permissions and space"
        )
        return _FAILED
    except KeyboardInterrupt:
        fail(f"interrupted; {_way_on(options, arguments)}")
        return _INTERRUPTED
    return _OK


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="lzero", description="Ask for a density, get that density: smaller PyTorch models in one training."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for command in (train, compare, sweep, study, plot, purge, info):
        command.add(commands)
    options = parser.parse_args(arguments)
    wrong = options.check(options) if hasattr(options, "check") else None
    if wrong:
        commands.choices[options.command].error(wrong)
    return options


def _way_on(options: argparse.Namespace, arguments: Sequence[str]) -> str:
    if not hasattr(options, "resume"):
        return "run the command again"
    again = [*arguments, *([] if options.resume else ["--resume"])]
    return f"finished epochs are saved; continue with: lzero {shlex.join(again)}"
