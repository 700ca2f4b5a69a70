"""The demo without a terminal: a line now and then. Pure."""

from __future__ import annotations

from workers.demo.state import Scene, SideState


def line(scene: Scene) -> str:
    """Return how things stand, in one line."""
    phase = clock(scene.elapsed) if scene.calm is None else "calm "
    tally = scene.tally
    killed = sum(tally.killed.values())
    server = "DOWN" if tally.is_down else "up"
    return (
        f"{phase}  persistconn: {_side(scene.ours)} | stock Django: {_side(scene.stock)} |"
        f" killed: {killed} sessions, server {tally.crashes}x | server {server}"
    )


def clock(seconds: float) -> str:
    """Return a duration as minutes and seconds."""
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"


def _side(side: SideState) -> str:
    return f"{side.jobs_run} jobs, {sum(side.surfaced.values())} errors"
