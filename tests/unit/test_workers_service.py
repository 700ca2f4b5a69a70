"""The service: fires, runs, the order of the end. The pool is a fake that runs what the test tells it to."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

import persistconn
from persistconn.cronjobs import CronJob
from persistconn.errors import ConfigError, JobCancelled, JobError, JobFailed
from persistconn.once.attempt import DoneElsewhere, JobUnderWay
from persistconn.once.job import Job
from persistconn.once.settings import JobSettings
from persistconn.once.token import Token, fire_token
from persistconn.testing import eventually
from persistconn.testing.waiting import PATIENCE
from workers import RunReport, Service
from workers.backlog import Due
from workers.runs import Elsewhere
from workers.schedule import WallClockScheduler
from workers.watchdog import Watchdog

UTC = timezone.utc
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
NEVER_SOON = "0 0 29 2 *"


class Pool:
    """A pool without threads: what is submitted waits until the test lets it run."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, Callable[[], object]]] = []
        self.shutdowns: list[dict[str, Any]] = []

    def submit_named(self, name: str, fn: Callable[..., object], *args: Any) -> Future[object]:
        self.waiting.append((name, lambda: fn(*args)))
        done: Future[object] = Future()
        done.set_result(None)
        return done

    def run_next(self) -> None:
        self.waiting.pop(0)[1]()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.shutdowns.append({"wait": wait, "cancel_futures": cancel_futures})


class FakeService(Service):
    """A service on a :class:`Pool`, whose clocks stand still."""

    def __init__(self, jobs: Iterable[CronJob], **settings: Any) -> None:
        self.pool = Pool()
        super().__init__(jobs, clock=lambda: NOON, stopwatch=iter(range(1000)).__next__, **settings)

    def _units_on(self, threads: ThreadPoolExecutor, warm: Any = None) -> Any:  # type: ignore[override]
        return self.pool

    def fire(self, job: CronJob, *, minutes: Iterable[int] = (0,)) -> None:
        self._runner.fire(job, [NOON + timedelta(minutes=minute) for minute in minutes])


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
def settle(calls: list[str]) -> CronJob:
    return CronJob("settle", lambda: calls.append("settle"), NEVER_SOON)


@pytest.fixture
def report(calls: list[str]) -> CronJob:
    return CronJob("report", lambda: calls.append("report"), NEVER_SOON)


@pytest.fixture(autouse=True)
def shutdowns(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Stand in for the process's own shutdown(), which is none of these tests' business; returns its timeouts."""
    timeouts: list[float] = []

    def shutdown(timeout: float, *, final: bool) -> None:
        assert final, "no job may connect again while the process ends"
        timeouts.append(timeout)

    monkeypatch.setattr(persistconn, "shutdown", shutdown)
    return timeouts


@pytest.fixture(autouse=True)
def _time_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give threads that are about to end as long as they need: a process that is left to others may be slow."""
    for name in ("PATIENT", "A_MOMENT"):
        monkeypatch.setattr(f"workers.service.{name}", PATIENCE)


@pytest.fixture(autouse=True)
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "workers")
    return caplog


def actions(lines: pytest.LogCaptureFixture) -> list[str]:
    return [vars(record).get("action", "") for record in lines.records if record.name == "workers"]


# --- fires and runs ------------------------------------------------------------------------------------------------


def test_a_fire_runs_as_a_unit_of_work_that_goes_by_the_name_of_the_job(settle: CronJob, calls: list[str]) -> None:
    """The warning about something left open names the job."""
    service = FakeService([settle])
    service.fire(settle)
    assert [name for name, _ in service.pool.waiting] == ["settle"]
    service.pool.run_next()
    assert calls == ["settle"]


def test_on_run_is_given_what_the_run_was(settle: CronJob) -> None:
    """Job, scheduled time, start, duration and error, for a table or a metric."""
    reports: list[RunReport] = []
    service = FakeService([settle], on_run=reports.append)
    service.fire(settle)
    service.pool.run_next()
    assert reports == [RunReport(settle, scheduled=NOON, started=NOON, duration=1, error=None)]


def test_a_fire_while_the_job_still_runs_is_told_and_not_queued(lines: pytest.LogCaptureFixture) -> None:
    """Never silently skipped, never two at a time."""

    def fire_again() -> None:
        service.fire(slow, minutes=[1])

    slow = CronJob("slow", fire_again, NEVER_SOON)
    service = FakeService([slow])
    service.fire(slow)
    service.pool.run_next()
    assert service.pool.waiting == []
    assert actions(lines) == ["overlap", "run"]


def test_a_fire_that_finds_all_threads_busy_waits(settle: CronJob, report: CronJob, calls: list[str]) -> None:
    """Queueing is no event: nothing is dropped, and nothing is said."""
    service = FakeService([settle, report], threads=1)
    service.fire(settle)
    service.fire(report)
    service.pool.run_next()
    service.pool.run_next()
    assert calls == ["settle", "report"]


def test_of_several_times_that_have_passed_the_latest_runs(settle: CronJob, lines: pytest.LogCaptureFixture) -> None:
    """A service that was suspended makes up once, and tells what it left out."""
    service = FakeService([settle])
    service.fire(settle, minutes=[0, 1, 2])
    service.pool.run_next()
    assert actions(lines) == ["missed", "run"]
    assert "scheduled 2026-01-05 12:02:00" in lines.records[-1].getMessage()


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_a_job_that_raises_does_not_end_its_thread(error: BaseException, lines: pytest.LogCaptureFixture) -> None:
    """Whatever it raises is told in the line of its run, and the job may fire again."""

    def fail() -> None:
        raise error

    job = CronJob("fail", fail, NEVER_SOON)
    service = FakeService([job])
    for _ in range(2):
        service.fire(job)
        service.pool.run_next()
    assert actions(lines) == ["run", "run"]


def test_an_on_run_that_raises_spoils_nothing(settle: CronJob, lines: pytest.LogCaptureFixture) -> None:
    """The run is over and logged, and the job may fire again."""

    def fail(_: RunReport) -> None:
        raise ValueError("no")

    service = FakeService([settle], on_run=fail)
    service.fire(settle)
    service.pool.run_next()
    assert service.under_way() == []
    assert actions(lines) == ["run", "on_run"]


# --- fenced jobs ---------------------------------------------------------------------------------------------------


class FencedJob(Job[[], None]):
    """A ``@job`` that asks no database: it notes its tokens, and ends as the test wants."""

    def __init__(self) -> None:
        super().__init__(lambda: self.tokens.append(None), JobSettings(name="settle"))
        self.tokens: list[Token | None] = []
        self.end: Callable[[], None] = lambda: None

    def __call__(self) -> None:
        self.function()

    def run_as(self, token: Token, *, waits: bool = True) -> None:
        assert not waits, "a fire never waits for another machine"
        self.tokens.append(token)
        try:
            self.end()
        except JobError as error:
            error.token = str(token)
            raise


def fenced(job: FencedJob) -> CronJob:
    return CronJob("settle", job, NEVER_SOON)


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_a_fire_of_a_fenced_job_runs_under_its_token() -> None:
    """The same on every machine: the service, the job, and the time."""
    job = FencedJob()
    service = FakeService([fenced(job)], name="shop")
    service.fire(fenced(job))
    service.pool.run_next()
    assert job.tokens == [fire_token("shop", "settle", NOON)]


@pytest.mark.parametrize(
    ("error", "elsewhere"),
    [
        (JobUnderWay("there"), Elsewhere.UNDER_WAY),
        (DoneElsewhere("there"), Elsewhere.DONE),
        (JobFailed("there"), Elsewhere.DONE),
        (JobCancelled("so"), Elsewhere.CANCELLED),
    ],
)
def test_what_became_of_a_fire_elsewhere_is_no_error_of_this_run(error: JobError, elsewhere: Elsewhere) -> None:
    """One of the machines tells of the failure or the success, the others of that."""
    job, reports = FencedJob(), list[RunReport]()
    service = FakeService([fenced(job)], on_run=reports.append)
    job.end = raising(error)
    service.fire(fenced(job))
    service.pool.run_next()
    assert [(report.elsewhere, report.error) for report in reports] == [(elsewhere, None)]


def test_a_fenced_job_that_fails_is_told_as_failed() -> None:
    """Its own exception, as it is."""
    job, reports, error = FencedJob(), list[RunReport](), ValueError("no")
    service = FakeService([fenced(job)], on_run=reports.append)
    job.end = raising(error)
    service.fire(fenced(job))
    service.pool.run_next()
    assert [(report.elsewhere, report.error) for report in reports] == [(None, error)]


def test_a_fire_by_hand_is_no_fire_of_the_schedule() -> None:
    """It has no due time that another machine could have."""
    job = FencedJob()
    service = FakeService([fenced(job)])
    service._runner.run_by_hand(fenced(job))
    service.pool.run_next()
    assert job.tokens == [None]


def test_a_missing_fire_is_queued_unless_its_job_is_under_way() -> None:
    """One at a time; the next look finds it again."""
    job = FencedJob()
    service = FakeService([fenced(job)], name="shop")
    due = Due(NOON, fire_token("shop", "settle", NOON))
    for _ in range(2):
        service._runner.make_up(fenced(job), due)
    assert len(service.pool.waiting) == 1
    service.pool.run_next()
    assert job.tokens == [due.token]


def test_the_end_of_a_run_is_told_when_its_job_may_be_fired_again() -> None:
    """What is missing of that job may follow at once."""
    job = FencedJob()
    service = FakeService([fenced(job)])
    seen: list[Any] = []
    service._runner.on_end = lambda fire, report: seen.append((fire.token, report.kind, service.under_way()))
    service.fire(fenced(job))
    service.pool.run_next()
    assert seen == [(job.tokens[0], "ok", [])]


def test_without_a_name_the_service_goes_by_the_package_of_its_fenced_jobs(report: CronJob) -> None:
    """The same on every machine, wherever the program lies."""
    job = FencedJob()
    job.__module__ = "shop.billing.jobs"
    assert FakeService([report, fenced(job)]).name == "shop"


# --- the watchdog --------------------------------------------------------------------------------------------------


def test_a_scheduler_whose_thread_has_died_is_replaced(
    settle: CronJob, lines: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception in APScheduler's thread would end all fires without a word."""
    monkeypatch.setattr(Watchdog, "start", lambda self: None)  # The test looks in its place.
    service = FakeService([settle])
    with monkeypatch.context() as patched:
        patched.setattr(WallClockScheduler, "_main_loop", lambda self: None)
        service.start()
    first = service._scheduler
    assert first is not None
    eventually(lambda: not first.is_alive)
    service._watch_scheduler()
    assert service._scheduler is not first
    assert service._scheduler is not None
    assert service._scheduler.is_alive
    assert "watchdog" in actions(lines)
    service.stop()


def test_a_scheduler_that_works_is_left_alone(settle: CronJob) -> None:
    """The watchdog only watches."""
    service = FakeService([settle])
    service.start()
    first = service._scheduler
    service._watch_scheduler()
    assert service._scheduler is first
    assert first is not None
    service.stop()


# --- the end -------------------------------------------------------------------------------------------------------


def test_after_the_stop_nothing_fires(settle: CronJob) -> None:
    """A fire that comes a moment too late is none."""
    service = FakeService([settle])
    service.stop()
    service.fire(settle)
    assert service.pool.waiting == []


def test_a_fire_without_a_thread_is_dropped_and_named(
    settle: CronJob, calls: list[str], lines: pytest.LogCaptureFixture
) -> None:
    """It is in the log and in the report, and does not run when a thread comes to it after all."""
    service = FakeService([settle])
    service.fire(settle)
    stopped = service.stop()
    service.pool.run_next()
    assert [fire.job for fire in stopped.dropped] == [settle]
    assert actions(lines) == ["drop"]
    assert calls == []


def test_a_run_that_outlives_its_grace_is_named(lines: pytest.LogCaptureFixture) -> None:
    """It is in the log and in the report; nobody waits for its thread."""
    stopped: list[Any] = []
    slow = CronJob("slow", lambda: stopped.append(service.stop(grace=0)), NEVER_SOON)
    service = FakeService([slow])
    service.fire(slow)
    service.pool.run_next()
    assert [fire.job for fire in stopped[0].unfinished] == [slow]
    assert actions(lines) == ["wait", "cut", "run"]
    assert service.pool.shutdowns[0] == {"wait": False, "cancel_futures": True}


def test_a_stop_closes_the_pool(settle: CronJob) -> None:
    """What waits is cancelled first, and then the threads are waited for, which closes their connections."""
    service = FakeService([settle])
    service.stop()
    assert service.pool.shutdowns == [{"wait": False, "cancel_futures": True}, {"wait": True, "cancel_futures": False}]


def test_a_second_stop_returns_the_first_ones_report(settle: CronJob) -> None:
    """Stopping is idempotent."""
    service = FakeService([settle])
    assert service.stop() is service.stop()


def test_a_service_that_was_stopped_does_not_start(settle: CronJob, lines: pytest.LogCaptureFixture) -> None:
    """A signal while it was still waiting for the database is not forgotten."""
    service = FakeService([settle])
    service.stop()
    service.start()
    assert "start" not in actions(lines)


# --- signals -------------------------------------------------------------------------------------------------------


def signalling(number: signal.Signals) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_with_status_0(
    number: signal.Signals, lines: pytest.LogCaptureFixture, shutdowns: list[float]
) -> None:
    """The connections of the process are closed last."""
    service = FakeService([])
    service.start = signalling(number)  # type: ignore[method-assign]
    assert service.run_until_signalled() == 0
    assert actions(lines) == ["stop"]
    assert len(shutdowns) == 1
    assert service.has_ended


def test_a_second_signal_ends_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first end is still under way, and is not waited for."""
    never = threading.Event()
    service = FakeService([])
    service.start = signalling(signal.SIGTERM)  # type: ignore[method-assign]

    def stuck(timeout: float, *, final: bool) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        never.wait()

    monkeypatch.setattr(persistconn, "shutdown", stuck)
    assert service.run_until_signalled() == 128 + signal.SIGINT
    assert not service.has_ended
    never.set()


def test_previous_handlers_are_restored() -> None:
    """Who embeds the service has his own signals back afterwards."""
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    service = FakeService([])
    service.start = signalling(signal.SIGTERM)  # type: ignore[method-assign]
    service.run_until_signalled()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_off_the_main_thread_no_signals_are_installed() -> None:
    """It runs until stop(), and the handlers are those of the process all the while."""
    seen: list[object] = []
    service = FakeService([])

    def look_and_stop() -> None:
        seen.append(signal.getsignal(signal.SIGTERM))
        service.stop()

    service.start = look_and_stop  # type: ignore[method-assign]
    thread = threading.Thread(target=lambda: seen.append(service.run_until_signalled()))
    thread.start()
    thread.join(PATIENCE)
    assert seen == [signal.getsignal(signal.SIGTERM), 0]


def test_what_the_start_raises_is_raised_after_an_orderly_end(shutdowns: list[float]) -> None:
    """A wrong password ends the service, and the caller says so in its own words."""

    def fail() -> None:
        raise ConfigError("wrong")

    service = FakeService([])
    service.start = fail  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="wrong"):
        service.run_until_signalled()
    assert len(shutdowns) == 1


def test_run_once_runs_the_job_now_and_ends(settle: CronJob, calls: list[str]) -> None:
    """What `workers fire` does, on a real pool."""
    service = Service([settle], threads=1)
    assert service.run_once(settle) == 0
    assert calls == ["settle"]
    assert service.has_ended


# --- settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [0, -1, 1001, 1.5, True, "8", None])
def test_a_bad_number_of_threads_is_refused(threads: Any) -> None:
    """With the setting, its value and the limit."""
    with pytest.raises(ConfigError, match="threads must be a whole number from 1 to 1000, not"):
        Service([], threads=threads)


@pytest.mark.parametrize("grace", [-1, float("nan"), float("inf"), 86401, True, "30", None])
def test_a_bad_grace_is_refused(grace: Any) -> None:
    """With the setting, its value and the limit."""
    with pytest.raises(ConfigError, match="grace must be a number of seconds from 0 to 86400, not"):
        Service([], grace=grace)


@pytest.mark.parametrize(
    ("setting", "value", "complaint"),
    [
        ("takeover", 0.5, "takeover must be a number of seconds from 1 to 3600, not 0.5"),
        ("takeover", "30", "takeover must be a number of seconds"),
        ("window", 0, "window must be a number of seconds from 1 to 604800, not 0"),
        ("window", float("nan"), "window must be a number of seconds"),
        ("window", 10, r"window \(10 s\) must not be shorter than takeover \(30 s\)"),
        ("name", "a/b", "service must be a name of 1 to 100 letters"),
        ("name", "", "service must be a name"),
    ],
)
def test_a_bad_setting_of_the_fence_is_refused(setting: str, value: Any, complaint: str) -> None:
    """With the setting, its value and the limit."""
    with pytest.raises(ConfigError, match=complaint):
        Service([], **{setting: value})


def test_a_fenced_job_whose_name_the_ledger_cannot_keep_is_refused() -> None:
    """Cut off, two names could be one."""
    with pytest.raises(ConfigError, match="too long for the ledger"):
        Service([CronJob("x" * 200, FencedJob(), NEVER_SOON)])


def test_two_jobs_of_one_name_are_refused(settle: CronJob) -> None:
    """They could not be told apart."""
    with pytest.raises(ConfigError, match="two jobs have the name settle"):
        Service([settle, settle])


def test_something_else_to_warm_up_is_refused() -> None:
    """At construction, not on eight threads."""
    with pytest.raises(ConfigError, match="warm takes callables and Django aliases, not 5"):
        Service([], warm=[5])  # type: ignore[list-item]
