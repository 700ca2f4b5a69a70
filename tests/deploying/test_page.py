"""``docs/deploying.md`` says what is there."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import persistconn

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "deploying.md").read_text(encoding="utf-8")


def test_each_example_that_it_names_is_there_and_says_how_it_is_started() -> None:
    """By one command."""
    examples = {DOCS / place for place in re.findall(r"\]\((\.\./examples/[\w/-]+)\)", PAGE)}
    assert len(examples) == 7
    assert [place for place in examples if "```sh" not in (place / "README.md").read_text(encoding="utf-8")] == []


def test_the_table_of_the_pool_s_settings_is_complete() -> None:
    """Each with its default."""
    listed = dict(re.findall(r"^\| `(\w+)` \| ([\w. ]+?) \|", PAGE, re.MULTILINE))
    expected = {}
    for setting in dataclasses.fields(persistconn.Pool):
        default = setting.default
        is_number = isinstance(default, (int, float)) and not isinstance(default, bool)
        expected[setting.name] = f"{default:g}" if is_number else str(default)
    expected["max_size"] = "must be given"
    assert expected == listed
