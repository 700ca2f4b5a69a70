"""A job on a Django alias: what Django takes for its own outermost atomic block is the job's transaction."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.transaction import Atomic
from django.utils.connection import ConnectionDoesNotExist

from persistconn.connection import PersistentConnection
from persistconn.errors import ConfigError, NotReplayable
from persistconn.once.line import Line
from persistconn.once.screen import foreign_objection
from persistconn.once.sites import nothing, outer_transaction

if TYPE_CHECKING:
    from persistconn.backends.mysql.base import DatabaseWrapper

Execute = Callable[[str, Any, bool, dict[str, Any]], Any]


class DjangoSite:
    """One alias on the calling thread."""

    def __init__(self, job: str, alias: str) -> None:
        """Raise ConfigError for an alias that there is not, or that is on another engine."""
        try:
            wrapper = connections[alias]
        except ConnectionDoesNotExist:
            raise ConfigError(
                f"the job {job} uses the alias {alias!r}: DATABASES has {', '.join(connections)}"
            ) from None
        if not isinstance(wrapper, _engine()):
            raise ConfigError(
                f"the job {job} uses the alias {alias!r}, whose engine is {wrapper.settings_dict['ENGINE']}:"
                ' give it ENGINE = "persistconn.backends.mysql", or call persistconn.install() first'
            )
        self._alias, self._wrapper = alias, wrapper
        self._foreign = _Refusal(job)
        self._watched: list[Any] = []

    @property
    def give_up_after(self) -> float:
        """The policy's, in seconds."""
        return self._wrapper._driver.policy.give_up_after

    def connection(self, job: str) -> PersistentConnection:
        """Return the alias's held connection, with no transaction open; connects if need be."""
        wrapper = self._wrapper
        if wrapper.in_atomic_block:
            raise outer_transaction(job)
        wrapper.close_if_health_check_failed()
        wrapper.ensure_connection()
        if not wrapper.autocommit:
            raise outer_transaction(job)
        assert wrapper.connection is not None
        if Line(wrapper.connection).is_open:
            raise outer_transaction(job)  # By a BEGIN of the caller's, of which Django does not know.
        return wrapper.connection

    def enter(self) -> None:
        """Have Django take the open transaction for its own: savepoints inside, and nobody else commits."""
        wrapper = self._wrapper
        self._foreign.refused = None
        self._watched = self._others()
        for other in self._watched:
            other.execute_wrappers.append(self._foreign)
        wrapper.in_atomic_block = True
        wrapper.autocommit = False
        wrapper.commit_on_exit = True
        wrapper.needs_rollback = False
        wrapper.savepoint_ids = []
        wrapper.run_on_commit = []
        # An inner atomic(durable=True) finds out that it is not outermost.
        wrapper.atomic_blocks = [Atomic(wrapper.alias, False, True)]

    def objection(self) -> str | None:
        """Say that the job has marked its transaction for rollback, or was refused, and went on as if nothing had happened."""
        if self._foreign.refused is not None:
            return f"went on after {self._foreign.refused}"
        if not self._wrapper.needs_rollback:
            return None
        return (
            "marked its transaction for rollback (set_rollback(True), or an error inside atomic(savepoint=False) that it"
            " caught) and returned: raise an exception to roll a job back"
        )

    def leave(self) -> Callable[[], None]:
        """Put Django's state back, and return its ``on_commit`` callbacks as one."""
        wrapper = self._wrapper
        for other in self._watched:
            other.execute_wrappers.remove(self._foreign)
        callbacks, wrapper.run_on_commit = wrapper.run_on_commit, []
        wrapper.in_atomic_block = wrapper.needs_rollback = wrapper.closed_in_transaction = False
        wrapper._is_closed = False  # A close() in the job was refused.
        wrapper.autocommit = True
        wrapper.savepoint_ids, wrapper.atomic_blocks = [], []
        if not callbacks:
            return nothing

        def run_callbacks() -> None:
            wrapper.run_on_commit = callbacks
            wrapper.run_and_clear_commit_hooks()

        return run_callbacks

    def _others(self) -> list[Any]:
        """Return the aliases that no guard of ours stands at."""
        others = []
        for alias in connections:
            if alias == self._alias:
                continue  # Its guard is ours, and to look an alias up takes its time.
            # One whose engine cannot be loaded cannot be written either.
            with contextlib.suppress(Exception):
                others.append(connections[alias])
        return [other for other in others if not isinstance(other, type(self._wrapper))]


@functools.cache
def _engine() -> type[DatabaseWrapper]:
    # Not at the top: it brings in all of Django's own engine.
    from persistconn.backends.mysql.base import DatabaseWrapper

    return DatabaseWrapper


class _Refusal:
    """Refuses a write on another alias while a job runs: nothing there commits or rolls back with it."""

    def __init__(self, job: str) -> None:
        self._job = job
        self.refused: str | None = None

    def __call__(self, execute: Execute, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if why := foreign_objection(sql):
            self.refused = f"a write on the alias {context['connection'].alias!r} inside the job {self._job}: {why}"
            raise NotReplayable(self.refused)
        return execute(sql, params, many, context)
