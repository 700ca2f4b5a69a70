"""Where the demo is shown: a live table on a terminal, else lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Protocol

from workers.demo import plain
from workers.demo.state import Scene

NO_RICH = "workers demo: plain lines, because rich is not installed; for the live table: pip install rich"
LINE_EVERY = 3.0
"""Seconds between two plain lines."""


class Screen(Protocol):
    """Shows scenes between enter and exit."""

    def __enter__(self) -> Screen: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, scene: Scene) -> None:
        """Show a scene; called several times a second."""


class PlainScreen:
    """A line every few seconds, and one for each thing that befalls the server itself."""

    def __init__(self) -> None:
        self._next = 0.0
        self._was_down = False

    def __enter__(self) -> PlainScreen:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return

    def show(self, scene: Scene) -> None:
        """Print a line if one is due."""
        if scene.tally.is_down != self._was_down:
            self._was_down = scene.tally.is_down
            print(f"{plain.clock(scene.elapsed)}  {scene.tally.news}", flush=True)
        if scene.elapsed >= self._next:
            self._next = scene.elapsed + LINE_EVERY
            print(plain.line(scene), flush=True)


class LiveScreen:
    """The table, on the terminal's other page; it is gone at the end, for the verdict to stand alone."""

    def __init__(self) -> None:
        """Raise ImportError without rich."""
        from rich.live import Live

        self._live = Live(auto_refresh=False, screen=True)

    def __enter__(self) -> LiveScreen:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, scene: Scene) -> None:
        """Draw the table anew, as large as the terminal is now."""
        from workers.demo.table import render

        size = self._live.console.size
        self._live.update(render(scene, size.width, size.height), refresh=True)


def open_screen(*, is_plain: bool) -> Screen:
    """Return the table if standard output is a terminal that can draw and rich is there, else plain lines."""
    if is_plain or not _can_draw():
        return PlainScreen()
    try:
        return LiveScreen()
    except ImportError:
        print(NO_RICH, file=sys.stderr)
        return PlainScreen()


def show_verdict(lines: Iterable[str], *, has_passed: bool, is_plain: bool) -> None:
    """Print the verdict; on a terminal its last line has a colour."""
    *before, last = lines
    print(*before, sep="\n")
    if is_plain or not _can_draw():
        print(last)
        return
    try:
        from rich.console import Console
    except ImportError:
        print(last)
        return
    Console(highlight=False, markup=False, soft_wrap=True).print(last, style="bold green" if has_passed else "bold red")


def _can_draw() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
