"""``python -m campaigns.peers``: the sweep of cuts on what people use today, as a table for each mode."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from campaigns.cuts.oracle import Mode
from campaigns.cuts.servers import Access, serving
from campaigns.peers.run import run
from campaigns.peers.subjects import SUBJECTS
from campaigns.peers.table import lines, tally

_MODES = (Mode.AUTOCOMMIT, Mode.TRANSACTION)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; the exit status is 0 if persistconn kept its promises."""
    options = _parser().parse_args(argv)
    chosen = [name for name in SUBJECTS if any(word.lower() in name.lower() for word in options.only)]
    ours: Counter[str] = Counter()
    with serving(["mariadb"]) as servers:
        for mode in _MODES:
            tallies = {name: _run_apart(servers["mariadb"], mode, name, examples=options.examples) for name in chosen}
            ours += tallies.get("persistconn", Counter())
            sys.stdout.write("\n".join((f"\n{mode.value}\n", *lines(tallies))) + "\n")
    return 1 if ours["cases"] != ours["right"] + ours["typed error"] else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m campaigns.peers", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="WORD", default=[""], help="clients whose name contains one")
    parser.add_argument("--examples", type=int, default=0, metavar="N", help="show N broken cases of each client")
    return parser


def _run_apart(access: Access, mode: Mode, name: str, *, examples: int) -> Counter[str]:
    """Run a client in a process of its own: some of them change the driver, or Django, for all."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        results = process.submit(run, access, mode, name).result()
    broken = [result for result in results if result.findings]
    for result in broken[:examples]:
        sys.stdout.write(f"{name}: {result.case}: {'; '.join(finding.text for finding in result.findings)}\n")
    return tally(results)


if __name__ == "__main__":
    sys.exit(main())
