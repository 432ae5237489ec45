"""Pages of the documentation as programs: their blocks in order, and whether they print what the page says."""

import contextlib
import io
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
_BLOCK = re.compile(r"^```python\n(.*?)^```$(?:\n+```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)
_NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")


@dataclass(frozen=True)
class Block:
    """One block of Python, and what stands below it as its output; None where nothing does."""

    code: str
    said: str | None


def blocks(page):
    """The blocks of a page, named from the root of the repository."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [Block(code, said or None) for code, said in _BLOCK.findall(text)]


def commands(page):
    """The lines of a page within fences that are of no language, or of a shell."""
    found, fence = [], None
    for line in (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            fence = line[3:] if fence is None else None
        elif fence in ("", "shell", "bash", "console"):
            found.append(line)
    return found


def run(page, names=None, each=None):
    """All names after the blocks of a page have run, in order; ``each`` is called with them after every block."""
    names = {"__name__": "page"} if names is None else names
    for block in blocks(page):
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            exec(compile(block.code, page, "exec"), names)
        if block.said is not None:
            problem = differs(shown.getvalue(), block.said)
            assert not problem, f"{page}: {problem}\nprinted:\n{shown.getvalue()}"
        if each is not None:
            each(names)
    return names


def differs(printed, said):
    """How two outputs differ, in words or by more than rounding and another machine make of a number; or nothing."""
    left, right = (" ".join(text.split()) for text in (printed, said))
    words = [_NUMBER.sub("#", text) for text in (left, right)]
    words = [re.sub(r"(?<=#)[ .]|(?<= )-+(?= )", "", text) for text in words]
    if words[0] != words[1]:
        return f"prints {left!r}, and says {right!r}"
    for a, b in zip(*(_NUMBER.findall(text) for text in (left, right)), strict=True):
        x, y = (float(number.replace(",", "")) for number in (a, b))
        if abs(x - y) > max(0.1 * max(abs(x), abs(y)), 3 if "e" not in a + b else 1):
            return f"prints {a}, and says {b}"
    return ""
