"""Load the site on persistconn's engine and on Django's own, and print what became of it: ``python measure.py``.

Needs wrk, and a MariaDB that it starts for itself.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from persistconn.testing import MariaDB
from persistconn.testing.process import pick_port

HERE = Path(__file__).resolve().parent
MOST = 151
"""The server's max_connections, which is the default."""
VARIANTS = {
    'persistconn, `"pool": {"max_size": 5}`': {},
    "stock, `CONN_MAX_AGE` unset": {"CONN_MAX_AGE": "0"},
    "stock, `CONN_MAX_AGE = 60`": {"CONN_MAX_AGE": "60"},
}
PAGES = {"/": "the ORM, a read and a write", "/slow": "one query of 20 ms"}


@dataclass(frozen=True)
class Figures:
    """What one run has shown."""

    sessions: int
    connects: int
    requests: int
    failed: int
    rate: float
    """Successful requests per second."""


@contextlib.contextmanager
def site(server: MariaDB, variant: dict[str, str]) -> Iterator[int]:
    """Run gunicorn on a variant of the site; yields its port."""
    environment = {
        **{name: value for name, value in os.environ.items() if name != "CONN_MAX_AGE"},
        **variant,
        "DJANGO_SETTINGS_MODULE": "measured",
        "SHOP_DB_HOST": server.host,
        "SHOP_DB_PORT": str(server.port),
        "SHOP_DB_USER": server.user,
        "SHOP_DB_PASSWORD": server.password,
        "SHOP_DB_NAME": "test",
    }
    migrate = [sys.executable, "-m", "django", "migrate", "--verbosity=0", "--pythonpath=."]
    subprocess.run(migrate, cwd=HERE, env=environment, check=True)
    port = pick_port("127.0.0.1")
    command = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--log-level=critical"]
    # The tracebacks of those that fail would be thousands.
    served = subprocess.Popen(command, cwd=HERE, env=environment, stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        yield port
    finally:
        served.terminate()
        served.wait()


def wait_for(port: int) -> None:
    """Wait until the site answers."""
    while True:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/").read()
            return
        time.sleep(0.1)


def measure(server: MariaDB, variant: dict[str, str], page: str, options: argparse.Namespace) -> Figures:
    """Load one page of one variant."""
    with site(server, variant) as port:
        server.admin().query("FLUSH STATUS")
        ours = server.status("Threads_connected") - len(server.processlist())
        connects = server.status("Connections")
        load = ["wrk", "-t1", f"-c{options.browsers}", f"-d{options.seconds}", "--timeout=30"]
        said = subprocess.run(
            [*load, f"http://127.0.0.1:{port}{page}"], capture_output=True, text=True, check=True
        ).stdout
        failed = sum(int(n) for n in re.findall(r"(?:read|write|timeout|connect|responses:) (\d+)", said))
        requests, seconds = re.findall(r"(\d+) requests in ([\d.]+)s", said)[0]
        return Figures(
            server.status("Max_used_connections") - ours,
            server.status("Connections") - connects,
            int(requests),
            failed,
            max(int(requests) - failed, 0) / float(seconds),
        )


def main() -> None:
    """Measure each in turn, several times, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--browsers", type=int, default=200)
    options = parser.parse_args()
    print("| page | engine | sessions at peak | connects | failed requests | throughput |")
    print("| --- | --- | --- | --- | --- | --- |")
    for page, what in PAGES.items():
        runs: dict[str, list[Figures]] = {name: [] for name in VARIANTS}
        for _ in range(options.rounds):
            for name, variant in VARIANTS.items():
                with MariaDB(max_connections=MOST) as server:
                    runs[name].append(measure(server, variant, page, options))
        base = [figures.rate for figures in runs[next(iter(VARIANTS))]]
        for name, figures in runs.items():
            ratio = statistics.median(each.rate / first for each, first in zip(figures, base, strict=True))
            print(
                f"| {what} | {name} | {max(each.sessions for each in figures)}"
                f" | {sum(each.connects for each in figures)}"
                f" | {sum(each.failed for each in figures)} of {sum(each.requests for each in figures)} | {ratio:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
