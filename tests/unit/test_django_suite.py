"""How the outcomes of Django's own suite are compared."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from django_suite.comparison import Outcome, common_failures, differences, label_of, read_outcomes, table

OK, FAIL, SKIP = Outcome("ok"), Outcome("FAIL", "1 != 2"), Outcome("skip", "not here")


def test_the_worst_of_several_outcomes_counts(tmp_path: Path) -> None:
    """A test whose subtest failed is reported as ok in the end by nobody."""
    path = tmp_path / "outcomes"
    lines = [{"test": "a.b", "outcome": outcome, "said": outcome} for outcome in ("ok", "FAIL", "skip")]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert read_outcomes(path) == {"a.b": Outcome("FAIL", "FAIL")}


def test_a_test_that_ran_on_one_engine_only_is_different() -> None:
    """A run that was cut off cannot pass for the same."""
    (line,) = differences({"schema.a": OK, "schema.b": SKIP}, {"schema.a": OK})
    assert line.startswith("schema.b")
    assert "not run" in line


def test_a_failure_on_one_engine_is_different_and_on_both_is_listed() -> None:
    """What PyMySQL does otherwise than mysqlclient fails on both; it is said, and it is no difference."""
    stock, ours = {"schema.a": FAIL, "schema.b": OK}, {"schema.a": FAIL, "schema.b": FAIL}
    assert [line.split("\n")[0] for line in differences(stock, ours)] == ["schema.b"]
    assert list(common_failures(stock, ours)) == ["schema.a: FAIL 1 != 2"]


def test_a_class_that_could_not_be_set_up_belongs_to_its_label() -> None:
    """The test runner names it by a sentence."""
    assert label_of("setUpClass (schema.tests.SchemaTests)", ["backends", "schema"]) == "schema"
    assert label_of("schema_two.tests.X.test", ["backends", "schema"]) == "(other)"


def test_the_table_counts_each_engine_and_the_differences() -> None:
    """One pair of lines for each label that has tests."""
    head, stock, ours = table(["schema", "backends"], {"schema.a": OK, "schema.b": SKIP}, {"schema.a": FAIL})
    assert head.split()[:3] == ["label", "engine", "tests"]
    assert stock.split() == ["schema", "stock", "2", "1", "0", "0", "1", "0"]
    assert ours.split() == ["persistconn", "1", "0", "1", "0", "0", "0", "2"]
