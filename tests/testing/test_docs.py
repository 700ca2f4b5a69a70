"""docs/testing.md: what it shows is run, as one file of tests."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.server, pytest.mark.slow]

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")


def test_its_tests_pass(run: Callable[..., pytest.RunResult]) -> None:
    """Each snippet stands on those above it, as in a reader's file."""
    code = "\n\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE))
    wanted = len(re.findall(r"^def test_", code, re.MULTILINE))
    assert wanted >= 8
    run(code, "-p", "no:django").assert_outcomes(passed=wanted)


def test_all_fixtures_and_options_are_in_it(run: Callable[..., pytest.RunResult]) -> None:
    """By what pytest lists."""
    listed = run("", "--fixtures", "-p", "no:django").stdout.str()
    ours = re.findall(r"^(\w+)(?: \[session scope\])? -- \S*pytest_persistconn/\w+\.py", listed, re.MULTILINE)
    assert {"expire", "mysql"} <= set(ours)
    assert [] == [name for name in ours if f"`{name}" not in PAGE and name != "mysql_under_test"]
    options = re.findall(r"--persistconn-[\w-]+", run("", "--help").stdout.str())
    assert [] == [option for option in set(options) if option not in PAGE]
