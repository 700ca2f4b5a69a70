"""Where the server's program is, and how it is called."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

#: How a test run names its server, beside a DSN.
KINDS = ("auto", "local", "mariadb", "mysql", "container")

INSTALL_COMMAND = "apt-get install mariadb-server-core"
MYSQLD_VARIABLE = "PERSISTCONN_MYSQLD"
_MYSQL_ADVICE = (
    f"set {MYSQLD_VARIABLE} to a mysqld or to a script that execs it; "
    "in persistconn's repository, scripts/need-mysql fetches one on Debian"
)

#: Where packages put a server beside the PATH of an ordinary user.
_DIRECTORIES = ("/usr/sbin", "/usr/local/sbin", "/usr/libexec", "/usr/local/bin", "/opt/homebrew/bin")
_MYSQL_DIRECTORIES = ("/usr/local/mysql/bin", "/opt/homebrew/opt/mysql/bin")

#: Seconds; it takes 0.3 (MariaDB) or 3 (MySQL) on a laptop, and a disk under load may need far more.
_CREATION_TIMEOUT = 120.0
_VERSION_TIMEOUT = 30.0


class ServerError(RuntimeError):
    """The private server did not do what was asked; the text says why, and what to do."""


class ServerNotFound(ServerError):
    """No such server is installed; the text says how to get one."""


def find_mariadbd(binary: str = "mariadbd") -> str:
    """Return the path of the server's program: the first on PATH, else where packages put it.

    Raises ServerNotFound, with the command that installs it, if there is none.
    """
    path = os.pathsep.join([os.environ.get("PATH", ""), *_DIRECTORIES])
    found = shutil.which(binary, path=path)
    if found is None:
        raise ServerNotFound(f"no MariaDB server ({binary}) on this machine: install it with `{install_command()}`")
    return found


def install_command() -> str:
    """Return what installs MariaDB here, as this user would have to say it: packages need root."""
    if sys.platform == "darwin":
        return "brew install mariadb"
    return INSTALL_COMMAND if os.geteuid() == 0 else f"sudo {INSTALL_COMMAND}"


def find_mysqld(binary: str | None = None) -> str:
    """Return the path of MySQL's program: `binary`, else PERSISTCONN_MYSQLD, else on PATH, else where packages put it.

    Asks a program for its version, once for each (20 ms): MariaDB's packages install a `mysqld` that is none of
    MySQL's. Raises ServerNotFound, with what to do, if there is none; ServerError if the one that is named is broken.
    """
    named = binary or os.environ.get(MYSQLD_VARIABLE)
    if named:
        return _find_named(named, MYSQLD_VARIABLE if binary is None else "binary")
    for directory in [*os.get_exec_path(), *_DIRECTORIES, *_MYSQL_DIRECTORIES]:
        found = shutil.which("mysqld", path=directory)
        if found and _is_mysql(found):
            return found
    raise ServerNotFound(f"no MySQL server (mysqld) on this machine: {_MYSQL_ADVICE}")


def _find_named(named: str, source: str) -> str:
    found = shutil.which(named)
    if found is None:
        raise ServerNotFound(f"{source} names {named}, which is no program: {_MYSQL_ADVICE}")
    if "MariaDB" in version_of(found):
        raise ServerNotFound(f"{source} names {named}, which is MariaDB's: {_MYSQL_ADVICE}")
    return found


def _is_mysql(found: str) -> bool:
    try:
        return "MariaDB" not in version_of(found)
    except ServerError:
        return False  # a script whose server has gone, say: another directory may have a better one


@functools.cache
def version_of(binary: str) -> str:
    """Return the line in which a server's program says what it is; asked once in the process."""
    command = [binary, "--no-defaults", "--version"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_VERSION_TIMEOUT, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise ServerError(f"{binary} could not say its version: {error}") from error
    return done.stdout.strip()


def run_creation(command: Sequence[str], *, script: str = "", directory: Path | None = None) -> None:
    """Run the command that makes a data directory, with `script` as its input.

    Blocks until it has ended. Raises ServerError with the server's last words.
    """
    try:
        done = subprocess.run(
            command,
            input=script,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=directory,
            timeout=_CREATION_TIMEOUT,
            check=False,  # the exit status alone would not say why
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerError(f"{command[0]} could not create a data directory: {error}") from error
    if done.returncode:
        raise ServerError(f"{command[0]} could not create a data directory; its last words:\n{last_lines(done.stdout)}")


def user_option() -> list[str]:
    """Return the option without which a server refuses to run as root; empty for everybody else."""
    return ["--user=root"] if os.geteuid() == 0 else []


def last_lines(text: str, count: int = 15) -> str:
    """Return the end of a log, indented, without the notes if that leaves anything to read."""
    lines = text.splitlines()
    telling = [line for line in lines if not any(level in line for level in ("[Note]", "[Warning]", "[System]"))]
    return "\n".join(f"    {line}" for line in (telling or lines)[-count:])


def as_options(variables: Mapping[str, str | float]) -> list[str]:
    """Return server variables as command line options; True and False switch one on and off."""
    return [_option(name.replace("_", "-"), value) for name, value in variables.items()]


def _option(name: str, value: str | float) -> str:
    # Not `=ON`: for variables that also take a file name (log-bin) that would be the name.
    if isinstance(value, bool):
        return f"--{name}" if value else f"--skip-{name}"
    return f"--{name}={value}"
