"""The settings of a job, refused where it is declared; and what can be a job."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import persistconn
from persistconn.errors import ConfigError
from persistconn.once.job import Job
from persistconn.once.rows import NAME_LIMIT


def function(x: int = 1) -> int:
    """A function that can be a job."""
    return x


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"using": 5}, "using must be a Django alias or a callable.*not 5"),
        ({"key": "invoice-7"}, r"key must be a function.*'invoice-7'.*job\.keyed"),
        ({"isolation": "read committed"}, "isolation must be one of READ UNCOMMITTED.*'read committed'"),
        ({"retries": -1}, "retries must be a whole number.*-1"),
        ({"retries": True}, "retries must be a whole number.*True"),
        ({"retries": 1.5}, "retries must be a whole number.*1.5"),
        ({"on_failure": "ignore"}, "on_failure must be one of forget, record, not 'ignore'"),
        ({"name": ""}, "name must be a text of 1 to"),
        ({"name": "x" * (NAME_LIMIT + 1)}, f"1 to {NAME_LIMIT} characters"),
        ({"name": 7}, "name must be a text.*7"),
        ({"name": "half \ud800"}, "name must be a text.*ud800"),
        ({"retry": 3}, "no setting 'retry': the settings are using, name, key"),
    ],
)
def test_setting_that_cannot_work_is_refused_with_its_value(settings: dict[str, Any], complaint: str) -> None:
    """Where the job is declared, not when it first runs."""
    with pytest.raises(ConfigError, match=complaint):
        persistconn.job(**settings)(function)


def generator() -> Iterator[int]:
    """Do the work after the call."""
    yield 1


async def coroutine() -> None:
    """Do the work after the call."""


async def async_generator() -> AsyncIterator[int]:
    """Do the work after the call."""
    yield 1


@pytest.mark.parametrize("late", [generator, coroutine, async_generator])
def test_function_that_works_after_its_call_is_no_job(late: Callable[..., Any]) -> None:
    """It would work outside of the transaction."""
    with pytest.raises(ConfigError, match="outside of the job's transaction; make it a function"):
        persistconn.job(late)


@pytest.mark.parametrize("nameless", [lambda: None, functools.partial(function, 2)])
def test_function_without_a_name_needs_one(nameless: Callable[..., Any]) -> None:
    """Two of them would be one job in the ledger."""
    with pytest.raises(ConfigError, match=r'no name of its own.*@job\(name="..."\)'):
        persistconn.job(nameless)
    assert persistconn.job(name="given")(nameless).name == "given"


def test_method_is_no_job_and_the_class_says_so() -> None:
    """When it is made, not when the method is called: that would be a TypeError about its arguments."""
    with pytest.raises((ConfigError, RuntimeError)) as refused:

        class Invoices:
            @persistconn.job
            def settle(self, number: int) -> int:
                return number

    # Python 3.10 and 3.11 wrap it.
    told = refused.value if isinstance(refused.value, ConfigError) else refused.value.__cause__
    assert isinstance(told, ConfigError)
    assert "Invoices.settle: a job is no method" in str(told)
    assert "put @staticmethod above @job" in str(told)


def test_static_method_is_a_job() -> None:
    """It is a function that a class has a name for; and so is a job of the module."""

    class Invoices:
        @staticmethod
        @persistconn.job
        def settle(number: int) -> int:
            return number

        also = persistconn.job(function)

    assert isinstance(Invoices.settle, Job)
    assert isinstance(Invoices().settle, Job)
    assert Invoices.settle.name == f"{__name__}.{Invoices.__qualname__}.settle"
    assert Invoices.settle.function(7) == 7
    assert Invoices().also.name == f"{__name__}.function"


def test_what_is_no_function_is_no_job() -> None:
    """As when the brackets of the settings were forgotten."""
    with pytest.raises(ConfigError, match="takes a function, not 5"):
        persistconn.job(5)  # type: ignore[call-overload]


def test_job_is_the_function_to_look_at() -> None:
    """Its name in the ledger is that of module and function."""
    job = persistconn.job(function)
    assert job.name == f"{__name__}.function"
    assert job.function is function
    assert (job.__name__, job.__doc__) == (function.__name__, function.__doc__)
    assert repr(job) == f"<job {__name__}.function>"
    assert repr(job.keyed("k")) == f"<job {__name__}.function [k]>"


@pytest.mark.parametrize("key", ["", "x" * (NAME_LIMIT + 1), 7, None, "half \ud800"])
def test_key_that_can_be_none_is_refused(key: Any) -> None:
    """Given, or made of the arguments."""
    with pytest.raises(ConfigError, match=f"must be a text of 1 to {NAME_LIMIT} characters"):
        persistconn.job(function).keyed(key)
    with pytest.raises(ConfigError, match=f"must be a text of 1 to {NAME_LIMIT} characters"):
        persistconn.job(key=lambda: key, using=lambda: None)(function)()


def test_job_without_django_says_how_it_gets_its_connection() -> None:
    """In a process in which no settings are named."""
    program = "import persistconn\n@persistconn.job(name='j')\ndef f(): pass\nf()"
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert "ConfigError: the job j does not know its database" in run.stderr
    assert "@job(using=connect)" in run.stderr
