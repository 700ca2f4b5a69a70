"""What the built wheel is made of."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

TREE = Path(__file__).parents[2]


@pytest.mark.parametrize("package", ["persistconn", "workers"])
def test_every_directory_with_modules_is_a_package(package: str) -> None:
    """The build leaves a directory without __init__.py out of the wheel, and a management command would be missing."""
    directories = {module.parent for module in (TREE / package).rglob("*.py")}
    assert [str(d.relative_to(TREE)) for d in sorted(directories) if not (d / "__init__.py").is_file()] == []


@pytest.mark.parametrize("package", ["persistconn", "workers"])
def test_installed_package_says_that_it_is_typed(package: str) -> None:
    """py.typed is installed too: without it a user's mypy ignores our annotations."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).with_name("py.typed").is_file()
