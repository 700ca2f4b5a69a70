"""Every Python snippet of the documents runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest

import persistconn
from persistconn.testing import MariaDB

ROOT = Path(__file__).parents[2]
# The snippets of these two stand on each other, and have tests of their own in tests/faults and tests/testing.
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(page for page in (ROOT / "docs").glob("*.md") if page.name not in ("faults.md", "testing.md")),
]
# The one thing that a reader puts in for himself.
PLACEHOLDER = 'host="db", user="app", password="secret", database="shop"'


def snippets() -> list[Any]:
    """Find the fenced blocks, each with the document and the line where it stands."""
    blocks = []
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for found in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            line = text[: found.start()].count("\n") + 2
            blocks.append(pytest.param(found.group(1), id=f"{document.relative_to(ROOT)}:{line}"))
    return blocks


@pytest.fixture
def shop(server: MariaDB, database: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The database that the snippets speak of."""
    with pymysql.connect(**database, autocommit=True) as bare, bare.cursor() as cursor:
        cursor.execute("CREATE TABLE invoice (id INT PRIMARY KEY, paid TINYINT NOT NULL DEFAULT 0)")
        cursor.execute("CREATE TABLE settlement (invoice INT NOT NULL)")
        cursor.execute("INSERT INTO invoice (id) SELECT seq FROM seq_1_to_100")
    yield database
    persistconn.shutdown()


@pytest.mark.parametrize("code", snippets())
def test_snippet_runs(code: str, shop: dict[str, Any]) -> None:
    """As it stands, but for the address of the server."""
    exec(compile(code.replace(PLACEHOLDER, "**SHOP"), "<snippet>", "exec"), {"SHOP": shop, "__name__": "snippet"})


def test_ten_lines_of_the_readme_do_what_they_say(shop: dict[str, Any]) -> None:
    """A hundred invoices are settled on at most eight sessions."""
    code = next(found.values[0] for found in snippets() if "pool.map(settle" in str(found.values[0]))
    with pymysql.connect(**shop, autocommit=True) as bare, bare.cursor() as cursor:
        # The server's own count is that of everybody who connects meanwhile.
        cursor.execute("CREATE TABLE seen (session BIGINT)")
        cursor.execute(
            "CREATE TRIGGER sees AFTER UPDATE ON invoice FOR EACH ROW INSERT INTO seen VALUES (CONNECTION_ID())"
        )
        exec(compile(code.replace(PLACEHOLDER, "**SHOP"), "<snippet>", "exec"), {"SHOP": shop, "__name__": "snippet"})
        cursor.execute("SELECT COUNT(*), COUNT(DISTINCT session) <= 8 FROM seen")
        assert ((100, 1),) == cursor.fetchall()
        cursor.execute("SELECT SUM(paid) FROM invoice")
        assert ((100,),) == cursor.fetchall()


def test_settings_table_is_complete() -> None:
    """Each setting of the policy stands in the README with its default, and no other."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([\w.]+)", readme, re.MULTILINE)
    policy = persistconn.Policy()
    listed = dict(rows)
    assert set(listed) == set(persistconn.Policy.__dataclass_fields__)
    for name, default in listed.items():
        value = getattr(policy, name)
        assert default == ("none" if value is None else str(value) if isinstance(value, bool) else f"{value:g}")


def test_readme_can_be_read_in_three_minutes() -> None:
    """Under 150 lines."""
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 150
