"""A test runner that writes down what became of each test, one line of JSON as it ends."""

from __future__ import annotations

import json
import os
import sys
import unittest
from types import TracebackType
from typing import Any

from django.test.runner import DiscoverRunner

from django_suite.comparison import TEARDOWN
from django_suite.settings import install_as_mysqldb

ErrorInfo = tuple[type[BaseException], BaseException, TracebackType]


class OutcomeResult(unittest.TextTestResult):
    """Prints what unittest prints, and writes down each outcome as it comes."""

    def addSuccess(self, test: unittest.TestCase) -> None:
        super().addSuccess(test)
        self._note(test, "ok")

    def addError(self, test: unittest.TestCase, err: Any) -> None:
        super().addError(test, err)
        self._note(test, "ERROR", err)

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        super().addFailure(test, err)
        self._note(test, "FAIL", err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        super().addSkip(test, reason)
        self._note(test, "skip", said=reason)

    def addExpectedFailure(self, test: unittest.TestCase, err: Any) -> None:
        super().addExpectedFailure(test, err)
        self._note(test, "expected failure")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        super().addUnexpectedSuccess(test)
        self._note(test, "unexpected success")

    def addSubTest(self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any) -> None:
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note(test, "FAIL" if issubclass(err[0], test.failureException) else "ERROR", err)

    def _note(self, test: unittest.TestCase, outcome: str, err: ErrorInfo | None = None, said: str = "") -> None:
        _write(test.id(), outcome, err, said)


def _write(test: str, outcome: str, err: ErrorInfo | None = None, said: str = "") -> None:
    """Append one line to the file that DJANGO_SUITE_OUTCOMES names, so that a run that is cut off has told what it knew."""
    if err is not None:
        said = f"{err[0].__name__}: {err[1]}".split("\n", 1)[0]
    line = json.dumps({"test": test, "outcome": outcome, "said": said[:300]})
    with open(os.environ["DJANGO_SUITE_OUTCOMES"], "a", encoding="utf-8") as outcomes:
        outcomes.write(line + "\n")


class Runner(DiscoverRunner):  # type: ignore[misc,unused-ignore]
    """Django's runner with that result class; refuses parallel runs, whose results come from other processes."""

    def get_resultclass(self) -> type[unittest.TextTestResult]:
        return OutcomeResult

    def run_suite(self, suite: unittest.TestSuite, **kwargs: Any) -> Any:
        if self.parallel > 1:
            sys.exit("django-suite: --parallel 1 only")
        # Some tests import MySQLdb themselves. Only now: the engine has shown that it does without.
        install_as_mysqldb()
        return super().run_suite(suite, **kwargs)

    def teardown_databases(self, old_config: Any, **kwargs: Any) -> None:
        super().teardown_databases(old_config, **kwargs)
        _write(TEARDOWN, "ok")
