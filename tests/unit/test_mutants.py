"""The list of broken promises: a change of the source must not leave one behind that breaks nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_each_mutant_finds_the_place_that_it_breaks() -> None:
    """Otherwise it is noticed hours later, by ``make mutants``."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "mutants", "--check"], capture_output=True, text=True, check=False
    )
    assert (0, "") == (done.returncode, done.stdout + done.stderr)
