"""figures/start.png, and what docs/start.md says that its blocks print: `python figures/start.py`.

The page is the program. It runs here as in the tests, in a folder of its own.
"""

import os
import re
import shutil
import tempfile
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "start.md"


def main():
    torch.set_num_threads(1)  # the same bits on every machine of a kind
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        names = {"__name__": "page"}
        for block in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
            exec(compile(block, PAGE.name, "exec"), names)
        shutil.copyfile("start.png", HERE / "start.png")
        os.chdir(HERE)


if __name__ == "__main__":
    main()
