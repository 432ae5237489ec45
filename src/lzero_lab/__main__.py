"""``python -m lzero_lab``: the command line ``lzero``, for launchers that start modules."""

import sys

from lzero_lab.cli import main

if __name__ == "__main__":
    sys.exit(main())
