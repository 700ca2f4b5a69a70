"""Names of Django and APScheduler that would be missed by nobody: each is checked where the integration is set up."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import apscheduler.schedulers.background
import django.db.backends.base.base
import django.db.backends.mysql.creation
import django.db.transaction
import pytest

import persistconn
from persistconn import ConfigError, private_names
from persistconn.backends.mysql import django_names
from persistconn.keepalive import KEEPALIVE, Keepalive
from persistconn.keepalive import NAMES as OF_APSCHEDULER
from persistconn.keeper import Keeper
from workers.schedule import scheduler_for

EACH = [
    pytest.param(package, names, f"{place}.{name}", id=name)
    for package, names in ((django, django_names.NAMES), (apscheduler, OF_APSCHEDULER))
    for place, listed in names.items()
    for name in listed.split()
]


@pytest.mark.parametrize(("package", "names", "path"), EACH)
def test_name_that_is_gone_is_one_clear_error(package: Any, names: private_names.Names, path: str) -> None:
    """With both versions, and with what can be done."""
    private_names.insist(stand_in(package, names, without=""), "Package 7.0", names, "install Package 6.0")
    with pytest.raises(ConfigError) as refused:
        private_names.insist(stand_in(package, names, without=path), "Package 7.0", names, "install Package 6.0")
    said = ".".join(path.split(".")[-2:])
    assert str(refused.value) == (
        f"Package 7.0 has no {said}, which persistconn {persistconn.__version__} needs;"
        " install Package 6.0 or a newer persistconn"
    )


def stand_in(package: Any, names: private_names.Names, without: str) -> Any:
    """Make what has all that a package has in the places of the list, but for one name."""
    made = SimpleNamespace()
    for place in names:
        *owners, last = place.split(".")
        owner: Any = made
        for name in owners:
            owner.__dict__.setdefault(name, SimpleNamespace())
            owner = getattr(owner, name)
        theirs = private_names._known(private_names._at(package, place))
        kept = {name: None for name in theirs if not name.startswith("__") and f"{place}.{name}" != without}
        setattr(owner, last, type(last, (), kept))
    return made


def test_django_without_one_cannot_load_the_engine() -> None:
    """In a process of its own, for this one has loaded it."""
    program = """
from django.db.backends.base.creation import BaseDatabaseCreation as Creation
Creation._destroy_test_db_2 = Creation._destroy_test_db
del Creation._destroy_test_db
import persistconn.backends.mysql.base
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(
        f"persistconn.errors.ConfigError: Django {django.get_version()} has no DatabaseCreation._destroy"
    )


class Scheduler:
    """Stands in for one of the user's."""

    def add_jobstore(self, kind: str, alias: str) -> None:
        """Take it."""


@pytest.fixture
def _no_scheduler() -> None:
    """Another test may have left the process's sweep running, whose scheduler would miss the name as well."""
    KEEPALIVE.stop()


@pytest.mark.usefixtures("_no_scheduler")
def test_apscheduler_without_one_runs_no_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told by whoever brings a scheduler, and with the first connection where that is ours."""
    monkeypatch.delattr("apscheduler.executors.base.BaseExecutor._do_submit_job")
    with pytest.raises(ConfigError, match=r"APScheduler 3\.\S+ has no BaseExecutor\._do_submit_job, which persistconn"):
        Keepalive(Keeper()).use_scheduler(Scheduler())
    with pytest.raises(ConfigError, match=r"_do_submit_job"):
        Keepalive(Keeper()).ensure_running(1.0)


@pytest.mark.usefixtures("_no_scheduler")
def test_apscheduler_without_one_runs_no_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service of workers says so as it starts."""
    monkeypatch.delattr("apscheduler.schedulers.base.BaseScheduler._process_jobs")
    with pytest.raises(ConfigError, match=r"has no BaseScheduler\._process_jobs"):
        scheduler_for([], lambda job, times: None)
