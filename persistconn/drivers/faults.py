"""What the numbers of an error say: the table that both drivers share. Pure.

The numbers are the servers' (``ER_*`` of MariaDB and MySQL) and the client protocol's (``CR_*``, 2000 to 2999). They are
matched by number, never by text, which differs between servers, client libraries and languages.
"""

from __future__ import annotations

from persistconn.drivers.base import Fault

FIRST_CLIENT_CODE, LAST_CLIENT_CODE = 2000, 2999

SERVER_GONE = 2006
SERVER_LOST = 2013
OUT_OF_SYNC = 2014
TLS_FAILED = 2026

# --- an answer to a statement ------------------------------------------------------------------------------------------

# The server said goodbye before it read the statement, or could not read all of it.
_NOT_EXECUTED = frozenset(
    {
        1053,  # ER_SERVER_SHUTDOWN
        1158,  # ER_NET_READ_ERROR: it is the server that could not read
        1159,  # ER_NET_READ_INTERRUPTED
        3032,  # ER_SERVER_OFFLINE_MODE
        3168,  # ER_SERVER_ISNT_AVAILABLE
        3169,  # ER_SESSION_WAS_KILLED
        4031,  # ER_CLIENT_INTERACTION_TIMEOUT: idle for wait_timeout (MySQL 8.0.24 and newer)
        SERVER_GONE,  # only ever set when writing failed: the server cannot have had the whole statement
    }
)

# The session is gone, or nobody can tell, and the statement may have been executed.
_MAY_BE_EXECUTED = frozenset(
    {
        1080,  # ER_FORCING_CLOSE
        1152,  # ER_ABORTING_CONNECTION
        1154,  # ER_NET_READ_ERROR_FROM_PIPE
        1155,  # ER_NET_FCNTL_ERROR
        1156,  # ER_NET_PACKETS_OUT_OF_ORDER
        1157,  # ER_NET_UNCOMPRESS_ERROR
        1160,  # ER_NET_ERROR_ON_WRITE: executed, and the answer could not be sent
        1161,  # ER_NET_WRITE_INTERRUPTED
        1180,  # ER_ERROR_DURING_COMMIT: an isolated Galera node says it of a COMMIT that others may have certified
        1181,  # ER_ERROR_DURING_ROLLBACK
        1184,  # ER_NEW_ABORTING_CONNECTION
        1927,  # ER_CONNECTION_KILLED (MariaDB)
    }
)

# A server error like any other, but not only the statement is undone: the whole transaction is.
_ROLLED_BACK = frozenset(
    {
        1020,  # ER_CHECKREAD: the record has changed (MariaDB's snapshot isolation); its SQLSTATE is HY000, not 40001
        1206,  # ER_LOCK_TABLE_FULL
        1213,  # ER_LOCK_DEADLOCK; on Galera also a failed certification, at COMMIT or at the next statement
        1402,  # ER_XA_RBROLLBACK
        1613,  # ER_XA_RBTIMEOUT
        1614,  # ER_XA_RBDEADLOCK
        1637,  # ER_TOO_MANY_CONCURRENT_TRXS
        3100,  # ER_RUN_HOOK_ERROR: group replication refused the COMMIT
        3101,  # ER_TRANSACTION_ROLLBACK_DURING_COMMIT
    }
)

# Refused, because this server may not write, or not now: after a failover the name stands for another one.
_WRONG_SERVER = frozenset(
    {
        1036,  # ER_OPEN_AS_READONLY
        1047,  # ER_UNKNOWN_COM_ERROR: WSREP has not yet prepared node for application use (Galera)
        1290,  # ER_OPTION_PREVENTS_STATEMENT: --read-only, --super-read-only
        1792,  # ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
        1836,  # ER_READ_ONLY_MODE
        1874,  # ER_INNODB_READ_ONLY
    }
)

# --- an answer to a connect --------------------------------------------------------------------------------------------

_NO_CAPACITY = frozenset(
    {
        1037,  # ER_OUTOFMEMORY
        1040,  # ER_CON_COUNT_ERROR: max_connections
        1041,  # ER_OUT_OF_RESOURCES
        1129,  # ER_HOST_IS_BLOCKED: max_connect_errors, which trying hard is what brought about
        1135,  # ER_CANT_CREATE_THREAD
        1203,  # ER_TOO_MANY_USER_CONNECTIONS
        1226,  # ER_USER_LIMIT_REACHED
    }
)
_AWAY = frozenset(
    {
        1042,  # ER_BAD_HOST_ERROR
        1043,  # ER_HANDSHAKE_ERROR: what the server makes of a handshake that was cut
        1047,  # a Galera node that has not joined
    }
)
_REFUSED_BY_CLIENT = frozenset(
    {
        2007,  # CR_VERSION_ERROR: whatever listens there speaks another protocol
        2019,  # CR_CANT_READ_CHARSET
        2049,  # CR_SECURE_AUTH
        2054,  # CR_NOT_IMPLEMENTED, CR_SERVER_HANDSHAKE_ERR's neighbour: an option that the library has not
        TLS_FAILED,
        2059,  # CR_AUTH_PLUGIN_CANNOT_LOAD
        2061,  # CR_AUTH_PLUGIN_ERR
    }
)


def is_client_code(code: int) -> bool:
    """Say whether the driver made this number itself, rather than read it from the server."""
    return FIRST_CLIENT_CODE <= code <= LAST_CLIENT_CODE


def of_statement(code: int | None) -> Fault:
    """Say what an error at a statement means; None is an error of the driver without a number."""
    if code is None:
        return Fault.AMBIGUOUS
    if code in _NOT_EXECUTED:
        return Fault.DEFINITE
    if code in _MAY_BE_EXECUTED or is_client_code(code):
        return Fault.AMBIGUOUS
    if code in _ROLLED_BACK:
        return Fault.ROLLED_BACK
    return Fault.WRONG_SERVER if code in _WRONG_SERVER else Fault.NONE


def of_connect(code: int | None) -> Fault:
    """Say what an error at a connect means; None is an error of the driver without a number."""
    if code in _NO_CAPACITY:
        return Fault.NO_CAPACITY
    if code is None or code in _NOT_EXECUTED or code in _MAY_BE_EXECUTED or code in _AWAY:
        return Fault.AWAY
    return Fault.AWAY if is_client_code(code) and code not in _REFUSED_BY_CLIENT else Fault.REFUSED


def code_of(error: BaseException) -> int | None:
    """Return the number of a driver's error, which is its first argument; None if it has none."""
    code = error.args[0] if error.args else None
    return code if isinstance(code, int) else None
