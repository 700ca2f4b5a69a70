"""A MySQL (or MariaDB) in a container, by testcontainers."""

from __future__ import annotations

import gc
import os
import secrets
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from persistconn.testing.anyserver import AnyServer
from persistconn.testing.installation import ServerError, ServerNotFound, as_options, last_lines
from persistconn.testing.process import pick_port
from persistconn.testing.watcher import Watcher

IMAGE_VARIABLE = "PERSISTCONN_MYSQL_IMAGE"
DEFAULT_IMAGE = "mysql:8.4"
_INSIDE = 3306
_START_TIMEOUT = 180.0  # seconds; the image's first start takes 10 to 30, without the pull
_STOP_TIMEOUT = 60

#: A container of ours is known by this label, whose value is its own.
_LABEL = "persistconn.testing"

#: Ryuk, testcontainers' own reaper, needs an image of its own and is often switched off (podman); so this one is ours. It
#: looks more than once: the engine may be making the container at the moment of our end.
_REAP = """
import sys, time
sys.stdin.read()
import docker
engine = docker.from_env()
for _ in range(3):
    for left in engine.containers.list(all=True, filters={"label": sys.argv[1]}):
        left.remove(v=True, force=True)
    time.sleep(1)
"""


class EngineNotFound(ServerNotFound):
    """There is no container engine, or testcontainers is not installed; the text says what to do."""


class MySQLContainer(AnyServer):
    """A server in a container: `with MySQLContainer(wait_timeout=2) as server: ...`, used like a private one.

    The image is `image`, else PERSISTCONN_MYSQL_IMAGE, else mysql:8.4; keyword arguments are server variables and stand on
    the server's command line. The container is gone when our process is, however it ends.
    """

    user = "root"
    #: As for the private MySQL: fast, safe against kill -9, and logging each "Aborted connection". MariaDB logs these by
    #: default and has no log_error_verbosity, hence "loose".
    _defaults: ClassVar[dict[str, str | float]] = {
        "innodb_flush_log_at_trx_commit": 2,
        "log_bin": False,
        "loose_log_error_verbosity": 3,
        "max_connect_errors": 1000000,
        "performance_schema": False,
    }

    def __init__(self, image: str | None = None, *, port: int | None = None, **variables: str | float) -> None:
        """Prepare a container; nothing is started. Raises EngineNotFound."""
        find_engine()
        super().__init__()
        self.image = image or os.environ.get(IMAGE_VARIABLE) or DEFAULT_IMAGE
        self.variables = {**self._defaults, **variables}
        self.port = port or pick_port(self.host)
        self._container: Any = None
        self._watcher: Watcher | None = None

    def __repr__(self) -> str:
        return f"<MySQLContainer {self.image} {self.host}:{self.port}>"

    def start(self) -> None:
        """Start the container and wait until a login succeeds, which takes 10 to 30 s; longer if the image is pulled."""
        from testcontainers.core.container import DockerContainer

        if self._container is not None:
            return
        label = secrets.token_hex(8)
        made = (
            DockerContainer(self.image)
            .with_env("MYSQL_ROOT_PASSWORD", self.password)
            .with_env("MYSQL_DATABASE", self.database)
            .with_bind_ports(_INSIDE, self.port)
            .with_command(as_options(self.variables))
            .with_kwargs(labels={_LABEL: label})
        )
        # It finds the engine by the variables that testcontainers has used, and set.
        self._watcher = Watcher([sys.executable, "-c", _REAP, f"{_LABEL}={label}"])
        self._container = made
        try:
            made.start()
        except Exception as error:
            raise ServerError(f"no container of {self.image} could be started: {error}; {self._advice()}") from error
        self._wait()

    def restart(self, *, kill: bool = False) -> None:
        self._own_session.close()
        if kill:
            self._inside.kill()
            self._inside.wait()
        else:
            self._inside.stop(timeout=_STOP_TIMEOUT)
        self._inside.start()
        self._wait()

    @contextmanager
    def paused(self) -> Iterator[None]:
        if self._container is None:
            raise ServerError(f"{self!r} is not running, so it cannot be paused")
        inside = self._inside
        inside.pause()
        try:
            yield
        finally:
            inside.reload()
            if inside.status == "paused":  # It may have been killed meanwhile.
                inside.unpause()

    def read_log(self) -> str:
        return "" if self._container is None else b"".join(self._container.get_logs()).decode(errors="replace")

    def close(self) -> None:
        """Remove the container; a second call does nothing."""
        self._own_session.close()
        made, self._container = self._container, None
        watcher, self._watcher = self._watcher, None
        if made is None or watcher is None:
            return
        was_made = made.get_wrapped_container() is not None
        made.stop()
        # Interrupted in its start, it may be there without our knowing of it.
        (watcher.dismiss if was_made else watcher.finish)()

    def _admin_args(self) -> dict[str, Any]:
        # The first login takes a safe way, TLS, for caching_sha2_password; from then on the server knows the password.
        return {"ssl": {"verify_mode": "none"}}

    @property
    def _inside(self) -> Any:
        return self._container.get_wrapped_container()

    def _advice(self) -> str:
        return (
            f"name an image that is there by --persistconn-mysql-image or {IMAGE_VARIABLE}, or pull it:"
            f" docker pull {self.image}"
        )

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        while (why := self._find_why_not()) is not None:
            self._inside.reload()
            if self._inside.status == "exited" or time.monotonic() > deadline:
                raise ServerError(f"{self!r} did not start: {why}; its last words:\n{last_lines(self.read_log())}")
            time.sleep(0.1)

    def _find_why_not(self) -> Exception | None:
        """Return what stands against a login, None if it succeeds."""
        import pymysql

        try:
            self.ask("SELECT 1")
        except (pymysql.err.MySQLError, OSError) as error:
            return error
        return None


def find_engine() -> None:
    """Return if a container engine answers. Raises EngineNotFound, which says what to do."""
    try:
        from testcontainers.core.docker_client import DockerClient
    except ImportError as error:
        raise EngineNotFound(
            f"no containers without testcontainers ({error}): pip install 'persistconn[testing]'"
        ) from error
    if (why := _ping(DockerClient)) is not None:
        where = os.environ.get("DOCKER_HOST", "the default socket")
        raise EngineNotFound(
            f"no container engine answers at {where} ({why}): start Docker, or podman:"
            " systemctl --user start podman.socket && export DOCKER_HOST=unix://$XDG_RUNTIME_DIR/podman/podman.sock;"
            " in persistconn's repository, scripts/need-mysql-container provides one on Debian"
        )


def _ping(client_class: Any) -> str | None:
    """Return why an engine does not answer, None if it does."""
    why = None
    with warnings.catch_warnings():
        # Docker's library leaves a socket behind that it could not connect, and the test that is next would be blamed.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            engine = client_class().client
            engine.ping()
            engine.close()
        except Exception as error:
            why = type(error).__name__
        gc.collect()
    return why
