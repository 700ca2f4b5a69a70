"""Real `wait_timeout` expiry against a MySQL container: the service `workers`, and a Django project."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from persistconn.testing import AnyServer, eventually

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.persistconn(wait_timeout=2)]

PATIENCE = 120.0
"""Seconds until a test gives up waiting for the service."""

SERVICE = """
import json, os, pymysql, persistconn

db = persistconn.manage(pymysql)

def connect():
    return db.connect(**json.loads(os.environ["SHOP"]))

@persistconn.cron("*/4 * * * * *")
@persistconn.job(using=connect)
def settle():
    with persistconn.current().cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (1)")

@persistconn.cron("*/4 * * * * *")
def remind():
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (2)")
"""


@pytest.mark.parametrize("module", ["pymysql"], indirect=True)
def test_workers_run_their_jobs_after_each_idle_pause(
    start: Callable[..., Any],
    tmp_path: Path,
    arguments: dict[str, Any],
    connect: Callable[[], Any],
    bare: Callable[[], Any],
    kept: Callable[[], list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The fires are four seconds apart, twice the `wait_timeout`. No run fails, and each fire takes effect once."""
    (tmp_path / "shop_jobs.py").write_text(SERVICE, encoding="utf-8")
    monkeypatch.setenv("SHOP", json.dumps(arguments))
    control = bare()
    workers = start("-m", "workers", "run", "shop_jobs", "--threads=2")
    eventually(lambda: min(kept().count(1), kept().count(2)) >= 3, PATIENCE)
    status, said = workers.end(signal.SIGTERM)
    assert (0, False) == (status, "failed" in said), said
    control.expire()
    with connect().cursor() as cursor:
        # The row without an attempt is the schedule's own.
        cursor.execute("SELECT COUNT(*) FROM persistconn_ledger WHERE state = 'done' AND attempts > 0")
        assert ((kept().count(1),),) == cursor.fetchall()


# --- Django ------------------------------------------------------------------------------------------------------------

DJANGO = """
import json, os
import django, pytest
from django.conf import settings

settings.configure(
    DATABASES={name: {**json.loads(os.environ["SHOP"]), "ENGINE": engine} for name, engine in [
        ("default", "persistconn.backends.mysql"), ("stock", "django.db.backends.mysql")]},
    INSTALLED_APPS=["persistconn"], DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", USE_TZ=True,
)
django.setup()
from django.db import Error, connection, connections, models, transaction
from persistconn.testing import eventually

class Invoice(models.Model):
    paid = models.IntegerField()
    class Meta: app_label = "shop"

def session_of(alias):
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT CONNECTION_ID()")
        return cursor.fetchone()[0]

def test_after_a_quiet_night(mysql):
    with connection.schema_editor() as editor: editor.create_model(Invoice)
    with transaction.atomic(): Invoice.objects.create(paid=1)
    for night in (2, 3):
        session = session_of("stock")
        eventually(lambda: session not in {one.id for one in mysql.processlist()}, 120)
        with pytest.raises(Error) as caught: Invoice.objects.using("stock").create(paid=-1)
        assert caught.value.args[0] in (2006, 2013, 4031), caught.value
        with transaction.atomic(): Invoice.objects.create(paid=night)
        connections["stock"].close()
    assert [1, 2, 3] == sorted(Invoice.objects.values_list("paid", flat=True))
    for one in connections.all(): one.close()
"""


@pytest.mark.parametrize("module", ["pymysql"], indirect=True)
def test_a_django_project_does_not_notice(
    run: Callable[..., pytest.RunResult], server: AnyServer, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs in a process of its own, because Django is set up once per process. The stock engine beside it fails."""
    monkeypatch.setenv("SHOP", json.dumps(server.django_settings(NAME=arguments["database"])))
    run(DJANGO, f"--persistconn-server={server.dsn}", "-p", "no:django").assert_outcomes(passed=1)
