"""The memory of a held connection, beyond that of a raw one."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from collections.abc import Mapping
from typing import Any

from benchmarks.children import in_child
from benchmarks.contests import READS
from benchmarks.rows import Row, at_most

LIMIT = 8 * 1024
COUNT = 200
_PATIENCE = 60.0


def run(arguments: Mapping[str, Any], count: int = COUNT) -> Row:
    """Measure both drivers. Blocks."""
    lines, verdicts = [], []
    for ours, bare in (("managed", "bare"), ("managed mysqlclient", "bare mysqlclient")):
        raw, held = (
            in_child("benchmarks.memory:of_each", contestant=maker, arguments=dict(arguments), count=count)
            for maker in (bare, ours)
        )
        if raw is None or held is None:
            continue
        name = READS.entry(ours).name
        lines.append((name, f"{held / 1024:.1f} KiB", f"{raw / 1024:.1f} KiB", f"{(held - raw) / 1024:.1f} KiB"))
        verdicts.append(
            at_most(f"memory of a held connection beyond the raw one, {name}", held - raw, LIMIT, "KiB", 1 / 1024)
        )
    note = f"allocated by Python (tracemalloc) for each of {count} threads with a connection that has read once"
    return Row(
        "memory", "Memory of a held connection", (("", "held", "raw", "difference"), *lines), tuple(verdicts), (note,)
    )


def of_each(contestant: str, arguments: dict[str, Any], count: int) -> float | None:
    """Return the bytes for each of so many threads with a connection each; None if the driver is missing. In a child."""
    from benchmarks.contestants import MAKERS

    try:
        on_thread = MAKERS[contestant](arguments)
    except ImportError:
        return None
    stay = threading.Event()

    def hold(ready: threading.Semaphore) -> None:
        task = on_thread()
        task()
        ready.release()
        stay.wait()

    def start(threads: int) -> None:
        ready = threading.Semaphore(0)
        for _ in range(threads):
            threading.Thread(target=hold, args=(ready,), daemon=True).start()
            # One after the other: what a connect needs only while it is under way would pile up.
            ready.acquire(timeout=_PATIENCE)

    tracemalloc.start()
    start(3)  # What is allocated once.
    before = _allocated()
    start(count)
    return (_allocated() - before) / count


def _allocated() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
