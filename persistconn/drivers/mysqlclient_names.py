"""What we use of mysqlclient that is private, or rarely used; :mod:`persistconn.private_names` checks that it is there."""

from __future__ import annotations

from persistconn.private_names import Names

OLDEST = (2, 2)

NAMES: Names = {
    "_mysql": "connection result string_literal",
    "_mysql.connection": "_get_native_connection affected_rows converter discard_result escape field_count fileno"
    " get_autocommit insert_id next_result open query set_character_set store_result string_literal thread_id warning_count",
    "_mysql.result": "discard fetch_row has_next",
    "connections.Connection": "encoders encoding",
    "cursors": "Cursor CursorUseResultMixIn",
    "cursors.BaseCursor": "_get_db",
}
