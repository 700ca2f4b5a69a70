"""The fault table, row by row: what each number means at a statement and at a connect."""

from __future__ import annotations

import pytest

from persistconn.drivers import faults
from persistconn.drivers.base import Fault

STATEMENT = {
    Fault.DEFINITE: [1053, 1158, 1159, 2006, 3032, 3168, 3169, 4031],
    Fault.AMBIGUOUS: [
        1080,
        1152,
        1154,
        1155,
        1156,
        1157,
        1160,
        1161,
        1180,
        1181,
        1184,
        1927,
        2000,
        2013,
        2014,
        2026,
        2027,
        2045,
        2055,
        2999,
    ],
    Fault.ROLLED_BACK: [1020, 1206, 1213, 1402, 1613, 1614, 1637, 3100, 3101],
    Fault.WRONG_SERVER: [1036, 1047, 1290, 1792, 1836, 1874],
    # Answers: to the statement alone, somebody's will, or the same again at the next try.
    Fault.NONE: [
        1205,
        3572,
        3058,
        1317,
        1969,
        3024,
        1021,
        1030,
        1114,
        1197,
        3796,
        1022,
        1048,
        1054,
        1062,
        1064,
        1142,
        1143,
        1146,
        1153,
        1227,
        1264,
        1305,
        1366,
        1406,
        1419,
        1451,
        1452,
        1586,
        1665,
        1785,
        3819,
        4025,
        999,
        1999,
        3000,
    ],
}
CONNECT = {
    Fault.AWAY: [
        2002,
        2003,
        2004,
        2005,
        2006,
        2012,
        2013,
        2055,
        1042,
        1043,
        1047,
        1053,
        1080,
        1152,
        1158,
        1927,
        3168,
        4031,
    ],
    Fault.NO_CAPACITY: [1037, 1040, 1041, 1129, 1135, 1203, 1226],
    Fault.REFUSED: [1044, 1045, 1049, 1130, 1251, 2007, 2019, 2026, 2049, 2059, 2061, 3159, 1064],
}


@pytest.mark.parametrize(("fault", "code"), [(fault, code) for fault, codes in STATEMENT.items() for code in codes])
def test_at_a_statement(fault: Fault, code: int) -> None:
    """Whether it was executed, and what is left of the transaction and of the connection."""
    assert faults.of_statement(code) is fault


@pytest.mark.parametrize(("fault", "code"), [(fault, code) for fault, codes in CONNECT.items() for code in codes])
def test_at_a_connect(fault: Fault, code: int) -> None:
    """Whether trying again helps, and how soon."""
    assert faults.of_connect(code) is fault


def test_error_without_a_number_is_the_worst_case() -> None:
    """A statement may have been executed; a connect can be tried again."""
    assert faults.of_statement(None) is Fault.AMBIGUOUS
    assert faults.of_connect(None) is Fault.AWAY


@pytest.mark.parametrize("fault", list(Fault))
def test_answers_are_those_that_keep_the_connection(fault: Fault) -> None:
    """All others end it, or were the end of an attempt to make one."""
    assert fault.is_answer == (fault in {Fault.NONE, Fault.ROLLED_BACK, Fault.WRONG_SERVER})


@pytest.mark.parametrize(
    ("error", "code"),
    [(OSError(5, "text"), 5), (ValueError("text"), None), (ValueError(), None), (KeyError(2013), 2013)],
)
def test_number_is_the_first_argument(error: Exception, code: int | None) -> None:
    """As PEP 249's drivers for MySQL have it."""
    assert faults.code_of(error) == code
