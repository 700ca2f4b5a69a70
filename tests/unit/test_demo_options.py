"""The demo's arguments: what cannot work is said in one line, before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.demo import main
from workers.demo.options import parse


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "billing").mkdir()
    (tmp_path / "billing" / "jobs.py").touch()
    return tmp_path


def test_a_seed_is_drawn_where_none_is_given(project: Path) -> None:
    """Every run can be repeated, for the verdict names its seed."""
    assert parse(["--project", str(project)]).seed >= 0
    assert parse(["--project", str(project), "--seed", "7"]).seed == 7


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--seconds", "1"], "--seconds: 1 is not within 5 to 3600"),
        (["--seconds", "nan"], "--seconds: nan is not within 5 to 3600"),
        (["--seconds", "long"], "--seconds: 'long' is no number"),
        (["--threads", "0"], "--threads: 0 is not within 1 to 64"),
        (["--threads", "2.5"], "--threads: '2.5' is no whole number"),
        (["--speed", "9"], "unrecognized arguments: --speed 9"),
    ],
)
def test_a_bad_argument_is_one_line_and_status_2(
    arguments: list[str], complaint: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line names the argument, its value and the limit."""
    assert main(["--project", str(project), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert complaint in line


def test_without_the_example_project_it_says_where_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An installed package does not carry the example; the repository does."""
    assert main(["--project", str(tmp_path / "nowhere")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "root of the repository" in line


def test_a_machine_without_a_server_is_told_what_to_install(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, with the command that installs it."""
    monkeypatch.setattr("persistconn.testing.installation._DIRECTORIES", ())
    monkeypatch.setenv("PATH", "")
    assert main(["--plain", "--project", str(project)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "install it with `apt-get install" in line
