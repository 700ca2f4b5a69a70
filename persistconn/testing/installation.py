"""Where the server's program is, and how an empty data directory becomes one that it can start on."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

INSTALL_COMMAND = "apt-get install mariadb-server-core"

#: Where packages put a server beside the PATH of an ordinary user.
_DIRECTORIES = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec", "/usr/local/bin", "/opt/homebrew/bin")

#: The scripts that create the system tables, in order. MariaDB 11 renamed them from mysql_* to mariadb_*.
_SCRIPTS = ("system_tables.sql", "performance_tables.sql", "system_tables_data.sql")

#: Seconds; it takes 0.3 on a laptop, and a disk under load may need far more.
_BOOTSTRAP_TIMEOUT = 120.0


class ServerError(RuntimeError):
    """The private server did not do what was asked; the text says why, and what to do."""


class ServerNotFound(ServerError):
    """No MariaDB server is installed; the text says the command that installs it."""


def find_mariadbd(binary: str = "mariadbd") -> str:
    """Return the path of the server's program: the first on PATH, else where packages put it.

    Raises ServerNotFound, with the command that installs it, if there is none.
    """
    path = os.pathsep.join([os.environ.get("PATH", ""), *_DIRECTORIES])
    found = shutil.which(binary, path=path)
    if found is None:
        raise ServerNotFound(f"no MariaDB server ({binary}) on this machine: install it with `{INSTALL_COMMAND}`")
    return found


def user_option() -> list[str]:
    """Return the option without which a server refuses to run as root; empty for everybody else."""
    return ["--user=root"] if os.geteuid() == 0 else []


def create_data_directory(binary: str, data: Path, options: list[str], user: str, password: str) -> None:
    """Fill the new directory `data` with the system tables, a database `test` and one user who may do all.

    Blocks for about 0.3 s. Raises ServerError with the server's last words.

    The server's own bootstrap mode does it, not mariadb-install-db: that script calls a program of another
    package, takes seconds for help tables that no test reads, and creates accounts that we would have to remove.
    """
    data.mkdir()
    # Another server that starts in the same temporary directory would delete this one's temporary tables.
    temporary = data.parent / "tmp"
    temporary.mkdir(exist_ok=True)
    script = "\n".join(_statements(binary, user, password))
    # Nothing is lost if this run is cut off, for the directory is thrown away then: no flushing, no double writing.
    hurry = ["--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--skip-log-bin"]
    command = [
        binary,
        "--no-defaults",
        "--bootstrap",
        f"--datadir={data}",
        f"--tmpdir={temporary}",
        *user_option(),
        *options,
        *hurry,
    ]
    try:
        done = subprocess.run(
            command,
            input=script,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_BOOTSTRAP_TIMEOUT,
            check=False,  # the exit status alone would not say why
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerError(f"{binary} could not create a data directory: {error}") from error
    if done.returncode:
        raise ServerError(f"{binary} could not create a data directory; its last words:\n{last_lines(done.stdout)}")


def last_lines(text: str, count: int = 15) -> str:
    """Return the end of a log, indented, without the notes if that leaves anything to read."""
    lines = text.splitlines()
    telling = [line for line in lines if "[Note]" not in line and "[Warning]" not in line]
    return "\n".join(f"    {line}" for line in (telling or lines)[-count:])


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
        f"install the server's whole package with `{INSTALL_COMMAND}`"
    )


def as_options(variables: Mapping[str, str | float]) -> list[str]:
    """Return server variables as command line options; True and False switch one on and off."""
    return [_option(name.replace("_", "-"), value) for name, value in variables.items()]


def _option(name: str, value: str | float) -> str:
    # Not `=ON`: for variables that also take a file name (log-bin) that would be the name.
    if isinstance(value, bool):
        return f"--{name}" if value else f"--skip-{name}"
    return f"--{name}={value}"
