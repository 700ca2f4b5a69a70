"""The board of fires and the lines of the log."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone

import pymysql
import pytest

from persistconn.cronjobs import CronJob
from persistconn.once.token import fire_token
from workers.lines import log_missed, log_overlap, log_run
from workers.runs import Board, BoardClosed, Elsewhere, Fire, RunReport

UTC = timezone.utc
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def settle() -> None:
    """Stands for a job."""


SETTLE = CronJob("settle", settle, "* * * * *")
REPORT = CronJob("report", settle, "* * * * *")


def fire_of(job: CronJob = SETTLE, *, minute: int = 0) -> Fire:
    scheduled = NOON + timedelta(minutes=minute)
    return Fire(job, scheduled, queued=scheduled)


def report_of(error: BaseException | None) -> RunReport:
    return RunReport(SETTLE, NOON, started=NOON, duration=0.25, error=error)


def fail_with(text: str) -> None:
    raise ValueError(text)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "workers")
    return caplog


# --- the board -----------------------------------------------------------------------------------------------------


def test_a_job_is_under_way_once() -> None:
    """A second fire of a job that has not ended is not admitted; it is told which one goes first."""
    board, first = Board(), fire_of()
    assert board.admit(first) is None
    assert board.admit(fire_of(minute=1)) is first
    assert board.under_way() == [first]


def test_jobs_do_not_stand_in_each_others_way() -> None:
    """Only fires of the same job exclude each other."""
    board = Board()
    assert board.admit(fire_of(SETTLE)) is None
    assert board.admit(fire_of(REPORT)) is None


def test_a_job_that_has_ended_may_fire_again() -> None:
    """The end of a run makes room for the next."""
    board, first = Board(), fire_of()
    board.admit(first)
    running = board.begin(first, NOON)
    assert running is not None
    board.end(running)
    assert board.admit(fire_of(minute=1)) is None


def test_closing_drops_what_waits_and_keeps_what_runs() -> None:
    """At the stop a run goes on, a fire without a thread does not."""
    board, running, waiting = Board(), fire_of(SETTLE), fire_of(REPORT)
    board.admit(running)
    board.begin(running, NOON)
    board.admit(waiting)
    assert board.close() == [waiting]
    assert [fire.job for fire in board.under_way()] == [SETTLE]


def test_a_dropped_fire_does_not_begin_when_a_thread_comes_to_it() -> None:
    """The thread that takes it out of the queue later finds that it is off."""
    board, waiting = Board(), fire_of()
    board.admit(waiting)
    board.close()
    assert board.begin(waiting, NOON) is None


def test_a_closed_board_admits_nothing() -> None:
    """No new fires once the service stops."""
    board = Board()
    board.close()
    with pytest.raises(BoardClosed):
        board.admit(fire_of())


def test_waiting_ends_at_once_when_nothing_is_under_way() -> None:
    """The grace is an upper limit, not a sleep."""
    assert Board().wait_until_idle(3600) == []


def test_waiting_returns_what_still_runs_after_the_grace() -> None:
    """Without any patience the answer is what is under way."""
    board, fire = Board(), fire_of()
    board.admit(fire)
    running = board.begin(fire, NOON)
    assert board.wait_until_idle(0) == [running]


# --- the lines -----------------------------------------------------------------------------------------------------


def test_a_run_is_one_line_with_job_time_duration_and_outcome(lines: pytest.LogCaptureFixture) -> None:
    """People read the message, machines the fields."""
    log_run(report_of(None))
    [record] = lines.records
    assert record.getMessage() == "run settle scheduled 2026-01-05 12:00:00+00:00 took 0.250 s: ok"
    fields = {name: vars(record)[name] for name in ("action", "job", "scheduled", "duration", "outcome")}
    assert fields == {
        "action": "run",
        "job": "settle",
        "scheduled": "2026-01-05T12:00:00+00:00",
        "duration": 0.25,
        "outcome": "ok",
    }


def test_a_failed_run_says_what_failed_and_carries_the_traceback(lines: pytest.LogCaptureFixture) -> None:
    """The message stays one line, whatever the error's text looks like."""
    with pytest.raises(ValueError, match="customer") as caught:
        fail_with("invoice 7\n  has no customer")
    log_run(report_of(caught.value))
    [record] = lines.records
    assert record.getMessage().endswith("took 0.250 s: failed: ValueError: invoice 7 has no customer")
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[2] is not None


@pytest.mark.parametrize(
    ("elsewhere", "kind", "outcome"),
    [
        (Elsewhere.DONE, "done", "done by another machine"),
        (Elsewhere.UNDER_WAY, "under_way", "under way on another machine"),
        (Elsewhere.CANCELLED, "cancelled", "cancelled"),
    ],
)
def test_a_fire_that_another_machine_has_is_told_as_that(
    elsewhere: Elsewhere, kind: str, outcome: str, lines: pytest.LogCaptureFixture
) -> None:
    """No error, and no success of this machine's either."""
    log_run(RunReport(SETTLE, NOON, NOON, 0.25, None, elsewhere))
    [record] = lines.records
    assert record.levelno == logging.INFO
    assert record.getMessage() == f"run settle scheduled 2026-01-05 12:00:00+00:00 took 0.250 s: {outcome}"
    assert vars(record)["outcome"] == kind


def test_a_run_that_was_made_up_says_so(lines: pytest.LogCaptureFixture) -> None:
    """Its scheduled time is past, and that is why."""
    log_run(RunReport(SETTLE, NOON, NOON, 0.25, None, is_made_up=True))
    assert lines.records[0].getMessage().startswith("made up settle scheduled")


def test_asking_for_what_another_machine_is_at_is_no_news(lines: pytest.LogCaptureFixture) -> None:
    """Each machine asks every few seconds, for as long as the job takes."""
    log_run(RunReport(SETTLE, NOON, NOON, 0.25, None, Elsewhere.UNDER_WAY, is_made_up=True))
    assert lines.records == []


def test_an_overlap_of_a_fenced_job_is_put_off(lines: pytest.LogCaptureFixture) -> None:
    """Nothing is left out: its token is missing in the ledger, and is made up."""
    token = fire_token("shop", "settle", NOON)
    log_overlap(Fire(SETTLE, NOON, NOON, token=token), fire_of())
    assert lines.records[0].getMessage().startswith("put off settle scheduled")
    assert lines.records[0].levelno == logging.INFO


def test_a_failed_run_for_want_of_a_connection_says_what_to_do() -> None:
    """The number of the driver's error is enough to know the remedy."""
    report = report_of(pymysql.err.OperationalError(1040, "Too many connections"))
    assert "max_connections" in report.outcome


def test_an_overlap_says_since_when_the_job_has_been_running(lines: pytest.LogCaptureFixture) -> None:
    """One warning for each fire that is left out: job, scheduled time, and why."""
    board, first = Board(), fire_of()
    board.admit(first)
    running = board.begin(first, NOON + timedelta(seconds=3))
    assert running is not None
    log_overlap(fire_of(minute=1), running)
    [record] = lines.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "left out settle scheduled 2026-01-05 12:01:00+00:00: it is still running since 2026-01-05 12:00:03+00:00"
    )


def test_an_overlap_with_a_fire_that_waits_says_so(lines: pytest.LogCaptureFixture) -> None:
    """With all threads busy the fires of one job do not pile up, and that is told too."""
    log_overlap(fire_of(minute=1), fire_of())
    [record] = lines.records
    assert "its fire of 2026-01-05 12:00:00+00:00 still waits for a free thread" in record.getMessage()


def test_missed_times_are_told_in_one_line(lines: pytest.LogCaptureFixture) -> None:
    """A laptop that slept through the night does not write a line for each second of it."""
    log_missed(SETTLE, [NOON + timedelta(seconds=n) for n in range(3600)])
    [record] = lines.records
    assert "scheduled 2026-01-05 12:00:00+00:00 and 3599 more until 2026-01-05 12:59:59+00:00" in record.getMessage()
