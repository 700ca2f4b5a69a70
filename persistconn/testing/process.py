"""The process of a private server: started, awaited, ended, and never left behind."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from persistconn.testing.installation import ServerError, last_lines
from persistconn.testing.watcher import Watcher

_START_TIMEOUT = 60.0  # seconds; 0.1 are usual, and a recovery after kill -9 under load takes longest
_PRIVILEGED = 1024  # ports below are root's
_STOP_TIMEOUT = 60.0  # seconds until an orderly stop is taken for a hang
_STOPS_WITHIN = 0.1  # seconds; threads stop one by one, each when it next runs

#: Not the shared generator: test tools seed that one, and parallel runs would all pick the same port.
_random = random.SystemRandom()


class PortTaken(ServerError):
    """Something else listens on the server's port."""


class ServerProcess:
    """One run of a server, from its start to its end. Its output goes to the end of `log`."""

    def __init__(self, command: list[str], log: Path, *, leaves: Path | None) -> None:
        """Start the process. `leaves` is a directory to be removed should our own process be killed."""
        self._log = log
        self._offset = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            # A session of its own: Ctrl-C is for the program under test, and would end the server beside it.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=log.parent,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self._watcher = Watcher.of(pid=self.pid, directory=leaves)

    def is_running(self) -> bool:
        """Tell whether the process is there."""
        return self._process.poll() is None

    def wait_until_ready(self) -> None:
        """Wait until the server listens. Raises PortTaken, or ServerError with the last lines of the log."""
        deadline = time.monotonic() + _START_TIMEOUT
        # The log is what we look at: a look at the socket would be noted there as an aborted connection.
        while "ready for connections" not in self._said():
            if not self.is_running():
                raise self._explain()
            if time.monotonic() > deadline:
                raise ServerError(
                    f"the server was not ready within {_START_TIMEOUT:.0f} s:\n{last_lines(self._said())}"
                )
            time.sleep(0.01)

    def stop(self) -> None:
        """Ask for an orderly end (SIGTERM) and wait for it. Raises ServerError after a minute; it is killed then."""
        self._watcher.dismiss()
        self._process.terminate()
        try:
            self._process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise ServerError(
                f"the server ignored SIGTERM for {_STOP_TIMEOUT:.0f} s and was killed: {self._log}"
            ) from error

    def kill(self) -> None:
        """End the process at once (SIGKILL) and wait until it is gone."""
        self._watcher.dismiss()
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Freeze the process (SIGSTOP), and wait until all of its threads have stopped."""
        self._process.send_signal(signal.SIGSTOP)
        if sys.platform == "darwin":
            time.sleep(_STOPS_WITHIN)  # Python has no waitid() there.
        else:
            # Returns when the last thread has stopped. WNOWAIT leaves an exit status for poll().
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let a frozen process go on (SIGCONT). One that has ended is no error."""
        self._process.send_signal(signal.SIGCONT)

    def _said(self) -> str:
        """Return what this run has written to the log so far."""
        with self._log.open("rb") as log:
            log.seek(self._offset)
            return log.read().decode("utf-8", "replace")

    def _explain(self) -> ServerError:
        said = self._said()
        if "Bind on TCP/IP port" in said or "setup_listener" in said:
            return _explain_port(said)
        status = self._process.returncode
        return ServerError(f"the server did not start (exit status {status}); {_advise(said)}:\n{last_lines(said)}")


def _explain_port(said: str) -> ServerError:
    if "ermission denied" in said:
        return ServerError(
            f"the server may not listen on this port: one below {_PRIVILEGED} needs root, so name a higher `port`, or"
            f" none:\n{last_lines(said)}"
        )
    return PortTaken(
        "the server's port is taken: end what listens there (`ss -ltnp` shows it), or name another `port`, or none:"
        f"\n{last_lines(said)}"
    )


def _advise(said: str) -> str:
    if "unknown variable" in said or "unknown option" in said:
        return "it does not know a variable that it was given as a keyword argument: check the name"
    if "No space left" in said or "Disk is full" in said:
        return "the disk is full: make room, or set TMPDIR to a directory on another one"
    if "Permission denied" in said or "Errcode: 13" in said or "OS errno 13" in said:
        return (
            "it may not use its directory (AppArmor lets a packaged mysqld into few: `sudo aa-status`): set TMPDIR to"
            " one that it may use"
        )
    return "what it says last is the reason"


def pick_port(host: str) -> int:
    """Return a free port below the range that the system hands out to clients. Raises ServerError if all are taken.

    One from that range (which is what binding to port 0 gives) may be taken by any outgoing connection while the server
    is down; worse, a client that knocks again and again can be given it as its own and be connected to itself.
    """
    for _ in range(100):
        port = _random.randrange(10240, 32768)
        if _is_free(host, port):
            return port
    raise ServerError(f"found no free port on {host} in a hundred tries")


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
