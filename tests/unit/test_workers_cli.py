"""The command line: what it prints, what it refuses, and with which exit status. No server, no thread that lasts."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pymysql
import pytest

import persistconn
from persistconn.errors import ConfigError, DatabaseUnavailable, bind
from persistconn.testing.waiting import PATIENCE
from workers.cli import complaint_of, main
from workers.jobs import service_name

Write = Callable[[str, str], None]
JOBS = """
    from persistconn.cronjobs import cron

    @cron("*/5 * * * *", timezone="Europe/Vienna")
    def settle():
        print("settled")

    @cron("0 2 * * *")
    def report():
        raise ValueError("no invoice 7")
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a module into an empty working directory; whatever gets imported is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys.modules["persistconn.cronjobs"], "_jobs", {})
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    monkeypatch.setattr(persistconn, "shutdown", lambda timeout: None)
    # The command line ends its process, which is that of the tests here, if a thread needs longer than that for its end.
    for name in ("PATIENT", "A_MOMENT"):
        monkeypatch.setattr(f"workers.service.{name}", PATIENCE)
    before = set(sys.modules)

    def write(path: str, source: str) -> None:
        target = tmp_path / path
        target.parent.mkdir(exist_ok=True)
        target.write_text(textwrap.dedent(source), encoding="utf-8")

    yield write
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture(autouse=True)
def levels() -> Iterator[None]:
    """Give the loggers back the levels that `--log-level` changes."""
    names = ("workers", "persistconn", "apscheduler")
    before = {name: logging.getLogger(name).level for name in names}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def refusal(capsys: pytest.CaptureFixture[str], *argv: str, status: int = 2) -> str:
    """Run the command line, check that it ends with one line on stderr and this status, and return the line."""
    assert main(argv) == status
    printed = capsys.readouterr()
    assert printed.out == ""
    [line] = printed.err.splitlines()
    return line


# --- what it does --------------------------------------------------------------------------------------------------


def test_jobs_lists_each_job_with_its_next_three_times(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Name, expression, time zone and three times in that zone, a line a job."""
    write("billing_jobs.py", JOBS)
    assert main(["jobs", "billing_jobs"]) == 0
    report, settle = capsys.readouterr().out.splitlines()
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:00[+-]\d\d:00"
    assert re.fullmatch(rf"billing_jobs\.settle +\*/5 \* \* \* \* +Europe/Vienna(  {time}){{3}}", settle)
    assert re.fullmatch(rf"billing_jobs\.report +0 2 \* \* \* +UTC +({time}( |$)+){{3}}", report)


def test_jobs_of_the_modules_below_a_package_belong_to_it(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """`jobs` may be a package that imports its parts."""
    write("billing/__init__.py", "from billing import daily")
    write("billing/daily.py", JOBS)
    assert main(["jobs", "billing"]) == 0
    assert "billing.daily.settle" in capsys.readouterr().out


def test_jobs_that_a_module_merely_imports_are_not_its_own(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Another service runs them, perhaps, and both would."""
    write("billing_jobs.py", JOBS)
    write(
        "other_jobs.py",
        "import billing_jobs\nfrom persistconn.cronjobs import cron\n@cron('* * * * *')\ndef own(): pass",
    )
    assert main(["jobs", "other_jobs"]) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("other_jobs.own")


def test_fire_runs_one_job_now(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Its exit status is 0 if the job returns."""
    write("billing_jobs.py", JOBS)
    assert main(["fire", "billing_jobs.settle", "billing_jobs"]) == 0
    assert capsys.readouterr().out == "settled\n"


def test_fire_ends_with_1_if_the_job_fails(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    """The line of the run says why."""
    write("billing_jobs.py", JOBS)
    assert main(["fire", "billing_jobs.report", "billing_jobs"]) == 1
    assert "failed: ValueError: no invoice 7" in caplog.text


def test_help_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    """And names all commands."""
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n    {command} " in shown for command in ("run", "jobs", "fire", "runs", "cancel", "demo"))


def test_the_module_is_the_command_line(tmp_path: Path) -> None:
    """`python -m workers` finds jobs in the directory where it is started, under the public decorator's name."""
    (tmp_path / "billing_jobs.py").write_text(
        "import persistconn\n@persistconn.cron('* * * * *')\ndef settle(): pass\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "workers", "jobs", "billing_jobs"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("billing_jobs.settle")


# --- what it refuses -----------------------------------------------------------------------------------------------


def test_an_unknown_job_is_refused_with_those_that_are_close(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """A slip of the finger costs one look."""
    write("billing_jobs.py", JOBS)
    line = refusal(capsys, "fire", "billing_jobs.setle", "billing_jobs")
    assert line == "workers: there is no job billing_jobs.setle: did you mean billing_jobs.settle?"


def test_the_last_part_of_a_jobs_name_finds_the_whole(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody remembers the module."""
    write("billing_jobs.py", JOBS)
    assert "did you mean billing_jobs.report?" in refusal(capsys, "fire", "report", "billing_jobs")


def test_a_module_that_is_not_there_is_refused(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """With the place where it was looked for."""
    line = refusal(capsys, "run", "billing_jobs")
    assert line.startswith(f"workers: there is no module billing_jobs (looked in {os.getcwd()}")


def test_a_module_whose_package_is_not_there_is_refused_with_the_package(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """The part that is missing is the one to correct."""
    assert "there is no module biling (" in refusal(capsys, "run", "biling.jobs")


def test_a_module_that_imports_what_is_not_there_is_refused_with_the_import(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not to be taken for the module itself being away."""
    write("billing_jobs.py", "\nimport stripe_of_old\n")
    line = refusal(capsys, "run", "billing_jobs")
    assert "module billing_jobs does not import: ModuleNotFoundError: No module named 'stripe_of_old'" in line
    assert line.endswith("billing_jobs.py, line 2)")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def settle(:", "SyntaxError: invalid syntax (billing_jobs.py, line 1)"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise ValueError('two\\nlines')", "ValueError: two lines"),
    ],
)
def test_a_module_that_does_not_import_is_refused_with_the_last_line(
    source: str, reason: str, write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """The module, and what the last line of the traceback would say."""
    write("billing_jobs.py", source)
    assert f"module billing_jobs does not import: {reason}" in refusal(capsys, "run", "billing_jobs")


def test_the_traceback_is_shown_when_asked_for(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """And only then."""
    write("billing_jobs.py", "1 / 0")
    assert main(["run", "billing_jobs", "--traceback"]) == 2
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["billing_jobs.py", "./billing_jobs.py", "billing/jobs.py", "billing jobs", ""])
def test_a_path_is_refused_as_a_modules_name(name: str, write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """With the name that was meant."""
    assert "is no module's name: write it with dots" in refusal(capsys, "run", name)


def test_a_module_without_jobs_is_refused(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """A service that runs nothing would look like one that has nothing to do."""
    write("billing_jobs.py", "")
    line = refusal(capsys, "run", "billing_jobs")
    assert line == "workers: module billing_jobs has no jobs: put @persistconn.cron above a function"


def test_a_module_that_only_imports_jobs_is_refused_with_where_they_are(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """The module to name is the one that defines them."""
    write("billing_jobs.py", JOBS)
    write("all_jobs.py", "from billing_jobs import settle")
    assert refusal(capsys, "run", "all_jobs").endswith("has no jobs: name billing_jobs, which it imports")


def test_a_bad_expression_is_refused_with_job_and_place(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """The line says what to write, and where it stands."""
    write("billing_jobs.py", "from persistconn.cronjobs import cron\n@cron('61 * * * *')\ndef settle(): pass")
    line = refusal(capsys, "run", "billing_jobs")
    assert 'cron job billing_jobs.settle: "61 * * * *" is no cron expression' in line
    # Up to Python 3.10 the call of a decorator stands at the line of its function.
    assert re.search(r"billing_jobs\.py, line [23]\)", line)


def test_without_django_a_module_must_be_named(
    write: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One message with both ways out."""
    # Another test may have set Django up in this process.
    monkeypatch.delitem(sys.modules, "django.apps", raising=False)
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    line = refusal(capsys, "run")
    assert "python -m workers run myapp.jobs" in line
    assert "DJANGO_SETTINGS_MODULE" in line


@pytest.mark.parametrize(
    ("option", "value", "limit"),
    [
        ("--threads", "0", "threads must be a whole number from 1 to 1000, not 0"),
        ("--threads", "many", "'many' is no whole number"),
        ("--threads", "1.5", "'1.5' is no whole number"),
        ("--grace", "-1", "grace must be a number of seconds from 0 to 86400, not -1.0"),
        ("--grace", "nan", "not nan"),
        ("--grace", "soon", "'soon' is no number"),
        ("--log-level", "loud", "invalid choice"),
        ("--service", "a/b", "service must be a name of 1 to 100 letters, digits, dots"),
        ("--takeover", "0.5", "takeover must be a number of seconds from 1 to 3600, not 0.5"),
        ("--window", "700000", "window must be a number of seconds from 1 to 604800, not 700000.0"),
    ],
)
def test_a_bad_option_is_refused_with_its_value_and_limit(
    option: str, value: str, limit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is imported."""
    line = refusal(capsys, "run", "billing_jobs", f"{option}={value}")
    assert line.startswith(f"workers run: argument {option}: ")
    assert limit in line


@pytest.mark.parametrize("last", ["0", "100001", "all"])
def test_a_bad_number_of_runs_is_refused(last: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Before anybody asks a server."""
    assert "argument --last: " in refusal(capsys, "runs", "billing_jobs", f"--last={last}")


def test_a_window_that_is_shorter_than_a_takeover_is_refused(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """A fire would be out of sight before it is made up."""
    write("billing_jobs.py", JOBS)
    line = refusal(capsys, "run", "billing_jobs", "--window=20")
    assert line == "workers: window (20 s) must not be shorter than takeover (30 s)"


@pytest.mark.parametrize("command", [["runs"], ["cancel", "01a1"]])
def test_without_a_job_that_has_a_ledger_there_is_none_to_ask(
    command: list[str], write: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line says what such a job is."""
    monkeypatch.delitem(sys.modules, "django.apps", raising=False)
    write("billing_jobs.py", JOBS)
    line = refusal(capsys, *command, "billing_jobs")
    assert line == "workers: billing_jobs: no cron job there is a @persistconn.job, so none has a ledger"


def test_an_alias_without_django_is_refused(
    write: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be passed over in silence."""
    monkeypatch.delitem(sys.modules, "django.apps", raising=False)
    write("billing_jobs.py", JOBS)
    assert "DJANGO_SETTINGS_MODULE is not set" in refusal(capsys, "runs", "billing_jobs", "--using=other")


@pytest.mark.parametrize(
    ("given", "settings", "modules", "expected"),
    [
        ("till", "shop.settings", ["billing.jobs"], "till"),
        (None, "shop.settings.live", ["billing.jobs"], "shop"),
        (None, None, ["billing.jobs", "other"], "billing"),
        (None, None, [], None),
    ],
)
def test_the_service_goes_by_the_settings_or_the_first_module(
    given: str | None,
    settings: str | None,
    modules: list[str],
    expected: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Machines that run the same program have the same name, without a word."""
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    if settings is not None:
        monkeypatch.setenv("DJANGO_SETTINGS_MODULE", settings)
    assert service_name(given, modules) == expected


@pytest.mark.parametrize("argv", [[], ["walk"], ["fire"], ["run", "--fast"], ["cancel", "xyz!"]])
def test_a_call_that_is_none_is_refused_in_one_line(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With the way to the help."""
    assert "--help" in refusal(capsys, *argv)


# --- the database --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "status", "advice"),
    [
        (1045, 2, "check user and password"),
        (1049, 2, "create the database"),
        (1040, 1, "max_connections"),
        (2003, 1, "is the server up"),
    ],
)
def test_a_driver_that_cannot_connect_is_told_with_what_to_do(number: int, status: int, advice: str) -> None:
    """2 is for what the user has to change, 1 for a database that cannot be reached."""
    complaint = complaint_of(pymysql.err.OperationalError(number, "the driver's text"))
    assert (complaint.status, advice in str(complaint)) == (status, True)
    assert "the driver's text" in str(complaint)


def test_a_database_that_stayed_away_is_told_with_its_cause() -> None:
    """The keeper's error says how long, the driver's below it what to do."""
    unavailable = bind(pymysql.err.OperationalError).DatabaseUnavailable("no connection for 60 s")
    unavailable.__cause__ = pymysql.err.OperationalError(1040, "Too many connections")
    complaint = complaint_of(unavailable)
    assert complaint.status == 1
    assert "no connection for 60 s" in str(complaint)
    assert "max_connections" in str(complaint)


def test_a_database_that_stayed_away_without_a_cause_is_told_too() -> None:
    """Whatever it was, it is the database."""
    assert complaint_of(DatabaseUnavailable("gone")).status == 1


def test_a_wrong_setting_is_told_as_it_is() -> None:
    """The library's own refusals say all there is to say."""
    assert str(complaint_of(ConfigError("keepalive must be positive"))) == "keepalive must be positive"


def test_an_unforeseen_error_is_one_line_too() -> None:
    """With the way to see more."""
    complaint = complaint_of(KeyError("x\ny"))
    assert (complaint.status, "--traceback" in str(complaint), "\n" in str(complaint)) == (1, True, False)
