"""A private MariaDB server."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from persistconn.testing.installation import (
    ServerError,
    find_mariadbd,
    install_command,
    run_creation,
    user_option,
)
from persistconn.testing.servers import Server

#: The scripts that create the system tables, in order. MariaDB 11 renamed them from mysql_* to mariadb_*.
_SCRIPTS = ("system_tables.sql", "performance_tables.sql", "system_tables_data.sql")


class MariaDB(Server):
    """A private server: `with MariaDB(wait_timeout=2) as server: pymysql.connect(**server.connect_args())`.

    Keyword arguments are server variables: True and False switch one on and off. The directory is a temporary one
    that `close()` removes; one that you name is yours and stays, with its data. Safe to use from several threads,
    except that starting and stopping it is for one thread at a time.
    """

    #: Fast, small, and truthful about kill -9: a commit is written to the operating system before it is acknowledged,
    #: so it survives the death of the process (value 2). Only the fsync is left out, which guards against a power cut.
    _defaults: ClassVar[Mapping[str, str | float]] = {
        "innodb_flush_log_at_trx_commit": 2,
        "innodb_buffer_pool_size": "32M",
        "innodb_log_file_size": "8M",
        "log_bin": False,
        "performance_schema": False,
        "skip_name_resolve": True,
        "bind_address": "127.0.0.1",
        # 2 makes the server note each "Aborted connection", which is how a test sees who left without a word.
        "log_warnings": 2,
    }
    _layout = ("innodb_log_file_size", "innodb_buffer_pool_size", "innodb_page_size", "innodb_data_file_path")

    def _find(self, binary: str | None) -> str:
        return find_mariadbd(binary or "mariadbd")

    def _create_data(self, data: Path, options: list[str]) -> None:
        """Fill the new directory with the system tables, a database `test` and one user who may do all (0.3 s).

        The server's own bootstrap mode does it, not mariadb-install-db: that script calls a program of another
        package, takes seconds for help tables that no test reads, and creates accounts that we would have to remove.
        """
        data.mkdir()
        # Nothing is lost if this run is cut off, for the directory is thrown away then: no flushing, no double writing.
        hurry = ["--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--skip-log-bin"]
        # Another server that starts in the same temporary directory would delete this one's temporary tables.
        places = [f"--datadir={data}", f"--tmpdir={data.parent / 'tmp'}"]
        command = [self.binary, "--no-defaults", "--bootstrap", *places, *user_option(), *options, *hurry]
        run_creation(command, script="\n".join(_statements(self.binary, self.user, self.password)))


def _statements(binary: str, user: str, password: str) -> Iterator[str]:
    yield "CREATE DATABASE mysql;"
    yield "USE mysql;"
    yield "SET @auth_root_socket = NULL;"
    for script in _find_scripts(binary):
        yield script.read_text(encoding="utf-8")
    # root without a password stays on the unix socket alone; nobody without a name may log in.
    yield "DELETE FROM mysql.global_priv WHERE User = '' OR (User = 'root' AND Host <> 'localhost');"
    yield "FLUSH PRIVILEGES;"
    yield "CREATE DATABASE test CHARACTER SET utf8mb4;"
    yield f"CREATE USER `{user}`@`%` IDENTIFIED BY '{password}';"
    yield f"GRANT ALL PRIVILEGES ON *.* TO `{user}`@`%` WITH GRANT OPTION;"


def _find_scripts(binary: str) -> list[Path]:
    root = Path(binary).resolve().parent.parent
    for share in (root / "share/mysql", root / "share/mariadb", root / "share", Path("/usr/share/mysql")):
        for prefix in ("mariadb_", "mysql_"):
            scripts = [share / f"{prefix}{name}" for name in _SCRIPTS]
            if all(script.is_file() for script in scripts):
                return scripts
    raise ServerError(
        f"{binary} is there, but not the scripts for its system tables ({root}/share/*/mysql_system_tables.sql): "
        f"install the server's whole package with `{install_command()}`"
    )
