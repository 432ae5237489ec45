"""``lzero watch``: a training that runs in another process, live."""

from __future__ import annotations

import argparse
import time
from contextlib import suppress

from rich.console import Console, RenderableType
from rich.live import Live

from lzero_lab.cli import texts
from lzero_lab.cli.console import console
from lzero_lab.cli.dashboard import frame, last_words
from lzero_lab.watching.look import look
from lzero_lab.watching.watched import Several, Watched

_WIDTH, _HEIGHT = 100, 32  # of a frame where there is no window
_WIDEST = 120


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = commands.add_parser(
        "watch",
        help="watch a training that runs in another process",
        description="Show a run while it is trained: density against target, multiplier, loss, error, speed and time "
        "left; of a comparison, sweep or study a line a training. Only reads, and ends with the run; Ctrl-C ends it "
        "before, and the training goes on. A CSV of rows of your own loop (lzero.Recorder) does as well.",
    )
    parser.add_argument("place", type=texts.path, metavar="RUN", help="run folder, folder of a study, or a CSV of rows")
    parser.add_argument("--once", action="store_true", help="show it as it is now, and return; so does a pipe")
    parser.add_argument(
        "--every",
        type=texts.positive(float),
        default=1.0,
        metavar="SECONDS",
        help="between looks (default: %(default)s)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Look, show, and look again until the run has ended."""
    screen = console()
    seen = look(options.place)
    if not options.once and screen.is_terminal:
        with suppress(KeyboardInterrupt):  # how one leaves
            _live(screen, options, seen)
        seen = look(options.place)
    screen.print(_frame(screen, seen), soft_wrap=False)
    if words := last_words(seen):
        screen.print(words, soft_wrap=False)


def _live(screen: Console, options: argparse.Namespace, seen: Watched | Several) -> None:
    """Show frames on a screen of their own until the run has ended, or nobody is at work in it."""
    with Live(console=screen, screen=True, auto_refresh=False) as live:
        while True:
            live.update(_frame(screen, seen), refresh=True)
            if last_words(seen):
                return
            time.sleep(options.every)
            seen = look(options.place)


def _frame(screen: Console, seen: Watched | Several) -> RenderableType:
    width, height = (screen.width, screen.height) if screen.is_terminal else (_WIDTH, _HEIGHT)
    return frame(seen, min(width, _WIDEST), height, plain=not screen.encoding.lower().startswith("utf"))
