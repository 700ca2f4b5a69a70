"""Every snippet of docs/faults.md runs, in the state that the page's first one leaves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from persistconn.testing import MariaDB

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


def read_snippets() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


PREAMBLE, *SNIPPETS = read_snippets()


@pytest.mark.server
@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(1, len(SNIPPETS) + 1))
def test_snippet_runs(snippet: str, server: MariaDB) -> None:
    """With the preamble before it, each stands by itself; `server` is there for its skip alone."""
    names: dict[str, Any] = {}
    exec(compile(PREAMBLE, f"{PAGE.name} (preamble)", "exec"), names)
    try:
        exec(compile(snippet, PAGE.name, "exec"), names)
    finally:
        names["admin"].close()
        names["server"].close()


def test_page_has_snippets() -> None:
    """A page whose snippets are not found would pass for good."""
    assert len(SNIPPETS) >= 3
