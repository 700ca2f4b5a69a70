"""The names of locks, and what they tell."""

from __future__ import annotations

from persistconn.once.names import PURGE, election_name, heart_of, random_name, session_name

MOST_CHARACTERS = 64
"""Of a lock's name in MySQL, and of the ledger's column ``owner``."""


def test_a_session_s_name_tells_the_heart_of_its_process() -> None:
    """So whoever finds its row can ask for that."""
    heart = random_name()
    first, second = session_name(heart), session_name(heart)
    assert first != second
    assert heart_of(first) == heart_of(second) == heart


def test_a_session_without_a_heart_tells_none() -> None:
    """Nor do the names of other locks."""
    names = [session_name(None), random_name(), election_name(bytes(32)), PURGE, ""]
    assert [heart_of(name) for name in names] == [None] * 5


def test_the_names_fit() -> None:
    """A longer one would be an error of MySQL's, and cut off in the ledger."""
    assert max(len(session_name(random_name())), len(election_name(b"x" * 32))) <= MOST_CHARACTERS
