"""The example project, run as its reader would: by its own configuration, in a copy outside of the tree."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytestmark = [pytest.mark.server, pytest.mark.slow]

EXAMPLE = Path(__file__).parents[2] / "examples" / "testing"


def test_its_suite_passes(pytester: pytest.Pytester, outside: None) -> None:
    """On what is installed (under tox the wheel), with pytest-django."""
    pytest.importorskip("pytest_django", reason="pytest-django is not installed")
    shutil.copytree(EXAMPLE, pytester.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=10)
