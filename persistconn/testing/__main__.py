"""``python -m persistconn.testing``."""

from __future__ import annotations

import sys

from persistconn.testing.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
