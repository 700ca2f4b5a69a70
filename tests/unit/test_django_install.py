"""What ``persistconn.install()`` refuses before it touches anything; each in a process of its own. No server."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

SQLITE = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
MYSQL = {"default": {"ENGINE": "django.db.backends.mysql", "NAME": "x"}, "cache": SQLITE["default"]}
BY_HAND = {
    "default": {"ENGINE": "persistconn.backends.mysql", "NAME": "x", "OPTIONS": {"persistconn": {"keepalive": 60}}}
}

REFUSED = """
try:
    persistconn.install(**{settings!r})
except persistconn.ConfigError as error:
    print(error)
else:
    raise AssertionError("not refused")
"""


def output_of(databases: object, program: str) -> str:
    start = f"from django.conf import settings\nsettings.configure(DATABASES={databases!r})\nimport persistconn\n"
    command = [sys.executable, "-W", "error", "-c", start + textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    ("databases", "settings", "said"),
    [
        (SQLITE, {}, "'default' is on django.db.backends.sqlite3"),
        ({}, {}, "'default' is on django.db.backends.dummy"),
        (BY_HAND, {}, "'default' is on persistconn.backends.mysql"),
        (MYSQL, {"keepalife": 1}, "unknown setting 'keepalife'"),
        (MYSQL, {"keepalive": -5}, "keepalive (-5 s) must be greater than 0"),
    ],
    ids=["sqlite", "none", "by hand", "unknown", "negative"],
)
def test_what_cannot_work_is_a_config_error(databases: object, settings: dict[str, object], said: str) -> None:
    """At the call, naming what was found instead or which setting is wrong."""
    assert said in output_of(databases, REFUSED.format(settings=settings))


def test_aliases_on_other_engines_are_left_alone() -> None:
    """Only what is on the stock MySQL engine is swapped."""
    program = """
    persistconn.install()
    print([settings.DATABASES[alias]["ENGINE"] for alias in ("default", "cache")])
    """
    assert output_of(MYSQL, program) == "['persistconn.backends.mysql', 'django.db.backends.sqlite3']\n"


def test_options_shared_by_two_aliases_are_not_written_to() -> None:
    """A settings module may use one dict for several aliases, or for something else altogether."""
    program = """
    shared = {"charset": "utf8mb4"}
    for alias in settings.DATABASES:
        settings.DATABASES[alias]["OPTIONS"] = shared
    persistconn.install()
    print(shared)
    """
    assert output_of(MYSQL, program) == "{'charset': 'utf8mb4'}\n"


def test_the_function_is_no_module() -> None:
    """persistconn.install is callable again and again, though a submodule has its name."""
    program = """
    for _ in range(2):
        persistconn.install()
    print("installed")
    """
    assert output_of(MYSQL, program) == "installed\n"
