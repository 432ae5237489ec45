"""Write the part of docs/wrong.md that is read from the code; ``--check`` only says whether it is as it should be."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from catalogue.written import PAGE, sites, written

found, old = sites(), PAGE.read_text(encoding="utf-8")
if found.unread:
    sys.exit("cannot be read:\n" + "\n".join(found.unread))
new = written(old, found)
if "--check" in sys.argv:
    sys.exit(0 if old == new else "docs/wrong.md is older than the code: run python docs/catalogue")
PAGE.write_text(new, encoding="utf-8")
