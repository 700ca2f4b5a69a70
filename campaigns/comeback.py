"""What it costs to come back: the processor time of a connect, and how long fifty threads need after a restart.

Both on held connections and on the bare driver, in turns and in one run, so that both sides meet the same machine; with
the driver's own settings for TLS, on a server that offers it and on one that does not. The time runs from the moment at
which the server accepts, which another process watches, until the last thread has its answer.
"""

from __future__ import annotations

import contextlib
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from campaigns import places
from campaigns.drivers import load
from campaigns.figures import Figures, broken_claims
from campaigns.places import Private
from campaigns.witness import Witness
from persistconn.drivers import Driver
from persistconn.keepalive import Keepalive
from persistconn.keeper import Keeper
from persistconn.policy import Policy

PATIENCE = 120.0
"""Seconds after which a thread hangs."""
DOWN_FOR = 1.5
"""Seconds that the server is missed before it is started."""
CONNECTS = 20
"""In a row, of which the processor time is taken together."""
CPU_LIMIT = 0.002
"""Seconds of processor time that a connect may cost (PyMySQL)."""
PAUSE = 0.1
"""Seconds that the patient kind of bare client waits before it tries again."""


class Side(Protocol):
    """How a thread gets its answer, whatever has happened."""

    def use(self) -> None:
        """Run one statement; blocks while the server is away."""

    def close(self) -> None:
        """Close what the thread has."""


class Held:
    """On a held connection."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect

    def use(self) -> None:
        _ask(self._connect())

    def close(self) -> None:
        self._connect().retire()


class Bare:
    """On the bare driver, as its users write it: on an error connect anew, until it works."""

    def __init__(self, module: Any, arguments: dict[str, Any], pause: float) -> None:
        self._module, self._arguments, self._pause = module, arguments, pause
        self._connection: Any = None

    def use(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if self._connection is None:
                    self._connection = self._module.connect(**self._arguments)
                _ask(self._connection)
            except self._module.Error:
                self._connection = None
                if time.monotonic() > deadline:
                    raise
                time.sleep(self._pause)
            else:
                return

    def close(self) -> None:
        self._connection.close()


def _ask(connection: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        cursor.fetchall()


class _Crowd:
    """The threads of one passage: each is answered once before the crash and once after it."""

    def __init__(self, make: Callable[[], Side], threads: int) -> None:
        self._make = make
        self.ready = threading.Barrier(threads + 1, timeout=PATIENCE)
        self.go = threading.Event()
        self.back_at: list[float] = []
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        side = self._make()
        side.use()
        self.ready.wait()
        self.go.wait()
        side.use()
        self.back_at.append(time.monotonic())
        side.close()

    def join(self) -> int:
        """Wait for all; return how many have not come back."""
        for thread in self._threads:
            thread.join(PATIENCE)
        return len(self._threads) - len(self.back_at)


@dataclass
class Spell:
    """What the passages of one kind took, a number for each round."""

    first: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    hung: int = 0


_POLICY = Policy(give_up_after=PATIENCE)


def run(driver: str = "pymysql", *, tls: bool, threads: int = 50, rounds: int = 7, seed: int = 1) -> Figures:
    """Measure both on a private MariaDB with or without TLS on offer; ``seed`` changes nothing. Blocks."""
    del seed
    one = load(driver)
    with _serving(tls, threads) as private:
        arguments = private.connect_args(autocommit=True)
        connects = _connects(one, arguments, rounds)
        spells = _comebacks(private, one, arguments, threads, rounds)
        encrypted = _is_encrypted(one, arguments)
    return _judge(driver, tls, encrypted, threads, connects, spells)


@contextlib.contextmanager
def _serving(tls: bool, threads: int) -> Iterator[Private]:
    # Whoever hammers is not to be locked out: it is his time that is taken.
    variables: dict[str, Any] = {"max_connections": threads + 50, "max_connect_errors": 1_000_000}
    with tempfile.TemporaryDirectory(prefix="persistconn-comeback-") as directory:
        if tls:
            variables.update(_certificate(Path(directory)))
        with Private(**variables) as private:
            yield private


def _certificate(directory: Path) -> dict[str, str]:
    key, certificate = str(directory / "key.pem"), str(directory / "cert.pem")
    asked = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    subprocess.run([*asked, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return {"ssl_key": key, "ssl_cert": certificate}


def _is_encrypted(driver: Driver, arguments: dict[str, Any]) -> bool:
    with contextlib.closing(driver.module.connect(**arguments)) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
        return bool(cursor.fetchall()[0][1])


# --- connects ----------------------------------------------------------------------------------------------------------


def _connects(driver: Driver, arguments: dict[str, Any], rounds: int) -> dict[str, list[float]]:
    """Return the processor time of a connect, its first answer and its goodbye, for both sides in turns."""
    keeper = Keeper()

    def ours() -> Side:
        return Held(lambda: keeper.connect(driver, _POLICY, (), arguments))

    def bare() -> Side:
        return Bare(driver.module, arguments, 0.0)

    _cpu_of(ours)  # The first builds what is built once.
    costs: dict[str, list[float]] = {"ours": [], "bare": []}
    for _ in range(rounds):
        costs["bare"].append(_cpu_of(bare))
        costs["ours"].append(_cpu_of(ours))
    keeper.shutdown(timeout=1.0)
    return costs


def _cpu_of(make: Callable[[], Side]) -> float:
    began = time.process_time()
    for _ in range(CONNECTS):
        side = make()
        side.use()
        side.close()
    return (time.process_time() - began) / CONNECTS


# --- restarts ----------------------------------------------------------------------------------------------------------


def _comebacks(
    private: Private, driver: Driver, arguments: dict[str, Any], threads: int, rounds: int
) -> dict[str, Spell]:
    spells = {"ours": Spell(), "bare": Spell(), "patient": Spell()}
    with Witness(private.server.host, private.server.port) as witness:
        for _ in range(rounds):
            with _keeping(driver, arguments) as held:
                _pass(private, witness, held, threads, spells["ours"])
            for kind, pause in (("bare", 0.0), ("patient", PAUSE)):
                _pass(private, witness, _baring(driver, arguments, pause), threads, spells[kind])
    return spells


@contextlib.contextmanager
def _keeping(driver: Driver, arguments: dict[str, Any]) -> Iterator[Callable[[], Side]]:
    keeper = Keeper()
    keepalive = Keepalive(keeper)
    keeper.on_connection = keepalive.ensure_running
    yield lambda: Held(lambda: keeper.connect(driver, _POLICY, (), arguments))
    keepalive.stop()
    keeper.shutdown(timeout=1.0)


def _baring(driver: Driver, arguments: dict[str, Any], pause: float) -> Callable[[], Side]:
    return lambda: Bare(driver.module, arguments, pause)


def _pass(private: Private, witness: Witness, make: Callable[[], Side], threads: int, spell: Spell) -> None:
    crowd = _Crowd(make, threads)
    crowd.ready.wait()
    private.server.kill()
    used = time.process_time()
    crowd.go.set()
    time.sleep(DOWN_FOR)
    witness.watch()
    private.server.start()
    accepted = witness.accepted_at()
    spell.hung += crowd.join()
    spell.first.append(min(crowd.back_at) - accepted)
    spell.seconds.append(max(crowd.back_at) - accepted)
    spell.cpu.append(time.process_time() - used)
    places.wait_for(lambda: not places.sessions(private), PATIENCE)


# --- the verdict -------------------------------------------------------------------------------------------------------


def _judge(
    driver: str, tls: bool, encrypted: bool, threads: int, connects: dict[str, list[float]], spells: dict[str, Spell]
) -> Figures:
    ours, bare, patient = spells["ours"], spells["bare"], spells["patient"]
    cost, bare_cost = median(connects["ours"]), median(connects["bare"])
    table = {
        "rounds, the two sides in turns": len(ours.seconds),
        "the driver's own settings lead to": "TLS" if encrypted else "no TLS",
        # Bare PyMySQL loads them for each connect: where the system trusts nobody, a connect costs it next to nothing.
        "certificates that the system trusts": ssl.create_default_context().cert_store_stats()["x509_ca"],
        "processor ms of a connect": _spread(connects["ours"], 1000),
        "processor ms of a connect, bare": _spread(connects["bare"], 1000),
        "bare / persistconn": bare_cost / cost,
        f"seconds until {threads} threads are back": _spread(ours.seconds),
        "... of it until the first is back": _spread(ours.first),
        "the same, bare, in a tight loop": _spread(bare.seconds),
        f"the same, bare, trying every {PAUSE:g} s": _spread(patient.seconds),
        "bare / persistconn, tight loop": median(bare.seconds) / median(ours.seconds),
        f"bare / persistconn, every {PAUSE:g} s": median(patient.seconds) / median(ours.seconds),
        "processor seconds from the crash on": _spread(ours.cpu),
        "processor seconds from the crash on, bare": _spread(bare.cpu),
    }
    # mysqlclient's library loads the system's certificates for each connect over TLS: docs/guarantees.md.
    is_bound = driver == "pymysql"
    broken = broken_claims(
        {
            f"a connect costs less than {CPU_LIMIT * 1000:g} ms": cost < CPU_LIMIT or not is_bound,
            "nothing hangs": not (ours.hung or bare.hung or patient.hung),
        }
    )
    proven = f"a connect costs {cost * 1000:.2f} ms, bare {bare_cost * 1000:.2f} ms"
    return Figures(f"comeback, {driver}, {'TLS on offer' if tls else 'no TLS on offer'}", table, proven, broken)


def _spread(values: list[float], factor: float = 1.0) -> str:
    ordered = sorted(value * factor for value in values)
    return f"{median(ordered):.2f} (median; {ordered[0]:.2f} to {ordered[-1]:.2f})"
