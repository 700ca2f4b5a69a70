"""A private MySQL server (8.0.30 or newer)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from persistconn.testing.installation import find_mysqld, run_creation, user_option, version_of
from persistconn.testing.servers import Server
from persistconn.testing.templates import copy_of


class MySQL(Server):
    """A private server: `with MySQL(wait_timeout=2) as server: pymysql.connect(**server.connect_args())`.

    It is used like MariaDB. The program is the `mysqld` that PERSISTCONN_MYSQLD names or that is on PATH. The user of
    `connect_args()` needs neither TLS nor the package `cryptography`: the server knows the password from `start()`,
    until somebody says FLUSH PRIVILEGES. One that you create yourself needs one of them at its first login over TCP.
    """

    #: As for MariaDB: fast, small, and truthful about kill -9.
    _defaults: ClassVar[Mapping[str, str | float]] = {
        "innodb_flush_log_at_trx_commit": 2,
        "innodb_buffer_pool_size": "32M",
        "innodb_redo_log_capacity": "8M",
        "log_bin": False,
        "performance_schema": False,
        "event_scheduler": False,
        "skip_name_resolve": True,
        "bind_address": "127.0.0.1",
        # The X protocol has a port and a socket of its own; not every build has the protocol.
        "loose_mysqlx": "OFF",
        # Packages name a directory here that nobody has made where they were only unpacked.
        "secure_file_priv": "",
        # 3 makes the server note each "Aborted connection", which is how a test sees who left without a word.
        "log_error_verbosity": 3,
    }
    _layout = ("innodb_page_size", "innodb_data_file_path", "lower_case_table_names")

    def _find(self, binary: str | None) -> str:
        return find_mysqld(binary)

    def _admin_args(self) -> dict[str, Any]:
        # caching_sha2_password takes a password that it has not seen before over a safe way alone, which a unix socket
        # is. From then on it knows it over any way.
        return {**super()._admin_args(), "unix_socket": self.socket}

    def _create_data(self, data: Path, options: list[str]) -> None:
        """Copy the data directory that is kept for this program and these options; make it if there is none (3 s)."""
        statements = _statements(self.user, self.password)
        kind = [str(Path(self.binary).resolve()), version_of(self.binary), *options, *statements]
        copy_of(kind, data, lambda place: _initialize(self.binary, place, options, statements))


def _initialize(binary: str, data: Path, options: list[str], statements: list[str]) -> None:
    script = data.with_name(f"{data.name}.sql")
    script.write_text("\n".join(statements), encoding="utf-8")
    # Nothing is lost if this run is cut off, for the directory is thrown away then.
    hurry = ["--innodb-flush-log-at-trx-commit=0", "--innodb-redo-log-capacity=8M", "--skip-log-bin"]
    places = [f"--datadir={data}", f"--init-file={script}", "--secure-file-priv="]
    try:
        run_creation(
            [binary, "--no-defaults", "--initialize-insecure", *places, *user_option(), *options, *hurry],
            directory=data.parent,
        )
    finally:
        script.unlink()
    # The server's identity: each copy gets its own when it starts.
    (data / "auto.cnf").unlink(missing_ok=True)
    # Preallocated and empty, and made again at the start: half of what would be copied.
    for empty in data.glob("#innodb_redo/*_tmp"):
        empty.unlink()
    shutil.rmtree(data / "#innodb_temp", ignore_errors=True)


def _statements(user: str, password: str) -> list[str]:
    """Return what is run once in a new data directory; root has no password there, and the unix socket alone."""
    return [
        "CREATE DATABASE test CHARACTER SET utf8mb4;",
        f"CREATE USER `{user}`@`%` IDENTIFIED BY '{password}';",
        f"GRANT ALL PRIVILEGES ON *.* TO `{user}`@`%` WITH GRANT OPTION;",
    ]
