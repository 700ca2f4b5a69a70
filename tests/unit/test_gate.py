"""Who may connect: backoff, one probe for all, an end. The clock is injected; waiting moves it."""

from __future__ import annotations

import contextlib
import random
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from persistconn.drivers import Fault
from persistconn.errors import DatabaseUnavailable
from persistconn.gate import DELAYS, Gate, backoff
from persistconn.policy import Policy
from persistconn.testing import FakeClock, eventually
from persistconn.testing.waiting import PATIENCE


class PatientGate(Gate):
    """A gate whose waiting takes no time but on its clock."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__("db:3306", clock=clock, rng=random.Random(1))
        self.clock = clock
        self.pauses: list[float] = []

    def _pause(self, waiter: threading.Lock, timeout: float) -> None:
        self.pauses.append(timeout)
        self.clock.advance(timeout)


class Server:
    """Answers attempts to connect: each of `faults` in turn, then a connection."""

    def __init__(self, *faults: Fault) -> None:
        self.faults = list(faults)
        self.attempts = 0

    def __call__(self) -> str:
        self.attempts += 1
        if self.faults:
            fault = self.faults.pop(0) if len(self.faults) > 1 or self.faults[0] is not Fault.AWAY else self.faults[0]
            raise ConnectionError(fault.name)
        return "raw"

    @staticmethod
    def classify(error: BaseException) -> Fault:
        return Fault[str(error)]


def connect(gate: Gate, server: Callable[[], str], **settings: float) -> str:
    """Connect through the gate as a held connection does."""
    return gate.connect(server, Server.classify, Policy.from_settings(settings), DatabaseUnavailable)


@pytest.mark.parametrize("fault", DELAYS)
def test_backoff_grows_to_a_limit_and_is_jittered(fault: Fault) -> None:
    """Full jitter between half the first delay and the ceiling, which doubles up to the longest delay."""
    rng = random.Random(7)
    first, longest = DELAYS[fault]
    for failures, ceiling in [(1, first), (3, 4 * first), (50, longest), (10**6, longest)]:
        delays = [backoff(failures, fault, rng) for _ in range(200)]
        assert first / 2 <= min(delays) < max(delays) <= ceiling
        assert max(delays) - min(delays) > ceiling / 3


def test_server_without_capacity_is_asked_less_often() -> None:
    """1040 and 1129 are not hammered."""
    rng = random.Random(7)
    assert min(backoff(1, Fault.NO_CAPACITY, rng) for _ in range(100)) > max(
        backoff(1, Fault.AWAY, rng) for _ in range(100)
    )


def test_server_that_comes_back_is_waited_for() -> None:
    """A server that is away is tried again until it answers."""
    gate, server = PatientGate(FakeClock()), Server(Fault.NO_CAPACITY, Fault.NO_CAPACITY, Fault.NO_CAPACITY)
    server.faults = [Fault.NO_CAPACITY, Fault.NO_CAPACITY]
    assert "raw" == connect(gate, server)
    assert 3 == server.attempts
    assert sum(gate.pauses) >= DELAYS[Fault.NO_CAPACITY][0]


def test_refusal_ends_at_once() -> None:
    """A wrong password does not get better by waiting."""
    gate, server = PatientGate(FakeClock()), Server(Fault.REFUSED)
    with pytest.raises(ConnectionError, match="REFUSED"):
        connect(gate, server)
    assert (1, []) == (server.attempts, gate.pauses)


def test_waiting_ends_after_give_up_after() -> None:
    """The error says how long, how many tries and the last driver error, which is its cause."""
    clock = FakeClock()
    gate, server = PatientGate(clock), Server(Fault.AWAY)
    with pytest.raises(DatabaseUnavailable) as told:
        connect(gate, server, give_up_after=60.0)
    assert 60.0 <= clock.now < 61.0
    assert f"no connection to db:3306 for 60.0 s, after {server.attempts} tries" in str(told.value)
    assert isinstance(told.value.__cause__, ConnectionError)
    assert 30 < server.attempts < 300


def test_caller_who_finds_the_server_down_does_not_try_himself_out_of_turn() -> None:
    """The next probe is due for all at one time; a sweep that may try only once goes away at once."""
    clock = FakeClock()
    gate, server = PatientGate(clock), Server(Fault.AWAY)
    with pytest.raises(DatabaseUnavailable):
        connect(gate, server, give_up_after=1e-9)
    with pytest.raises(DatabaseUnavailable, match="AWAY"):
        connect(gate, server, give_up_after=1e-9)
    assert 1 == server.attempts


def test_who_may_try_only_once_tries_when_it_is_due() -> None:
    """A sweep comes with no time to wait, and may be the only one who asks for a server that is back."""
    clock = FakeClock()
    gate, server = PatientGate(clock), Server(Fault.NO_CAPACITY)
    server.faults = [Fault.NO_CAPACITY]
    none = 1e-300  # Added to a clock, it does not move it.
    clock.advance(1.0)
    with pytest.raises(DatabaseUnavailable):
        connect(gate, server, give_up_after=none)
    with pytest.raises(DatabaseUnavailable):
        connect(gate, server, give_up_after=none)
    assert 1 == server.attempts
    clock.advance(DELAYS[Fault.NO_CAPACITY][1])
    assert "raw" == connect(gate, server, give_up_after=none)
    assert [] == gate.pauses


@contextlib.contextmanager
def crowd(size: int, work: Callable[[int], object]) -> Iterator[None]:
    """Have so many threads work, each with its number, and wait for them at the end of the block."""
    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(size)]
    for thread in threads:
        thread.start()
    yield
    eventually(lambda: not any(thread.is_alive() for thread in threads))


def test_no_more_than_max_connecting_at_once() -> None:
    """The others wait until a place is free."""
    gate, lock, go_on = Gate("db:3306"), threading.Lock(), threading.Event()
    under_way = most = 0

    def slow_server() -> str:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        go_on.wait(2 * PATIENCE)
        with lock:
            under_way -= 1
        return "raw"

    with crowd(9, lambda number: connect(gate, slow_server, max_connecting=3)):
        eventually(lambda: len(gate._waiting) == 6)
        go_on.set()
    assert 3 == most


class Watched(Gate):
    """A gate that tells who has looked for a free place in vain: threads, in their order, each as often as it did."""

    def __init__(self, rng: random.Random | None = None) -> None:
        super().__init__("db:3306", rng=rng)
        self.looks: list[int] = []

    def _pause(self, turn: threading.Lock, timeout: float) -> None:
        self.looks.append(threading.get_ident())
        super()._pause(turn, timeout)


class Earliest(random.Random):
    """Jitter at its shortest, so that waiting in real time is short."""

    def random(self) -> float:
        return 0.0


def test_one_probe_for_all_while_the_server_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eight threads that wait for a server one at a time asks, and its success lets all through."""
    monkeypatch.setattr("persistconn.gate._LONGEST_WAIT", 0.01)
    gate, lock, results = Watched(Earliest()), threading.Lock(), list[str]()
    failures_left, under_way, most_while_down = 3, 0, 0

    def server() -> str:
        nonlocal failures_left, under_way, most_while_down

        def others_would_be_here() -> bool:
            """Each has looked after this probe began: twice, for the first look may have begun before it."""
            later = Counter(gate.looks[looks_before:])
            return most_while_down > 1 or [times >= 2 for times in later.values()] == [True] * 7

        with lock:
            under_way += 1
            looks_before = len(gate.looks)
            is_down = failures_left > 0
            failures_left -= 1
            if is_down:
                most_while_down = max(most_while_down, under_way)
        try:
            if is_down:
                eventually(others_would_be_here)
                raise ConnectionError(Fault.AWAY.name)
            return "raw"
        finally:
            with lock:
                under_way -= 1

    with pytest.raises(DatabaseUnavailable):
        connect(gate, Server(Fault.AWAY), give_up_after=1e-9)
    with crowd(8, lambda number: results.append(connect(gate, server, max_connecting=8))):
        pass
    assert ["raw"] * 8 == results
    assert 1 == most_while_down


@pytest.fixture
def _nobody_looks_by_himself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits looks again when it is woken, and not from time to time."""
    monkeypatch.setattr("persistconn.gate._LONGEST_WAIT", 1000.0)


@pytest.mark.usefixtures("_nobody_looks_by_himself")
def test_turns_are_handed_on_until_all_have_connected() -> None:
    """Failures, refusals and threads that give up in between leave nobody waiting at a free place."""
    gate, rng, lock, gone = Gate("db:3306", rng=Earliest()), random.Random(1), threading.Lock(), list[int]()

    def server() -> str:
        # There is always somebody to hand the turn to, as long as there are more threads than places.
        eventually(lambda: gate._waiting or len(gone) >= 60 - 2)
        with lock:
            fault = rng.choices((Fault.NONE, Fault.AWAY, Fault.REFUSED), (8, 1, 1))[0]
        if fault is not Fault.NONE:
            raise ConnectionError(fault.name)
        return "raw"

    def work(number: int) -> None:
        with contextlib.suppress(ConnectionError, DatabaseUnavailable):
            connect(gate, server, max_connecting=2, give_up_after=0.02 if number % 4 == 0 else 1000.0)
        gone.append(number)

    with crowd(60, work):
        pass
    assert 60 == len(gone)


@pytest.mark.usefixtures("_nobody_looks_by_himself")
def test_only_as_many_are_woken_as_there_is_room_for() -> None:
    """Two hundred threads that all look again whenever one has connected cost more than the connects."""
    gate, connected = Watched(), list[int]()

    def server() -> str:
        # Whoever was woken in vain has looked by now, and waits again.
        eventually(lambda: len(gate._waiting) == 29 - len(connected))
        connected.append(1)
        return "raw"

    with crowd(30, lambda number: connect(gate, server, max_connecting=1)):
        pass
    assert 30 == len(connected)
    assert 29 == len(gate.looks)


class Raw:
    """A connection that was half made when its attempt failed."""


def handshake(raw: Raw) -> None:
    """Fail, with the connection in the frame."""
    raise OSError("the handshake was cut")


def test_failure_that_is_kept_keeps_no_connection() -> None:
    """The gate remembers the last error for as long as the server is away; its frames have descriptors in them."""
    gate = PatientGate(FakeClock())
    made: list[weakref.ref[Raw]] = []

    def attempt() -> str:
        raw = Raw()
        made.append(weakref.ref(raw))
        try:
            handshake(raw)
        except OSError as error:
            raise ConnectionError(Fault.AWAY.name) from error
        return "raw"

    with pytest.raises(DatabaseUnavailable) as unavailable:
        connect(gate, attempt, give_up_after=1.0)
    assert "the handshake was cut" == str(unavailable.value.__cause__.__cause__)  # type: ignore[union-attr]
    del unavailable
    assert made
    assert not [ref for ref in made if ref() is not None]


def test_failure_leaves_the_error_that_the_caller_handles_as_it_is() -> None:
    """It is what the caller will raise, with its traceback; the one that is kept keeps nothing of it."""
    gate, handled = PatientGate(FakeClock()), OSError()
    try:
        handshake(Raw())
    except OSError as error:
        handled = error
        with pytest.raises(DatabaseUnavailable) as unavailable:
            connect(gate, Server(Fault.AWAY), give_up_after=1.0)
    assert handled.__traceback__ is not None
    assert handled is unavailable.value.__context__
    assert unavailable.value.__cause__ is not None
    assert unavailable.value.__cause__.__context__ is None
