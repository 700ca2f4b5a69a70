"""What is missing in the ledger and when it is made up: decisions, and two years of several machines. No server, no clock."""

from __future__ import annotations

import random
from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

import persistconn
from persistconn.cronjobs import CronJob
from persistconn.errors import DatabaseUnavailable, LedgerError
from persistconn.once.rows import RowState
from persistconn.once.token import Token
from workers.backlog import BATCH, LONGEST_PAUSE, Backlog, Due, Ended
from workers.fenced import token_of
from workers.reconciler import ended_as
from workers.runs import Elsewhere, RunReport

UTC = timezone.utc
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
PACE = 10.0


@persistconn.job(using=lambda: None, name="settle")
def settle() -> None:
    """Stands for a fenced job."""


def job_of(expression: str = "*/5 * * * *", zone: str = "UTC", dst: str | None = None) -> CronJob:
    return CronJob("settle", settle, expression, zone, dst)


def backlog_of(job: CronJob | None = None) -> Backlog:
    return Backlog("shop", job or job_of(), window=86400, grace=PACE, pace=PACE)


def minutes(backlog: Backlog, *offsets: int) -> list[Token]:
    return [token_of("shop", backlog.job, NOON + timedelta(minutes=offset)) for offset in offsets]


def look(
    backlog: Backlog,
    *settled: Token,
    now: datetime = NOON + timedelta(minutes=16),
    known_since: datetime = NOON,
    low_water: datetime = LONG_AGO,
    state: RowState = RowState.DONE,
) -> list[Due]:
    """Have a backlog look at a ledger with these rows; returns what it misses."""
    span = backlog.span(now, known_since=known_since, low_water=low_water)
    return backlog.take_in(backlog.find(span, {token.digest: state for token in settled}))


def times(missing: list[Due]) -> list[int]:
    return [round((due.scheduled - NOON).total_seconds() / 60) for due in missing]


# --- what is missing -----------------------------------------------------------------------------------------------


def test_a_due_fire_without_a_row_is_missing() -> None:
    """Whatever became of it: skipped, dropped, lost with its machine."""
    backlog = backlog_of()
    assert times(look(backlog, *minutes(backlog, 5, 15))) == [10]


@pytest.mark.parametrize("state", [RowState.DONE, RowState.FAILED, RowState.CANCELLED, RowState.OPEN])
def test_a_fire_with_a_row_is_not_missing_whatever_the_row_says(state: RowState) -> None:
    """Done, failed for good, cancelled, or torn: running it would add nothing but an error."""
    backlog = backlog_of()
    assert look(backlog, *minutes(backlog, 5, 10, 15), state=state) == []


def test_what_was_due_before_the_schedule_was_known_is_not_missing() -> None:
    """A new job, or one with a new expression, has no past to make up."""
    assert times(look(backlog_of(), known_since=NOON + timedelta(minutes=7))) == [10, 15]


def test_what_is_out_of_the_window_is_not_missing() -> None:
    """A service that was off for a week does not run its week at once."""
    assert len(look(backlog_of(), known_since=NOON - timedelta(days=7))) == 24 * 12


def test_what_the_ledger_has_forgotten_is_not_missing() -> None:
    """Its row may have been there, and nobody can tell."""
    assert times(look(backlog_of(), low_water=NOON + timedelta(minutes=12))) == [15]


def test_a_fire_has_its_grace_before_it_is_missing() -> None:
    """Its machines are about to run it at this moment."""
    now = NOON + timedelta(minutes=15, seconds=9)
    assert times(look(backlog_of(), now=now)) == [5, 10]
    assert times(look(backlog_of(), now=now + timedelta(seconds=1))) == [5, 10, 15]


def test_what_is_settled_without_a_gap_is_not_looked_at_again() -> None:
    """A day of a job that fires each second is read once, not every ten seconds."""
    backlog = backlog_of()
    look(backlog, *minutes(backlog, 5, 10, 15))
    later = NOON + timedelta(minutes=20)
    assert backlog.span(later, known_since=NOON, low_water=LONG_AGO).since == NOON + timedelta(minutes=15, seconds=50)


def test_a_gap_stays_in_sight_until_it_is_filled() -> None:
    """What has been settled after it does not hide it."""
    backlog = backlog_of()
    for _ in range(2):
        assert times(look(backlog, *minutes(backlog, 5, 15))) == [10]


def test_behind_a_new_session_the_whole_window_is_looked_at_again() -> None:
    """After a failover the server may lack what the one before it had acknowledged."""
    backlog = backlog_of()
    look(backlog, *minutes(backlog, 5, 10, 15))
    backlog.look_at_all()
    assert times(look(backlog, *minutes(backlog, 10, 15))) == [5]


def test_a_torn_fire_is_told_once() -> None:
    """A row that is open and committed is a part without the rest: loud, but not every ten seconds."""
    backlog = backlog_of()
    [torn] = minutes(backlog, 10)
    span = backlog.span(NOON + timedelta(minutes=16), known_since=NOON, low_water=LONG_AGO)
    findings = backlog.find(span, {torn.digest: RowState.OPEN})
    assert [backlog.new_torn(findings), backlog.new_torn(findings)] == [[torn], []]


# --- when it is tried ----------------------------------------------------------------------------------------------


def next_minute(backlog: Backlog, now: float = 0.0) -> int | None:
    due = backlog.next(now)
    return None if due is None else times([due])[0]


def test_the_oldest_is_made_up_first_and_then_the_next() -> None:
    """One at a time: the end of a run makes room for another one."""
    backlog = backlog_of()
    look(backlog)
    order = []
    while (due := backlog.next(0.0)) is not None:
        order.append(due)
        backlog.note(due.token, Ended.SETTLED, 0.0)
    assert times(order) == [5, 10, 15]


def test_what_has_ended_between_two_looks_is_not_missing_any_more() -> None:
    """The rows that the second look was given may be older than the run."""
    backlog = backlog_of()
    look(backlog)
    backlog.note(minutes(backlog, 5)[0], Ended.SETTLED, 0.0)
    assert times(look(backlog)) == [10, 15]


def test_what_another_machine_is_at_is_left_to_it_until_the_next_look() -> None:
    """It may end well, or die."""
    backlog = backlog_of()
    look(backlog)
    backlog.note(minutes(backlog, 5)[0], Ended.UNDER_WAY, 0.0)
    assert next_minute(backlog) == 10
    look(backlog)
    assert next_minute(backlog) == 5


def test_a_job_that_fails_is_tried_again_after_pauses_that_double() -> None:
    """Ten seconds, twenty, and an hour in the end: a bug does not keep a server busy."""
    backlog, now, pauses = backlog_of(), 0.0, []
    for _ in range(12):
        look(backlog, *minutes(backlog, 5, 10))
        backlog.note(minutes(backlog, 15)[0], Ended.FAILED, now)
        look(backlog, *minutes(backlog, 5, 10))
        began = now
        while backlog.next(now) is None:
            now += PACE / 2
        pauses.append(now - began)
    assert pauses[:4] == [10, 20, 40, 80]
    assert pauses[-1] == LONGEST_PAUSE


def test_a_fire_that_fails_lets_others_go_first() -> None:
    """One that can never succeed must not stand in the way of the rest."""
    backlog = backlog_of()
    look(backlog)
    backlog.note(minutes(backlog, 5)[0], Ended.FAILED, 0.0)
    look(backlog)
    assert next_minute(backlog, LONGEST_PAUSE) == 10


def test_a_success_ends_the_pause() -> None:
    """The job works again."""
    backlog = backlog_of()
    look(backlog)
    backlog.note(minutes(backlog, 5)[0], Ended.FAILED, 0.0)
    assert next_minute(backlog) is None
    backlog.note(minutes(backlog, 20)[0], Ended.SETTLED, 0.0)
    assert next_minute(backlog) == 10


def test_without_a_database_the_rest_waits_for_the_next_look() -> None:
    """Each try would wait for it for as long again, and it is not the job that fails."""
    backlog = backlog_of()
    look(backlog)
    backlog.note(minutes(backlog, 5)[0], Ended.UNREACHED, 0.0)
    assert next_minute(backlog) is None
    look(backlog)
    assert next_minute(backlog) == 5


def test_a_batch_is_bounded() -> None:
    """A day of a job that fires each second is made up in portions, the oldest first."""
    backlog = backlog_of(job_of("* * * * * *"))
    missing = look(backlog, now=NOON + timedelta(hours=1))
    assert len(missing) == 3600 - PACE
    for n in range(BATCH):
        due = backlog.next(0.0)
        assert due is not None
        assert due.scheduled == NOON + timedelta(seconds=n + 1)
        backlog.note(due.token, Ended.UNDER_WAY, 0.0)
    assert backlog.next(0.0) is None


@pytest.mark.parametrize(
    ("elsewhere", "error", "expected"),
    [
        (None, None, Ended.SETTLED),
        (Elsewhere.DONE, None, Ended.SETTLED),
        (Elsewhere.CANCELLED, None, Ended.SETTLED),
        (Elsewhere.UNDER_WAY, None, Ended.UNDER_WAY),
        (None, ValueError("no"), Ended.FAILED),
        (None, DatabaseUnavailable("away"), Ended.UNREACHED),
        (None, LedgerError("missing"), Ended.UNREACHED),
    ],
)
def test_what_the_end_of_a_run_says_of_its_token(
    elsewhere: Elsewhere | None, error: BaseException | None, expected: Ended
) -> None:
    """A table."""
    report = RunReport(job_of(), NOON, NOON, 0.1, error, elsewhere)
    assert ended_as(report) is expected


# --- tokens --------------------------------------------------------------------------------------------------------


def test_two_services_with_one_job_have_tokens_of_their_own() -> None:
    """A name that is used twice on one database does not silence one of them."""
    assert token_of("shop", job_of(), NOON) != token_of("bank", job_of(), NOON)


def test_by_default_the_two_times_of_one_wall_time_are_two_fires() -> None:
    """Every half hour is every half hour."""
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    job = job_of("*/30 * * * *", "Europe/Vienna")
    assert token_of("shop", job, first) != token_of("shop", job, first + timedelta(hours=1))


def test_once_the_two_times_of_one_wall_time_are_one_fire() -> None:
    """Also for machines that do not agree on which of them it is."""
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    job = job_of("0 30 2 * * *", "Europe/Vienna", "once")
    assert token_of("shop", job, first).digest == token_of("shop", job, first + timedelta(hours=1)).digest


# --- two years -----------------------------------------------------------------------------------------------------

BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
ROUND = timedelta(hours=8)


class SimulatedLedger:
    """The set of tokens that have taken effect, and how often each due time has."""

    def __init__(self) -> None:
        self.tokens: set[bytes] = set()
        self.effects: Counter[datetime] = Counter()
        self._by_time: list[tuple[datetime, bytes]] = []

    def take(self, token: Token) -> bool:
        """Fence, work and commit; False for a token that was taken before."""
        assert token.scheduled is not None
        if token.digest in self.tokens:
            return False
        self.tokens.add(token.digest)
        self.effects[token.scheduled] += 1
        insort(self._by_time, (token.scheduled, token.digest))
        return True

    def rows_after(self, since: datetime) -> dict[bytes, RowState]:
        place = bisect_right(self._by_time, (since, b"\xff" * 33))
        return {digest: RowState.DONE for _, digest in self._by_time[place:]}


class Machine:
    """One machine of the service: a scheduler that starts anew after each crash, and the core of the reconciler."""

    def __init__(self, job: CronJob, ledger: SimulatedLedger, rng: random.Random) -> None:
        self._job = job
        self._ledger = ledger
        self._rng = rng
        self.start(BEGIN)

    def start(self, now: datetime) -> None:
        self.is_up = True
        self._backlog = backlog_of(self._job)
        self._times = self._job.between(now, END)
        self._next = next(self._times, None)

    def live(self, until: datetime) -> None:
        """Fire what is due, and look at the ledger at the end, unless a crash comes first."""
        if not self.is_up:
            self.start(until - ROUND * self._rng.random())
        while self._next is not None and self._next.astimezone(UTC) <= until:
            scheduled, self._next = self._next, next(self._times, None)
            fate = self._rng.random()
            if fate < 0.02:
                self.is_up = False
                return
            # Left out: an overlap, a busy pool, a machine that could not look in time.
            if fate > 0.2:
                self._run(token_of("shop", self._job, scheduled))
        self.look(until)

    def look(self, now: datetime) -> None:
        span = self._backlog.span(now, known_since=BEGIN, low_water=LONG_AGO)
        self._backlog.take_in(self._backlog.find(span, self._ledger.rows_after(span.since)))
        seconds = (now - BEGIN).total_seconds()
        while (due := self._backlog.next(seconds)) is not None:
            self._backlog.note(due.token, self._run(due.token), seconds)

    def _run(self, token: Token) -> Ended:
        if self._rng.random() < 0.05:
            return Ended.FAILED  # Rolled back: no effect and no row.
        self._ledger.take(token)
        return Ended.SETTLED


def first_time_at(wall: time, zone: ZoneInfo) -> Iterator[datetime]:
    """Yield when the clock first shows a time, or more than that, on each day."""
    for n in range((END - BEGIN).days + 1):
        day = datetime.combine(date(2026, 1, 1) + timedelta(days=n), wall)
        guess = day.replace(tzinfo=zone).astimezone(UTC) - timedelta(hours=2)
        moments = (guess + timedelta(minutes=minute) for minute in range(300))
        yield next(moment for moment in moments if moment.astimezone(zone).replace(tzinfo=None) >= day)


def each_time_at(shows: Callable[[datetime], bool], zone: ZoneInfo) -> Iterator[datetime]:
    """Yield each quarter of an hour at which the clock shows what is wanted."""
    moment = BEGIN
    while moment <= END:
        if shows(moment.astimezone(zone)):
            yield moment
        moment += timedelta(minutes=15)


def expected_of(expression: str, dst: str | None, zone: ZoneInfo) -> Iterator[datetime]:
    """Yield the due times of the expressions below, by counting minutes, without any of the code under test."""
    if (expression, dst) == ("30 1 * * *", None):
        return first_time_at(time(1, 30), zone)
    if (expression, dst) == ("0 15 2 * * *", "once"):
        return first_time_at(time(2, 15), zone)
    if (expression, dst) == ("0 30 1 * * *", None):
        return each_time_at(lambda local: (local.hour, local.minute) == (1, 30), zone)
    return each_time_at(lambda local: local.hour % 3 == 0 and local.minute == 0, zone)


@pytest.mark.slow
@pytest.mark.parametrize("zone", ["America/New_York", "Europe/London", "Australia/Lord_Howe", "UTC"])
@pytest.mark.parametrize(
    ("expression", "dst"),
    [("30 1 * * *", None), ("0 30 1 * * *", None), ("0 15 2 * * *", "once"), ("0 */3 * * *", None)],
)
def test_in_two_years_of_crashes_each_due_fire_takes_effect_once(expression: str, dst: str | None, zone: str) -> None:
    """Two machines that skip, fail and crash, through every change of the clocks: the ledger has what was due."""
    rng = random.Random(f"{expression} {dst} {zone}")
    ledger, job = SimulatedLedger(), job_of(expression, zone, dst)
    machines = [Machine(job, ledger, rng) for _ in range(2)]
    now = BEGIN
    while now < END:
        now += ROUND
        for machine in machines:
            machine.live(now)
    # The last fires may have failed, and nobody has looked since.
    for n in range(1, 20):
        for machine in machines:
            machine.look(END + timedelta(minutes=n))
    due = {moment for moment in expected_of(expression, dst, ZoneInfo(zone)) if BEGIN < moment <= END}
    assert set(ledger.effects) == due
    assert set(ledger.effects.values()) == {1}
