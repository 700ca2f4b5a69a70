"""Data directories that take seconds to make: each kind is made once on a machine, kept, and copied for each server."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_HALF_MADE = ".new-"
_ABANDONED = 3600.0  # seconds after which nobody can still be at work on one

Make = Callable[[Path], None]


def copy_of(kind: Sequence[str], data: Path, make: Make) -> None:
    """Copy the directory that is kept under `kind` to `data`; if there is none, `make` makes it at a path it is given.

    They are kept in $XDG_CACHE_HOME/persistconn/data (by default in ~/.cache), and may be thrown away at any time at
    which no server starts. Where that place cannot be written to, `make` makes `data` itself. Any number of processes
    may ask for the same kind at once.
    """
    shelf = _find_shelf()
    if shelf is None:
        make(data)
        return
    template = shelf / hashlib.sha256("\0".join(kind).encode()).hexdigest()[:32]
    if not template.is_dir():
        _put(template, make)
    shutil.copytree(template, data)


def _find_shelf() -> Path | None:
    try:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        shelf = Path(cache) / "persistconn" / "data"
        shelf.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # not writable; no home
        return None
    return shelf if os.access(shelf, os.W_OK) else None


def _put(template: Path, make: Make) -> None:
    """Make a template under another name first: nobody may ever copy one that is half made."""
    _clear_away(template.parent)
    workshop = Path(tempfile.mkdtemp(prefix=_HALF_MADE, dir=template.parent))
    try:
        make(workshop / "data")
        _rename(workshop / "data", template)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def _rename(made: Path, template: Path) -> None:
    try:
        made.rename(template)
    except OSError:
        # Another process was faster, and its directory is as good as ours.
        if not template.is_dir():
            raise


def _clear_away(shelf: Path) -> None:
    """Remove what processes have left that were killed at work."""
    for workshop in shelf.glob(f"{_HALF_MADE}*"):
        try:
            age = time.time() - workshop.stat().st_mtime
        except FileNotFoundError:
            continue
        if age > _ABANDONED:
            shutil.rmtree(workshop, ignore_errors=True)
