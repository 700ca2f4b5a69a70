"""The live table: one scene as something that ``rich`` draws. Pure; needs ``rich``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from workers.demo.events import Held
from workers.demo.plain import clock
from workers.demo.stage import OURS, STOCK, WAIT_TIMEOUT
from workers.demo.state import Scene, SideState

NARROW, WIDE = 64, 92
"""Columns below which ages are left out and the panels stand one above the other; above which reasons are shown."""
WIDEST = 110
"""Columns beyond which the eye would lose its row."""
_FRAME_HEIGHT = 15
"""Lines of everything but the threads: title, bar, the table's head, the panels, the last line, and air."""
_NEW = 1.5
"""Seconds for which a new session is marked."""
_REASONS = {
    "the server hung up": "hung up",
    "lost during a statement": "lost",
    "a ping was not answered": "no answer",
    "idle for keepalive": "idle",
    "an exception between send and reply": "interrupted",
}
_STATES = {"busy": "green", "idle": "dim", "reserved": "cyan", "vacant": "yellow", "closed": "dim"}


def render(scene: Scene, width: int, height: int) -> RenderableType:
    """Draw a scene for a terminal of this size. What does not fit is left out, the last threads first."""
    is_narrow = width < NARROW
    room = max(1, height - _FRAME_HEIGHT - (6 if is_narrow else 0))
    panels = [
        _panel("persistconn, @job", scene, OURS.name, scene.ours),
        _panel("stock Django, CONN_MAX_AGE=None", scene, STOCK.name, scene.stock),
    ]
    drawn = Group(
        _title(scene, is_narrow),
        _bar(scene),
        Text(),
        _threads(scene, room, width),
        Text(),
        Group(*panels) if is_narrow else _beside(panels),
        _server(scene),
    )
    return Constrain(drawn, WIDEST)


def _title(scene: Scene, is_narrow: bool) -> Table:
    title = Table.grid(expand=True)
    title.add_column(no_wrap=True, ratio=1)
    title.add_column(justify="right", no_wrap=True)
    what = "" if is_narrow else f"  {scene.threads} threads on a server with wait_timeout={WAIT_TIMEOUT}"
    name = Text.assemble((" persistconn", "bold"), (what, "dim"), overflow="ellipsis")
    if scene.calm is None:
        when = Text(f"{clock(scene.elapsed)} of {clock(scene.seconds)} ")
    else:
        when = Text("the faults are over: settling what is open ", "green")
    title.add_row(name, when)
    return title


def _bar(scene: Scene) -> ProgressBar:
    return ProgressBar(scene.seconds, min(scene.elapsed, scene.seconds), complete_style="cyan", finished_style="green")


# --- the threads -----------------------------------------------------------------------------------------------------


def _threads(scene: Scene, room: int, width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, expand=True, padding=(0, 1), show_edge=False, header_style="dim")
    table.add_column("thread", no_wrap=True, ratio=2)
    table.add_column("session", justify="right", no_wrap=True, min_width=7, ratio=1)
    table.add_column("state", no_wrap=True, min_width=8, ratio=1)
    if width >= NARROW:
        table.add_column("age", justify="right", no_wrap=True, ratio=1)
        table.add_column("idle", justify="right", no_wrap=True, ratio=1)
    table.add_column("jobs", justify="right", no_wrap=True, ratio=1)
    table.add_column("recycled", no_wrap=True, ratio=4 if width >= WIDE else 2)
    held = sorted(scene.ours.held, key=lambda each: _natural(each.owner))
    shown = held if len(held) <= room else held[: room - 1]
    for each in shown:
        table.add_row(*_cells(each, scene.ours, width))
    if len(shown) < len(held):
        table.add_row(Text(f"and {len(held) - len(shown)} more", "dim"))
    return table


def _cells(held: Held, ours: SideState, width: int) -> Sequence[RenderableType]:
    is_new = held.age is not None and held.age < _NEW
    session = Text(str(held.session_id or "-"), "bold green" if is_new else "")
    ages = [Text(_seconds(held.age)), Text(_seconds(held.idle), "dim")] if width >= NARROW else []
    return [
        Text(held.owner),
        session,
        Text(held.state, _STATES.get(held.state, "")),
        *ages,
        Text(str(ours.by_thread[held.owner])),
        _recycled(held, width),
    ]


def _recycled(held: Held, width: int) -> Text:
    total = sum(held.recycles.values())
    if not total:
        return Text("-", "dim")
    reasons = Counter(held.recycles).most_common()
    detail = ", ".join(f"{_REASONS.get(reason, reason)} {count}" for reason, count in reasons)
    return Text.assemble(f"{total:>2}", (f"  {detail}" if width >= WIDE else "", "dim"), overflow="ellipsis")


def _seconds(duration: float | None) -> str:
    return "-" if duration is None else f"{duration:.1f} s"


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


# --- the two sides ---------------------------------------------------------------------------------------------------


def _beside(panels: Sequence[Panel]) -> Table:
    row = Table.grid(expand=True)
    for _ in panels:
        row.add_column(ratio=1)
    row.add_row(*panels)
    return row


def _panel(title: str, scene: Scene, name: str, side: SideState) -> Panel:
    last = Text(side.latest, "red", no_wrap=True, overflow="ellipsis")
    errors = sum(side.surfaced.values())
    figures = Table.grid(padding=(0, 2))
    figures.add_column(no_wrap=True)
    figures.add_column(justify="right", no_wrap=True, min_width=5)
    figures.add_row("jobs run", str(side.jobs_run))
    figures.add_row("errors surfaced", Text(str(errors), "bold red" if errors else "bold green"))
    ended = f"{scene.tally.killed.get(name, 0)} killed, {side.expired} expired"
    faults = Text.assemble(("sessions  ", "dim"), (ended, "dim"), no_wrap=True, overflow="ellipsis")
    style = "red" if errors else "green"
    return Panel(Group(figures, last, faults), title=title, title_align="left", border_style=style, box=box.ROUNDED)


def _server(scene: Scene) -> Text:
    tally = scene.tally
    mark = ("DOWN", "bold red") if tally.is_down else ("up", "green")
    times = {0: "not killed", 1: "killed with -9 once", 2: "killed with -9 twice"}.get(tally.crashes, "")
    return Text.assemble(
        (" server ", "dim"), mark, (f", {times}", "dim"), f"   {tally.news}", no_wrap=True, overflow="ellipsis"
    )
