"""The time of an import, beside the driver's own."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.arena import say
from benchmarks.children import in_child
from benchmarks.rows import Row, Verdict, ratios, spread

LIMIT = 1.5
HEAVY = ("apscheduler", "celery", "django", "sqlalchemy", "cronsim")
ROUNDS = 30
_CODE = (
    "import sys; sys.path[:] = {path!r}; import time; began = time.process_time(); import {modules}; "
    "sys.stdout.write(str(time.process_time() - began))"
)


def run(rounds: int = ROUNDS) -> Row:
    """Import in many new processes, in turns. Blocks."""
    subjects = {"pymysql": "pymysql", "persistconn": "persistconn", "both": "pymysql, persistconn"}
    took: dict[str, dict[int, float]] = {name: {} for name in subjects}
    for turn in range(-1, rounds):
        say(f"import: round {turn + 1} of {rounds}")
        for name, modules in subjects.items():
            seconds = _time(modules)
            if turn >= 0:  # The first one may have had to compile.
                took[name][turn] = seconds
    against = {name: ratios(times, took["pymysql"]) for name, times in took.items()}
    lines = [(f"`import {subjects[name]}`", _milliseconds(took[name]), str(against[name])) for name in subjects]
    heavy = in_child("benchmarks.importing:loaded")
    ours = against["persistconn"]
    return Row(
        "import",
        "Processor time of an import, in a new process each",
        (("", "ms", "against PyMySQL"), *lines),
        (
            Verdict("`import persistconn` against `import pymysql`", f"<= {LIMIT:g}", str(ours), ours.median <= LIMIT),
            Verdict(f"imported with it, of {', '.join(HEAVY)}", "none", ", ".join(heavy) or "none", not heavy),
        ),
    )


def loaded() -> list[str]:
    """Import persistconn and return what of the heavy came with it. In a child."""
    import persistconn  # noqa: F401

    return [name for name in HEAVY if name in sys.modules]


def _time(modules: str) -> float:
    command = [sys.executable, "-c", _CODE.format(path=sys.path, modules=modules)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def _milliseconds(times: dict[int, float]) -> str:
    return f"{spread(times.values()).median * 1000:.1f}"
