"""A throwaway server, and a proxy that breaks connections, for a shell: ``python -m persistconn.testing``."""

from __future__ import annotations

import argparse
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from persistconn.testing.installation import KINDS, ServerError

if TYPE_CHECKING:
    from persistconn.testing.faults import Armed, Fault, Rule

_DESCRIPTION = "Servers and faults for tests and experiments; all of it is gone at Ctrl-C."
_USAGE, _FAILED = 2, 1


def main(argv: Sequence[str]) -> int:
    """Run a command until Ctrl-C or SIGTERM; returns 0, 1 if it could not start, 2 for a call that makes no sense."""
    options = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace, threading.Event], None] = options.run
    try:
        with _until_told() as told:
            run(options, told)
    except (ServerError, OSError, ValueError) as error:
        print(f"persistconn.testing {options.command}: {error}", file=sys.stderr)  # noqa: T201 - a command line prints
        return _USAGE if isinstance(error, ValueError) else _FAILED
    return 0


@contextmanager
def _until_told() -> Iterator[threading.Event]:
    """Turn Ctrl-C and SIGTERM into an event; before and after, they do what they did."""
    told = threading.Event()
    previous = {number: signal.signal(number, lambda *_: told.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield told
    finally:
        for number, former in previous.items():
            signal.signal(number, former)


def _wait(told: threading.Event, look: Callable[[], object] = lambda: None) -> None:
    # In slices: a signal is handled between them, wherever it arrived.
    while not told.wait(0.2):
        look()
    look()


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command line prints


# --- server --------------------------------------------------------------------------------------------------------------


def _serve(options: argparse.Namespace, told: threading.Event) -> None:
    from persistconn.testing.fleet import Fleet

    variables = dict(_pair(text) for text in options.set)
    if options.wait_timeout is not None:
        variables["wait_timeout"] = options.wait_timeout
    place = {} if options.port is None else {"port": options.port}
    fleet = Fleet(image=options.image, variables=place)
    try:
        server = fleet.shared(options.kind, **variables)
        _say(server.dsn)
        _wait(told)
    finally:
        fleet.close()


def _pair(text: str) -> tuple[str, str | float]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise ValueError(f"--set {text}: write it NAME=VALUE")
    return name, value


# --- proxy ---------------------------------------------------------------------------------------------------------------


def _stand_between(options: argparse.Namespace, told: threading.Event) -> None:
    from persistconn.testing.faults import FaultProxy

    host, port = _address(options.to)
    try:
        proxy = FaultProxy(host, port, port=options.port)
    except socket.gaierror as error:
        raise ServerError(f"--to {options.to}: the name {host} has no address ({error})") from error
    except OSError as error:
        raise ServerError(
            f"cannot listen on port {options.port} ({error.strerror}): take another --port, or none"
        ) from error
    with proxy:
        armed = [proxy.arm(rule) for rule in _rules(options)]
        _say(f"{proxy.host}:{proxy.port}")
        _wait(told, _Reporter(armed).look)


def _address(text: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or not host or not port.isdigit():
        raise ValueError(f"--to {text}: write it HOST:PORT")
    return host.strip("[]"), int(port)


def _rules(options: argparse.Namespace) -> Iterator[Rule]:
    from persistconn.testing.faults import Cut, Delay, Rule, Stall
    from persistconn.testing.serverproxy import where

    times = options.times or None
    faults: dict[str, Fault] = {"cut": Cut(), "stall": Stall(), "delay": Delay(options.seconds)}
    for name, fault in faults.items():
        for after in (False, True):
            for text in getattr(options, f"{name}_{'after' if after else 'before'}"):
                at = int(text) if text.isdigit() else text
                yield Rule(fault, where(at, after=after, nth=options.nth), times)


class _Reporter:
    """Tells of each fault that has struck since the last look, on stderr: stdout has the address alone."""

    def __init__(self, armed: list[Armed]) -> None:
        self._armed = armed
        self._told = [0] * len(armed)

    def look(self) -> None:
        for number, armed in enumerate(self._armed):
            packets = armed.packets
            for packet in packets[self._told[number] :]:
                print(f"{type(armed.rule.fault).__name__.lower()} at {packet}", file=sys.stderr, flush=True)  # noqa: T201
            self._told[number] = len(packets)


# --- arguments -----------------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m persistconn.testing", description=_DESCRIPTION)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_server(commands.add_parser("server", help="start a throwaway server and print its DSN, until Ctrl-C"))
    _add_proxy(commands.add_parser("proxy", help="stand before a server and break connections, until Ctrl-C"))
    return parser


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_serve)
    parser.add_argument("--kind", choices=KINDS, default="auto", help="which server (default: the first that is there)")
    parser.add_argument("--wait-timeout", type=int, metavar="SECONDS", help="end sessions that are idle for so long")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="any other server variable")
    parser.add_argument("--port", type=int, help="the port to listen on (default: a free one)")
    parser.add_argument("--image", help="the image of a container (default: PERSISTCONN_MYSQL_IMAGE, else mysql:8.4)")


def _add_proxy(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_stand_between)
    parser.add_argument("--to", required=True, metavar="HOST:PORT", help="the server")
    parser.add_argument("--port", type=int, default=0, help="the port to listen on (default: a free one)")
    said = {
        "cut": "cut the connection",
        "stall": "pass on nothing more",
        "delay": "pass it on late",
    }
    for name, what in said.items():
        for when, where in (("before", "before the server gets it"), ("after", "when the server has executed it")):
            words = f"{what} at a statement with this text, or at the one of this number: {where}"
            parser.add_argument(f"--{name}-{when}", action="append", default=[], metavar="STATEMENT", help=words)
    parser.add_argument("--nth", type=int, default=1, help="at the nth statement with the text (default: 1)")
    parser.add_argument("--times", type=int, default=1, help="how often, 0 for always (default: 1)")
    parser.add_argument("--seconds", type=float, default=1.0, help="how late, of --delay-... (default: 1)")
