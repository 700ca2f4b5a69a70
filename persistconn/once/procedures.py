"""The two stored procedures in which the fixed statements of an attempt travel together: three round trips for seven.

They are made where the right to make them is given. Nothing depends on them: without them the statements go one by one.
"""

from __future__ import annotations

from collections.abc import Callable

from persistconn import log
from persistconn.drivers.faults import code_of
from persistconn.once.rows import BEGIN, COMMIT, EARLY, END, HORIZON, LEDGER, NAME_LIMIT, YOUNG, RowState

SENTINEL = "persistconn_sentinel"
"""A procedure cannot make up a savepoint's name. A transaction that ended took it along, whatever its name."""

NOT_DUE, TORN, NOT_ONE_ROW = 31001, 31002, 31003
"""What they say by an error's number."""

_NOT_ONE_ROW = f"SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = {NOT_ONE_ROW}, MESSAGE_TEXT = 'not exactly one row';"
_COLLATED = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
CREATE = (
    (
        f"CREATE PROCEDURE {BEGIN} (the_token BINARY(32), the_job VARCHAR({NAME_LIMIT}) {_COLLATED},"
        f" the_key VARCHAR({NAME_LIMIT}) {_COLLATED}, the_fingerprint BINARY(32), the_attempt BINARY(8),"
        f" the_number INT UNSIGNED, the_owner VARCHAR(64) CHARACTER SET ascii, the_place VARCHAR(200) {_COLLATED},"
        f" issued DATETIME(6), scheduled DATETIME(6)) SQL SECURITY INVOKER "
        "BEGIN"
        " START TRANSACTION;"
        f" IF scheduled > UTC_TIMESTAMP(6) + INTERVAL {EARLY} SECOND THEN"
        f" SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = {NOT_DUE}, MESSAGE_TEXT = 'not due yet';"
        " END IF;"
        f" INSERT INTO {LEDGER} (token, job, job_key, fingerprint, state, attempt, attempts, owner, place, issued_at,"
        " scheduled_at, started_at)"
        f" VALUES (the_token, the_job, the_key, the_fingerprint, '{RowState.OPEN.value}', the_attempt, the_number,"
        " the_owner, the_place, issued, scheduled, UTC_TIMESTAMP(6));"
        f" SAVEPOINT {SENTINEL};"
        " END"
    ),
    (
        f"CREATE PROCEDURE {END} (the_token BINARY(32), issued DATETIME(6), the_attempt BINARY(8),"
        f" the_state VARCHAR(9) CHARACTER SET ascii, the_result MEDIUMTEXT {_COLLATED}, the_error TEXT {_COLLATED})"
        " SQL SECURITY INVOKER "
        "BEGIN"
        " BEGIN"
        # 1305: the savepoint has gone with the transaction that was begun.
        " DECLARE EXIT HANDLER FOR 1305"
        f" SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = {TORN}, MESSAGE_TEXT = 'not the transaction that was begun';"
        f" RELEASE SAVEPOINT {SENTINEL};"
        " END;"
        f" UPDATE {LEDGER} SET state = the_state, ended_at = UTC_TIMESTAMP(6), result = the_result, error = the_error"
        f" WHERE token = the_token AND attempt = the_attempt AND state = '{RowState.OPEN.value}';"
        f" IF ROW_COUNT() <> 1 THEN {_NOT_ONE_ROW} END IF;"
        # Two of them, for the table is opened whenever the condition that names it is looked at.
        f" IF issued < UTC_TIMESTAMP(6) - INTERVAL {YOUNG} SECOND THEN"
        f" IF issued < (SELECT low_water FROM {HORIZON} WHERE id = 1 LOCK IN SHARE MODE) THEN {_NOT_ONE_ROW} END IF;"
        " END IF;"
        f" {COMMIT};"
        " END"
    ),
)
_OLDER = ("persistconn_begin_1", "persistconn_end_1", "persistconn_end_2")
DROP = tuple(f"DROP PROCEDURE IF EXISTS {name}" for name in (BEGIN, END, *_OLDER))

_IS_THERE = 1304
_NO_RIGHT = frozenset({1044, 1142, 1227, 1370, 1419})


def create(execute: Callable[[str], object], errors: type[Exception]) -> None:
    """Make what is not there, or say in the log that the right to do so is missing. Raises the driver's other errors."""
    for statement in CREATE:
        try:
            execute(statement)
        except errors as error:
            if code_of(error) in _NO_RIGHT:
                log.info(
                    "no right to make the ledger's procedures, so a job takes seven round trips, not three: %s", error
                )
                return
            if code_of(error) != _IS_THERE:
                raise
