"""The process on our side: the service of ``workers``, on held connections. Run by the demo."""

from __future__ import annotations

import logging
import os
import sys
import threading

import persistconn
from workers import jobs as jobs_modules
from workers.demo.events import Connections, Held, Started, run_event
from workers.demo.side import GRACE, Teller, set_up
from workers.runs import RunReport
from workers.service import Service

BEAT = 0.2
"""Seconds between two looks at the connections."""


def main() -> int:
    """Run the service until SIGTERM; returns its exit status."""
    threads = set_up()
    teller = Teller()

    def tell_run(report: RunReport) -> None:
        teller.tell(run_event(report.job.name, threading.current_thread().name, report.error))

    service = Service(
        jobs_modules.load(()), threads=threads, grace=GRACE, warm=jobs_modules.kept_aliases(), on_run=tell_run
    )
    ended = threading.Event()
    telling = threading.Thread(target=_tell_connections, args=(teller, ended), name="demo-connections", daemon=True)
    telling.start()
    teller.tell(Started())
    status = service.run_until_signalled()
    ended.set()
    # A daemon thread that is stopped in the middle of a print makes the interpreter abort at its end.
    telling.join(BEAT)
    if not service.has_ended:
        logging.shutdown()
        os._exit(status)
    return status


def _tell_connections(teller: Teller, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        teller.tell(Connections(tuple(map(_held, persistconn.connections()))))


def _held(view: persistconn.ConnectionView) -> Held:
    return Held(view.owner, view.session_id, view.state, view.age, view.idle, view.recycles)


if __name__ == "__main__":
    sys.exit(main())
