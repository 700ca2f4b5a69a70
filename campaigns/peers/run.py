"""All cases of one client, in a process of its own: some of them change the driver, or Django, for all."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

from campaigns.cuts.cases import Case, Combination, plan
from campaigns.cuts.conversation import Script, Subject
from campaigns.cuts.crew import run_patiently
from campaigns.cuts.oracle import Mode
from campaigns.cuts.servers import Access
from campaigns.cuts.station import MakeSubject, Result, Station
from campaigns.peers.subjects import SUBJECTS, Address

POLITE = Script(is_polite=True, has_setting=False, has_commit=False)
LIMIT = 5.0
"""Seconds: ten times as long as any time limit that the clients were given."""
THREADS = 8


def run(access: Access, mode: Mode, name: str) -> list[Result]:
    """Run all cases of a client and return what came of them."""

    def make(address: Address) -> Subject:
        return SUBJECTS[name](mode, address)

    local = threading.local()
    with contextlib.ExitStack() as stack:

        def run_one(case: Case) -> Result:
            if not hasattr(local, "station"):
                local.station = stack.enter_context(Station(access))
            mine: Station = local.station
            # The limits of theirs are as their own documents say; ours alone gets longer.
            return run_patiently(lambda longer: mine.run(case, make, POLITE, limit=LIMIT * longer))

        cases = plan_unit(stack.enter_context(Station(access)), mode, make)
        with ThreadPoolExecutor(THREADS) as threads:
            return list(threads.map(run_one, cases))


def plan_unit(station: Station, mode: Mode, make: MakeSubject) -> list[Case]:
    """Return the cases from the first statement of the unit to the last answer that all clients have in common."""
    unit = station.record(mode, make, POLITE).unit
    last = max(at for at, packet in enumerate(unit) if packet.words in ("SELECT", "COMMIT"))
    return plan(Combination("mariadb", "pymysql", "plain", mode), unit[: last + 1])
