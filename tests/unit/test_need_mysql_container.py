"""scripts/need-mysql-container with a stand-in for the engine: what it prints, and the one line that says why not."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "need-mysql-container"
TOOLS = ["sh", "dirname", "mkdir", "rm", "cat", "id", "cksum", "cut", "grep", "tail", "tr", "sed", "flock", "timeout"]

ENGINE = """#!/bin/sh
echo "$DOCKER_HOST $*" >>"$CALLS"
case "$1 $2" in
"context inspect") echo unix:///by/context ;;
"version ") exit {answers} ;;
"image inspect") [ "$3" = "{has}" ] ;;
"pull "*) echo "no such host" >&2; exit 1 ;;
"run --detach") echo "{trial}" >&2; [ -z "{trial}" ] ;;
"wait "*) echo 0 ;;
esac
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    """What the engine was asked for, a line each."""
    return tmp_path / "calls"


@pytest.fixture
def run(tmp_path: Path, calls: Path) -> Run:
    """Run the script where there is no apt, no podman, and only the engine that is given."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        if found is None:
            pytest.skip(f"no {name} on this machine")
        (tools / name).symlink_to(found)

    def run(*words: str, engine: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        if engine:
            (tools / "docker").write_text(engine, encoding="utf-8")
            (tools / "docker").chmod(0o755)
        environment = {"PATH": str(tools), "HOME": str(tmp_path), "CALLS": str(calls), **variables}
        return subprocess.run(
            ["sh", str(SCRIPT), *words], env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def engine(*, answers: bool = True, has: str = "", trial: str = "") -> str:
    """Return a stand-in for Docker's client: the image that it has, and why it cannot run it."""
    return ENGINE.format(answers=int(not answers), has=has, trial=trial)


def test_what_is_there_is_named(run: Run, calls: Path) -> None:
    """The engine of Docker's context, and the official image. Nothing is pulled, and the trial container is removed."""
    done = run(engine=engine(has="mysql:8.4"))
    assert (0, "") == (done.returncode, done.stderr)
    assert [
        "export DOCKER_HOST='unix:///by/context'",
        "export PERSISTCONN_MYSQL_IMAGE='mysql:8.4'",
        "export TESTCONTAINERS_RYUK_DISABLED=true",
    ] == done.stdout.splitlines()
    asked = calls.read_text()
    assert "pull" not in asked
    assert "rm --force" in asked.splitlines()[-1]


def test_what_the_user_names_goes_first(run: Run) -> None:
    """Also with a quote in its name, which the shell that evaluates the lines must not trip over."""
    done = run(engine=engine(has="it's:1"), DOCKER_HOST="tcp://there:1", PERSISTCONN_MYSQL_IMAGE="it's:1")
    evaluated = subprocess.run(
        ["sh", "-c", f'{done.stdout}\necho "$DOCKER_HOST $PERSISTCONN_MYSQL_IMAGE"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "tcp://there:1 it's:1\n" == evaluated.stdout


@pytest.mark.parametrize(
    ("there", "variables", "reason"),
    [
        ("", {}, "no container engine answers here"),
        (engine(answers=False), {}, "no container engine answers here"),
        (
            engine(answers=False),
            {"DOCKER_HOST": "unix:///x"},
            "no container engine answers at DOCKER_HOST, which is unix:///x",
        ),
        (engine(), {"PERSISTCONN_MYSQL_IMAGE": "mine:1"}, "has no image mine:1, and cannot pull it (no such host)"),
        (engine(), {}, "cannot pull mysql:8.4 (no such host), and of Debian's MySQL: no apt-get to fetch it with"),
        (
            engine(has="mysql:8.4", trial="netavark: no iptables"),
            {},
            "cannot run the image mysql:8.4 (netavark: no iptables)",
        ),
    ],
    ids=["no engine", "dead engine", "dead engine by name", "no such image", "no registry", "no network"],
)
def test_the_last_line_says_why_not(run: Run, there: str, variables: dict[str, str], reason: str) -> None:
    """And what to do. Nothing is printed that a shell would evaluate."""
    done = run(engine=there, **variables)
    assert (1, "") == (done.returncode, done.stdout)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("need-mysql-container: ")
    assert reason in last
    assert "export PERSISTCONN_MYSQL_IMAGE=mysql:8.4" in last


def test_end_without_a_service_does_nothing(run: Run) -> None:
    """It may have exited by itself."""
    assert (0, "", "") == ((done := run("end")).returncode, done.stdout, done.stderr)


def test_end_leaves_another_process_with_the_pid_alone(run: Run, tmp_path: Path) -> None:
    """The pid file of a service that was killed stays behind."""
    other = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        (tmp_path / ".cache/persistconn/podman").mkdir(parents=True)
        (tmp_path / ".cache/persistconn/podman/pid").write_text(str(other.pid))
        assert 0 == run("end").returncode
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
