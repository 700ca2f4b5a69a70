"""What we use of PyMySQL that is private, or that few others use; :mod:`persistconn.private_names` checks that it is there."""

from __future__ import annotations

from persistconn.private_names import Names

OLDEST = "1.2.1"
"""Before it the socket's time limit was not noted, and set anew with each read."""

NAMES: Names = {
    "connections.Connection": "_affected_rows _closed _create_ssl_ctx _execute_command _force_close"
    " _next_seq_id _read_ok_packet _read_query_result _read_timeout _result _rfile _sock _write_timeout"
    " connect_timeout decoders encoders encoding server_status thread_id",
    "connections.MySQLResult": "_finish_unbuffered_query _read_rowdata_packet_unbuffered"
    " affected_rows connection has_next rows server_status unbuffered_active",
}

FAST_READS: Names = {
    "connections.Connection": "_current_timeout _read_packet use_unicode",
    "connections.MySQLResult": "_get_descriptions converters description field_count fields insert_id message warning_count",
    "converters": "through",
    "protocol": "FieldDescriptorPacket MysqlPacket",
    "protocol.MysqlPacket": "is_eof_packet",
}
"""What :mod:`persistconn.drivers.answers` needs besides."""
