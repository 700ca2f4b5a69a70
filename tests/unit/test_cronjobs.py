"""@cron: which times an expression means, and which jobs are refused. Pure: no clock, no thread, no server."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from persistconn.cronjobs import CronJob, cron, registered
from persistconn.errors import ConfigError
from persistconn.once.job import job

UTC = timezone.utc
VIENNA = ZoneInfo("Europe/Vienna")


def settle() -> None:
    """Stands for a job."""


def report() -> None:
    """Stands for another job."""


@pytest.fixture(autouse=True)
def empty_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["persistconn.cronjobs"], "_jobs", {})


def times(expression: str, after: datetime, n: int = 3, zone: str = "UTC") -> list[str]:
    job = CronJob("settle", settle, expression, zone)
    return [moment.isoformat() for moment in job.next_times(after, n)]


# --- times ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sunday", ["0", "7", "SUN"])
def test_weekday_0_and_7_are_sunday(sunday: str) -> None:
    """Weekdays are numbered as in crontab(5), where APScheduler's from_crontab takes 0 for Monday."""
    assert times(f"0 2 * * {sunday}", datetime(2026, 1, 1, tzinfo=UTC), 1) == ["2026-01-04T02:00:00+00:00"]


def test_day_of_month_or_weekday_when_both_are_given() -> None:
    """As in crontab(5), a job with both restricted runs on days that match either."""
    expected = ["2026-01-05T00:00:00+00:00", "2026-01-12T00:00:00+00:00", "2026-01-13T00:00:00+00:00"]
    assert expected == times("0 0 13 * MON", datetime(2026, 1, 1, tzinfo=UTC))


def test_six_fields_begin_with_the_seconds() -> None:
    """A sixth field stands in front and gives the seconds."""
    expected = ["2026-01-01T00:00:02+00:00", "2026-01-01T00:00:04+00:00"]
    assert expected == times("*/2 * * * * *", datetime(2026, 1, 1, microsecond=1, tzinfo=UTC), 2)


def test_the_next_time_is_after_the_moment_never_at_it() -> None:
    """A moment that matches is not its own next time, or a fire would follow itself."""
    assert times("*/5 * * * *", datetime(2026, 1, 1, tzinfo=UTC), 1) == ["2026-01-01T00:05:00+00:00"]


def test_a_moment_just_before_a_time_finds_that_time() -> None:
    """Fractions of a second do not push a fire to the next slot."""
    just_before = datetime(2026, 1, 1, 0, 4, 59, 999_999, tzinfo=UTC)
    assert times("*/5 * * * *", just_before, 1) == ["2026-01-01T00:05:00+00:00"]


def test_times_are_in_the_zone_of_the_job_whatever_zone_the_moment_is_in() -> None:
    """The expression is read in the job's time zone."""
    assert times("0 2 * * *", datetime(2026, 1, 1, tzinfo=UTC), 1, "Europe/Vienna") == ["2026-01-01T02:00:00+01:00"]


def test_a_time_that_the_clocks_skip_runs_right_after_the_gap() -> None:
    """On 29 March 2026 there is no 02:30 in Vienna: the daily job runs at 03:00, once, and the next day as ever."""
    expected = ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]
    assert expected == times("30 2 * * *", datetime(2026, 3, 28, 12, tzinfo=VIENNA), 2, "Europe/Vienna")


def test_a_time_that_comes_twice_runs_once() -> None:
    """On 25 October 2026 there are two 02:30 in Vienna: the daily job runs at the first."""
    expected = ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]
    assert expected == times("30 2 * * *", datetime(2026, 10, 24, 12, tzinfo=VIENNA), 2, "Europe/Vienna")


def test_a_start_within_the_second_of_two_hours_does_not_go_back_in_time() -> None:
    """At the second 02:15 the daily job of 02:30 has run already: its next time is tomorrow's, not one that is past."""
    second = datetime(2026, 10, 25, 2, 15, tzinfo=VIENNA, fold=1)
    assert times("30 2 * * *", second, 1, "Europe/Vienna") == ["2026-10-26T02:30:00+01:00"]


def test_every_half_hour_keeps_to_real_time_when_the_clocks_change() -> None:
    """A job by interval misses nothing in the hour that comes twice."""
    expected = [
        "2026-10-25T02:00:00+02:00",
        "2026-10-25T02:30:00+02:00",
        "2026-10-25T02:00:00+01:00",
        "2026-10-25T02:30:00+01:00",
        "2026-10-25T03:00:00+01:00",
    ]
    assert expected == times("*/30 * * * *", datetime(2026, 10, 25, 1, 45, tzinfo=VIENNA), 5, "Europe/Vienna")


def days_of_change(zone: ZoneInfo) -> list[datetime]:
    """Return the days of 2026 on which the zone's clocks are changed."""
    noons = [datetime(2026, 1, 1, 12, tzinfo=zone) + timedelta(days=n) for n in range(364)]
    return [noon for noon in noons if noon.utcoffset() != (noon + timedelta(days=1)).utcoffset()]


@pytest.mark.parametrize("zone", ["Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo"])
@pytest.mark.parametrize("expression", ["30 2 * * *", "*/20 * * * *", "0 0 * * *", "15 30 1,2 * * *", "0 */3 * * *"])
def test_times_only_ever_go_forward_and_exist(expression: str, zone: str) -> None:
    """Around each change of the clocks a time is later than the one before, and is what a clock on the wall shows."""
    job = CronJob("settle", settle, expression, zone)
    changes = days_of_change(ZoneInfo(zone))
    assert len(changes) == 2
    for noon in changes:
        moment = noon
        while moment < noon + timedelta(days=2):
            following = job.next_after(moment)
            assert following.astimezone(UTC) > moment.astimezone(UTC)
            assert following.isoformat() == following.astimezone(UTC).astimezone(job.zone).isoformat()
            moment = following


def test_a_midnight_that_the_clocks_skip_goes_by_the_time_that_the_wall_shows() -> None:
    """In Cairo 24 April 2026 begins at 01:00: what matches within its first hour is left out, as any such time."""
    before = datetime(2026, 4, 1, tzinfo=UTC)
    assert times("*/20 0 24 4 *", before, 1, "Africa/Cairo") == ["2027-04-24T00:00:00+02:00"]
    assert times("0 0 24 4 *", before, 1, "Africa/Cairo") == ["2026-04-24T01:00:00+03:00"]


def test_a_time_that_the_clocks_skip_by_half_an_hour_is_made_up_for_right_after_it() -> None:
    """On Lord Howe Island 4 October 2026 has no 02:15: its summer is half an hour."""
    expected = ["2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"]
    assert expected == times("15 2 * * *", datetime(2026, 10, 3, tzinfo=UTC), 2, "Australia/Lord_Howe")


def test_no_hour_is_stepped_over_where_the_clocks_go_back_by_half_an_hour() -> None:
    """On Lord Howe Island 5 April 2026 has 01:30 to 02:00 twice, and 03:00 all the same."""
    expected = ["2026-04-05T00:00:00+11:00", "2026-04-05T03:00:00+10:30"]
    assert expected == times("0 */3 * * *", datetime(2026, 4, 4, 12, 59, tzinfo=UTC), 2, "Australia/Lord_Howe")


# --- dst="once" ----------------------------------------------------------------------------------------------------


def once(expression: str, after: datetime, n: int = 2, zone: str = "Europe/Vienna") -> list[str]:
    job = CronJob("settle", settle, expression, zone, dst="once")
    return [moment.isoformat() for moment in job.next_times(after, n)]


def test_once_fires_a_time_of_six_fields_that_comes_twice_at_its_first_showing() -> None:
    """By default it would fire at both, for six fields go by the clock on the wall."""
    before = datetime(2026, 10, 25, tzinfo=VIENNA)
    both = ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"]
    assert both == times("0 30 2 * * *", before, 2, "Europe/Vienna")
    assert once("0 30 2 * * *", before) == ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]


def test_once_fires_a_time_of_six_fields_that_is_left_out_right_after_the_gap() -> None:
    """Once is once each day, on the shortest too."""
    before = datetime(2026, 3, 29, tzinfo=VIENNA)
    assert once("0 30 2 * * *", before) == ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]


def test_once_fires_several_times_that_a_gap_has_swallowed_as_one() -> None:
    """There is but one moment right after it."""
    before = datetime(2026, 3, 29, 1, 59, tzinfo=VIENNA)
    assert once("*/30 * * * *", before) == ["2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"]


def test_once_changes_nothing_for_a_fixed_time_of_five_fields() -> None:
    """That fires once by itself."""
    before = datetime(2026, 1, 1, tzinfo=UTC)
    assert once("30 2 * * *", before, 365) == times("30 2 * * *", before, 365, "Europe/Vienna")


def test_once_gives_each_fire_its_local_time_for_a_name() -> None:
    """So it is the same fire on machines that do not agree on when the clocks change."""
    first = datetime(2026, 10, 25, 2, 30, tzinfo=VIENNA)
    assert CronJob("settle", settle, "0 30 2 * * *", "Europe/Vienna", "once").wall(first) == "2026-10-25T02:30:00"
    assert CronJob("settle", settle, "0 30 2 * * *", "Europe/Vienna").wall(first) is None


@pytest.mark.parametrize("dst", ["twice", "", True, 1])
def test_another_word_for_dst_is_refused(dst: Any) -> None:
    """With the job, the value and what there is."""
    with pytest.raises(ConfigError, match=r'settle: dst must be "once" or None, not'):
        cron("* * * * *", dst=dst)(settle)


# --- where the search begins ---------------------------------------------------------------------------------------

ZONES = ["America/New_York", "Europe/London", "Australia/Lord_Howe", "Africa/Cairo"]
EXPRESSIONS = ["30 2 * * *", "0,30 1,2 * * *", "*/20 * * * *", "0 */3 * * *", "15 30 1,2 * * *", "0 0 */6 * * *"]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("dst", [None, "once"])
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_the_times_are_the_same_wherever_the_search_begins(expression: str, dst: str | None, zone: str) -> None:
    """Machines start at different moments, and must come to the same fires, through every change of the clocks."""
    job = CronJob("settle", settle, expression, zone, dst)
    for noon in days_of_change(ZoneInfo(zone)):
        first, last = noon.astimezone(UTC), noon.astimezone(UTC) + timedelta(hours=30)
        whole = [moment.astimezone(UTC) for moment in job.between(first, last)]
        for n in range(40):
            start = first + timedelta(minutes=37 * n)
            found = [moment.astimezone(UTC) for moment in job.between(start, last)]
            assert found == [moment for moment in whole if moment > start]


def test_a_moment_without_a_time_zone_is_refused() -> None:
    """A naive moment means another time on each machine."""
    with pytest.raises(ValueError, match="time zone"):
        CronJob("settle", settle, "* * * * *").next_after(datetime(2026, 1, 1))  # noqa: DTZ001


def test_between_takes_in_its_end_and_leaves_out_its_beginning() -> None:
    """Two stretches that follow each other have no time in common, and miss none."""
    job = CronJob("settle", settle, "*/5 * * * *")
    noon = datetime(2026, 1, 5, 12, tzinfo=UTC)
    assert list(job.between(noon, noon + timedelta(minutes=5))) == [noon + timedelta(minutes=5)]


# --- registration --------------------------------------------------------------------------------------------------


def test_the_decorator_returns_the_function_itself() -> None:
    """A cron job stays a plain function, to be called and tested as such."""
    assert settle is cron("* * * * *")(settle)


def test_the_default_name_is_module_and_function() -> None:
    """The name in the log is the one that finds the code."""
    cron("* * * * *")(settle)
    assert [f"{__name__}.settle"] == [job.name for job in registered()]


def test_utc_is_the_default_time_zone() -> None:
    """A time that is the same on every machine, and never comes twice."""
    cron("* * * * *")(settle)
    assert [job.timezone for job in registered()] == ["UTC"]


def test_a_module_that_is_loaded_again_replaces_its_jobs() -> None:
    """After a reload there is one job with the new expression, not an error and not two jobs."""
    for expression in ("1 * * * *", "2 * * * *"):
        module = ModuleType("again")
        source = f"@cron({expression!r})\ndef settle(): pass"
        exec(compile(source, "again.py", "exec"), {**vars(module), "cron": cron})
    assert [job.expression for job in registered()] == ["2 * * * *"]


def test_a_name_that_another_function_has_is_refused() -> None:
    """Two jobs under one name could not be told apart in the log or on the command line."""
    cron("* * * * *", name="nightly")(settle)
    with pytest.raises(ConfigError, match=r"two cron jobs are named nightly.*name="):
        cron("* * * * *", name="nightly")(report)


def test_a_second_expression_for_one_function_needs_a_name() -> None:
    """Without one the first expression would be lost in silence."""
    cron("1 * * * *")(settle)
    with pytest.raises(ConfigError, match=r"two expressions.*name="):
        cron("2 * * * *")(settle)


def test_one_function_may_have_two_jobs_with_names() -> None:
    """The name is the job's, not the function's."""
    cron("1 * * * *", name="early")(settle)
    cron("2 * * * *", name="late")(settle)
    assert [job.name for job in registered()] == ["early", "late"]


def test_a_job_is_immutable() -> None:
    """What is registered is what runs."""
    with pytest.raises(AttributeError):
        CronJob("settle", settle, "* * * * *").name = "other"  # type: ignore[misc]


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "expression",
    ["", "61 * * * *", "* * * *", "* * * * * * *", "@daily", "*/0 * * * *", "a b c d e", "9" * 6000 + " * * * *"],
)
def test_a_bad_expression_is_refused_with_the_job_and_how_to_write_one(expression: str) -> None:
    """At decoration, in one line, without the expression's six thousand characters."""
    with pytest.raises(ConfigError) as refusal:
        cron(expression)(settle)
    text = str(refusal.value)
    assert f"{__name__}.settle" in text
    assert "write five fields" in text
    assert len(text) < 400


@pytest.mark.parametrize("expression", ["0 0 30 2 *", "0 0 31 4 *", "0 0 */30 2 7#5"])
def test_an_expression_that_never_matches_is_refused(expression: str) -> None:
    """A job that never runs is a mistake that nobody would see."""
    with pytest.raises(ConfigError, match=r"settle.*(Bad day-of-month|never matches)"):
        cron(expression)(settle)


def test_the_29th_of_february_is_a_date() -> None:
    """What comes every four years comes."""
    assert times("0 0 29 2 *", datetime(2026, 1, 1, tzinfo=UTC), 1) == ["2028-02-29T00:00:00+00:00"]


@pytest.mark.parametrize(
    ("zone", "advice"),
    [
        ("Europe/Wien", "Europe/Vienna"),
        ("Vienna", "Europe/Vienna"),
        ("../../etc/passwd", "IANA"),
        ("", "IANA"),
        (5, "IANA"),
    ],
)
def test_an_unknown_time_zone_is_refused_with_what_was_meant(zone: Any, advice: str) -> None:
    """The refusal names the job, the zone and one that exists."""
    with pytest.raises(ConfigError, match=rf"settle: unknown time zone.*{advice}"):
        cron("* * * * *", timezone=zone)(settle)


def test_a_job_under_cron_is_fenced_and_a_plain_function_is_not() -> None:
    """What takes effect once needs the ledger, the rest runs as ever."""
    fenced = job(name="settle")(settle)
    assert cron("* * * * *", name="fenced")(fenced) is fenced
    cron("* * * * *", name="plain")(settle)
    assert [(found.name, found.fenced) for found in registered()] == [("fenced", fenced), ("plain", None)]


def test_a_job_with_a_key_is_refused_under_cron() -> None:
    """A fire is named by its time, and the key would be passed over in silence."""
    with pytest.raises(ConfigError, match=r"settle has @job\(key=...\).*take key= away"):
        cron("* * * * *", name="settle")(job(key=lambda: "always")(settle))


def test_the_decorator_without_its_expression_is_refused() -> None:
    """`@cron` above a function is a slip that must not wait for the first fire."""
    with pytest.raises(ConfigError, match="takes a cron expression"):
        cron(settle)  # type: ignore[arg-type]


@pytest.mark.parametrize("nameless", [lambda: None, functools.partial(settle)])
def test_a_function_without_a_name_of_its_own_needs_one(nameless: Callable[[], None]) -> None:
    """All lambdas of a module share a name, and the last would replace the others in silence."""
    with pytest.raises(ConfigError, match="name="):
        cron("* * * * *")(nameless)


async def settle_later() -> None:
    """Stands for a job that was written for asyncio."""
    await asyncio.sleep(0)


def settle_each() -> Any:
    """Stands for a job with a yield in it."""
    yield


def settle_one(invoice: int) -> None:
    """Stands for a job that expects an argument."""


@pytest.mark.parametrize(
    ("function", "why"),
    [(settle_later, "async"), (settle_each, "generator"), (settle_one, "'invoice'"), (5, "cannot be called")],
)
def test_a_function_that_a_plain_call_would_not_run_is_refused(function: Any, why: str) -> None:
    """An async function, a generator, or one with required arguments would do nothing at each fire but fail."""
    with pytest.raises(ConfigError, match=rf"cron job settle.*{why}"):
        cron("* * * * *", name="settle")(function)
