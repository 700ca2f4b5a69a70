"""Runs a job once for each place at which its connection can be lost, and compares the outcomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from persistconn.once.job import Job, KeyedJob, run
from persistconn.once.line import Line, apart
from persistconn.once.token import random_token
from persistconn.testing.replay.faults import Fault, Faulty, Where
from persistconn.testing.replay.spy import SPY
from persistconn.testing.replay.tables import RowsOf, Tables, differences


@dataclass(frozen=True)
class ReplayReport:
    """How a job stood the loss of its connection: each difference from its run without one."""

    job: str
    faults: tuple[Fault, ...]
    differences: tuple[str, ...]

    def __str__(self) -> str:
        head = f"the job {self.job}, with its connection lost at {len(self.faults)} places"
        if not self.differences:
            return f"{head}: no difference"
        return "\n  ".join([f"{head}, is not safe to replay:", *self.differences])


@dataclass(frozen=True)
class _Outcome:
    result: Any
    error: BaseException | None
    rows: RowsOf
    deeds: Counter[str]


def assert_replay_safe(
    job: Job[..., Any] | KeyedJob[..., Any],
    *args: Any,
    ignore: Collection[str] = (),
    database: str | None = None,
    **kwargs: Any,
) -> ReplayReport:
    """Run a job with a loss before each of its statements, before COMMIT and of its answer; fail if an outcome differs.

    Compared with a run without a loss: the rows of all tables (without AUTO_INCREMENT numbers, references to them, and the
    columns in ``ignore``, written ``table.column``), the result, and what was done outside of the database by Python on
    this thread: files opened for writing, connections, programs started. The rows are put back after each run, so it takes
    a database whose name contains ``test``, or is named by ``database``. Raises AssertionError with the report.
    """
    plain = job.job if isinstance(job, KeyedJob) else job
    if not isinstance(plain, Job):
        raise TypeError(f"assert_replay_safe() takes a function under @persistconn.job, not {job!r}")
    line = Line(plain.settings.site(plain.name).connection(plain.name))
    schema = _checked_schema(line, database)
    with apart(line.opening) as ask:
        tables = Tables(ask, schema, ignore)
        before = tables.rows()
        first = Faulty(Fault(Where.NOWHERE))
        expected = _observe(plain, args, kwargs, line, tables, first)
        tables.put_back(before)
        if expected.error is not None:
            raise expected.error
        faults = tuple(_faults(first.statements))
        told: list[str] = []
        for fault in faults:
            found = _observe(plain, args, kwargs, line, tables, Faulty(fault))
            tables.put_back(before)
            told += [f"{fault}: {difference}" for difference in _compare(expected, found)]
    report = ReplayReport(plain.name, faults, tuple(told))
    if told:
        raise AssertionError(str(report))
    return report


def _checked_schema(line: Line, database: str | None) -> str:
    schema = line.schema
    if "test" not in schema.lower() and schema != database:
        raise ValueError(
            f"assert_replay_safe() empties and refills tables, and {schema!r} does not look like a test's database:"
            f" say database={schema!r} if it is one"
        )
    return schema


def _faults(statements: int) -> Iterator[Fault]:
    for ordinal in range(1, statements + 1):
        yield Fault(Where.STATEMENT, ordinal)
    yield Fault(Where.COMMIT)
    yield Fault(Where.ANSWER)


def _observe(
    job: Job[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], line: Line, tables: Tables, attempts: Faulty
) -> _Outcome:
    order = job.order(random_token(job.name, datetime.now(timezone.utc)), args, kwargs)
    result, error = None, None
    with SPY.watching(line.addresses) as deeds:
        try:
            result = run(order, job.settings.site(job.name), job.settings.retries, attempt=attempts)
        except Exception as raised:
            error = raised
    return _Outcome(result, error, tables.compared(tables.rows()), deeds)


def _compare(expected: _Outcome, found: _Outcome) -> list[str]:
    if found.error is not None:
        return [f"it raised {type(found.error).__name__}: {found.error}"]
    told = differences(expected.rows, found.rows)
    if found.result != expected.result:
        told.append(f"it returned {found.result!r} instead of {expected.result!r}")
    for deed, count in (found.deeds - expected.deeds).items():
        told.append(f"{deed}: {count + expected.deeds[deed]} times instead of {expected.deeds[deed]}")
    return told
