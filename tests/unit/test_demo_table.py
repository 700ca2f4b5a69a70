"""The live table: what is seen of a scene on terminals of several sizes."""

from __future__ import annotations

import dataclasses
import io
from collections import Counter

import pytest

from workers.demo.chaos import Tally
from workers.demo.events import Held
from workers.demo.plain import line
from workers.demo.state import Scene, SideState

rich_console = pytest.importorskip("rich.console")


def make_scene(threads: int = 8) -> Scene:
    held = tuple(
        Held(f"workers_{number}", 400 + number, "idle", 12.1, 0.4, {"the server hung up": 2, "idle for keepalive": 1})
        for number in range(threads)
    )
    ours = SideState(jobs_run=162, by_thread=Counter(workers_0=31), held=held[::-1])
    stock = SideState(
        jobs_run=170,
        surfaced=Counter({"InterfaceError (0, '')": 124}),
        latest="InterfaceError (0, '') in settle Cork",
        expired=9,
    )
    tally = Tally({"persistconn": 12, "stock": 5}, crashes=1, is_down=True, news="the server was killed with -9")
    return Scene(17.2, 30.0, threads, ours, stock, tally)


def draw(scene: Scene, width: int, height: int) -> list[str]:
    from workers.demo.table import render

    console = rich_console.Console(width=width, height=height, file=io.StringIO(), color_system=None)
    with console.capture() as capture:
        console.print(render(scene, width, height), end="")
    lines: list[str] = capture.get().splitlines()
    return lines


@pytest.mark.parametrize(("width", "height"), [(100, 30), (80, 24), (64, 24), (50, 30), (40, 24), (200, 60)])
@pytest.mark.parametrize("threads", [1, 8, 64])
def test_a_scene_fits_its_terminal(width: int, height: int, threads: int) -> None:
    """No line is too long and none is too many, whatever is to be shown."""
    lines = draw(make_scene(threads), width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize(("width", "height"), [(100, 30), (80, 24)])
def test_everything_is_seen_at_the_usual_sizes(width: int, height: int) -> None:
    """Threads in their order, sessions, both sides' figures, and how the server is."""
    lines = draw(make_scene(), width, height)
    text = "\n".join(lines)
    assert [word for word in text.split() if word.startswith("workers_")] == [f"workers_{n}" for n in range(8)]
    for seen in ("00:17 of 00:30", "407", "12.1 s", "162", "170", "124", "(0, '')", "12 killed", "9 expired"):
        assert seen in text
    assert "DOWN, killed with -9 once" in text


def test_a_wide_terminal_shows_why_sessions_were_recycled() -> None:
    """The reasons are left out where there is no room for them; their sum stays."""
    assert " 3  hung up 2, idle 1" in "\n".join(draw(make_scene(), 100, 30))
    assert "hung up" not in "\n".join(draw(make_scene(), 80, 24))


def test_threads_that_do_not_fit_are_counted() -> None:
    """The figures of both sides are worth more than the last threads."""
    text = "\n".join(draw(make_scene(64), 80, 24))
    assert "and 56 more" in text
    assert "errors surfaced" in text


def test_the_calm_at_the_end_is_announced() -> None:
    """After the faults nothing counts down any more."""
    scene = dataclasses.replace(make_scene(), elapsed=32.0, calm=2.0)
    assert "the faults are over" in "\n".join(draw(scene, 80, 24))


def test_a_plain_line_says_the_same_in_short() -> None:
    """Without a terminal one line tells jobs, errors, and how the server is."""
    assert line(make_scene()) == (
        "00:17  persistconn: 162 jobs, 0 errors | stock Django: 170 jobs, 124 errors |"
        " killed: 17 sessions, server 1x | server DOWN"
    )
