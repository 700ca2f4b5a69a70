"""What a real server sends, read through persistconn and through bare PyMySQL: all types of columns, at random."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import closing
from types import ModuleType
from typing import Any

import pymysql
import pytest

import persistconn
from persistconn.drivers.answers import Answers

pytestmark = [
    pytest.mark.server,
    pytest.mark.usefixtures("no_sweep"),
    pytest.mark.parametrize("module", ["pymysql"], indirect=True),
    pytest.mark.parametrize("fast_reads", [True, False], ids=["fast_reads", "driver_reads"]),
]

ROWS = int(os.environ.get("PERSISTCONN_EXAMPLES", "20"))
LENGTHS = (0, 1, 2, 249, 250, 251, 252, 255, 256, 300)


def whole(bits: int, signed: bool = True) -> Callable[[random.Random], int]:
    """Return what draws a whole number of so many bits."""
    low = -(2 ** (bits - 1)) if signed else 0
    return lambda rng: rng.choice([0, 1, low, low + 2**bits - 1, low + rng.randrange(2**bits)])


def text(letters: str, most: int) -> Callable[[random.Random], str]:
    """Return what draws a text of at most so many characters."""
    return lambda rng: "".join(rng.choices(letters, k=min(rng.choice(LENGTHS), most)))


def binary(most: int) -> Callable[[random.Random], bytes]:
    """Return what draws at most so many bytes."""
    return lambda rng: rng.randbytes(min(rng.choice(LENGTHS), most))


def moment(form: str) -> Callable[[random.Random], str]:
    """Return what draws a date, a time or both; some are none."""
    return lambda rng: form.format(
        y=rng.choice([0, 1970, 2026]), m=rng.randint(0, 12), d=rng.randint(0, 28), s=rng.choice([0, 1, 59, 0.000001])
    )


ASCII, LATIN, ALL = "ab'\\\0\n%", "aé ÿ", "aé€😀\u0000"
COLUMNS: dict[str, Callable[[random.Random], Any]] = {
    "BOOLEAN": lambda rng: rng.choice([True, False]),
    "TINYINT UNSIGNED": whole(8, signed=False),
    "SMALLINT": whole(16),
    "MEDIUMINT": whole(24),
    "INT": whole(32),
    "BIGINT": whole(64),
    "BIGINT UNSIGNED": whole(64, signed=False),
    "DECIMAL(65,30)": lambda rng: str(rng.uniform(-1e34, 1e34)),
    "FLOAT": lambda rng: rng.uniform(-1e30, 1e30),
    "DOUBLE": lambda rng: rng.uniform(-1e300, 1e300),
    "BIT(1)": whole(1, signed=False),
    "BIT(64)": whole(64, signed=False),
    "DATE": moment("{y:04}-{m:02}-{d:02}"),
    "TIME": moment("-{y:03}:{m:02}:{d:02}"),
    "TIME(6)": moment("{d:02}:{m:02}:{s:09.6f}"),
    "DATETIME": moment("{y:04}-{m:02}-{d:02} 02:30:00"),
    "DATETIME(6)": moment("{y:04}-{m:02}-{d:02} {d:02}:30:{s:09.6f}"),
    "TIMESTAMP NULL": moment("2026-03-29 {d:02}:{m:02}:00"),
    "YEAR": lambda rng: rng.choice([0, 1901, 2155]),
    "CHAR(5)": text(ALL, 5),
    "CHAR(5) CHARACTER SET latin1": text(LATIN, 5),
    "VARCHAR(300)": text(ALL, 300),
    "VARCHAR(300) CHARACTER SET latin1": text(LATIN, 300),
    "VARCHAR(300) CHARACTER SET ascii": text(ASCII, 300),
    "BINARY(5)": binary(5),
    "VARBINARY(300)": binary(300),
    "TINYTEXT": text(ASCII, 255),
    "TEXT": text(ALL, 300),
    "MEDIUMTEXT": text(ALL, 300),
    "LONGTEXT": lambda rng: "x" * rng.choice([*LENGTHS, 8000, 65535, 65536]),
    "TINYBLOB": binary(255),
    "BLOB": binary(300),
    "MEDIUMBLOB": binary(300),
    "LONGBLOB": lambda rng: b"\xfb" * rng.choice([*LENGTHS, 8000, 65535, 65536]),
    "ENUM('a', 'é')": lambda rng: rng.choice(["a", "é"]),
    "SET('a', 'b', 'é')": lambda rng: rng.choice(["", "a", "a,b,é"]),
    "JSON": lambda rng: rng.choice(["[]", '{"é": [1, 2.5, null]}', '"😀"']),
}
NAMES = [f"c{number}" for number in range(len(COLUMNS))]


def draw_rows(encoding: str) -> list[tuple[Any, ...]]:
    """Draw rows for the table of all columns, a fifth of the values NULL; the same ones each time."""
    rng = random.Random(7)
    rows = [[None if rng.random() < 0.2 else draw(rng) for draw in COLUMNS.values()] for _ in range(ROWS)]
    return [tuple(_encodable(value, encoding) for value in row) for row in rows]


def _encodable(value: Any, encoding: str) -> Any:
    return value.encode(encoding, "replace").decode(encoding) if isinstance(value, str) else value


READS = (
    "SELECT * FROM kinds",
    "SELECT * FROM kinds WHERE FALSE",
    *(f"SELECT * FROM kinds WHERE id = {number}" for number in range(ROWS)),
    *(f"SELECT id, {name}, {name} FROM kinds ORDER BY id" for name in NAMES),
    *(f"SELECT {name} FROM kinds ORDER BY id LIMIT 3" for name in NAMES),
    *(
        f"SELECT MIN({name}), COUNT(DISTINCT {name}), GROUP_CONCAT({name}) FROM kinds GROUP BY id LIMIT 2"
        for name in NAMES
    ),
    "SELECT NULL, 1, -1, 1.5, 1e0, 'a', X'00ff', TRUE, NOW() > 0, _latin1'\xe9'",
    "SELECT CAST('[1]' AS JSON)",
    "SELECT JSON_EXTRACT('[1, {\"a\": null}]', '$[1]'), ST_GeomFromText('POINT(1 2)'), INET6_ATON('::1')",
    "SELECT k.id AS id, o.id AS id, k.c0 AS größe FROM kinds k LEFT JOIN other o ON o.id = k.id",
    "SELECT " + ", ".join(f"{number} AS n{number}" for number in range(250)),
    "SELECT " + ", ".join(f"{number} AS n{number}" for number in range(251)),
    "SELECT CAST('abc' AS SIGNED), 1 + 'x', SLEEP(0)",
    "SHOW TABLES",
    "SHOW WARNINGS",
    "SET @a = 1",
    "DO 1",
    "SELECT nothing FROM nowhere",
    "SELECT (SELECT id FROM kinds)",
)
WRITES = (
    "INSERT INTO other (x) VALUES (1), (2), (3)",
    "INSERT INTO other (id, x) VALUES (70000, 'abc')",
    "INSERT INTO other (id, x) VALUES (1, 1)",
    "INSERT IGNORE INTO other (id, x) VALUES (1, 1)",
    "INSERT INTO other (id, x) VALUES (2, 9) ON DUPLICATE KEY UPDATE x = 9",
    "UPDATE other SET x = x + 1",
    "UPDATE other SET x = 1 WHERE FALSE",
    "INSERT INTO other (x) SELECT id FROM kinds",
    "DELETE FROM other WHERE id > 3",
    "INSERT INTO other (id) VALUES (4294967296)",
    "INSERT INTO other () VALUES ()",
    "CALL several()",
    "CALL several() -- and again",
)


def outcome(connection: Any, cursor_class: Any, sql: str, args: Any = None, how: str = "execute") -> list[Any]:
    """Return all that a caller can see of a statement."""
    seen: list[Any] = []
    with closing(connection.cursor(cursor_class)) as cursor:
        try:
            seen.append(getattr(cursor, how)(*(sql, args) if args is not None else (sql,)))
            is_there: Any = True
            while is_there:
                seen.append((cursor.rowcount, cursor.description, cursor.lastrowid, list(cursor.fetchall())))
                seen.append((cursor.rowcount, cursor.warning_count, cursor.rownumber))
                is_there = cursor.nextset()
        except connection.Error as error:
            seen.append((type(error), error.args))
    return [*seen, connection.insert_id(), connection.affected_rows(), connection.show_warnings()]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each answer that was looked at was taken at one go."""
    seen: list[bool] = []
    take = Answers.take

    def watched(*args: Any, **kwargs: Any) -> Any:
        result = take(*args, **kwargs)
        seen.append(result is not None)
        return result

    monkeypatch.setattr(Answers, "take", watched)
    return seen


UNCONVERTED = {kind: encoder for kind, encoder in pymysql.converters.conversions.items() if not isinstance(kind, int)}
LIKE: dict[str, dict[str, Any]] = {
    "utf8mb4": {},
    "latin1": {"charset": "latin1"},
    "bytes": {"use_unicode": False, "conv": UNCONVERTED},
}


@pytest.fixture
def both(
    module: ModuleType, fast_reads: bool, arguments: dict[str, Any], contract_server: Any, like: str, taken: list[bool]
) -> Iterator[list[Any]]:
    """The same connection twice: persistconn's, and PyMySQL's own. Each has tables that nobody else sees."""
    database = arguments["database"]
    contract_server.ask(
        f"CREATE PROCEDURE {database}.several() BEGIN SELECT id FROM kinds; INSERT INTO other (x) VALUES (5);"
        " SELECT * FROM other WHERE FALSE; SELECT CAST('x' AS SIGNED); UPDATE other SET x = 6; END"
    )
    managed = persistconn.manage(module, fast_reads=fast_reads)
    with closing(module.connect(**arguments, **LIKE[like])) as bare:
        ours = managed.connect(**arguments, **LIKE[like])
        yield [ours, bare]
        ours.retire()


def make_tables(connection: Any, cursor_class: Any) -> list[Any]:
    """Make a connection's own tables, and fill them; return all that can be seen of that."""
    columns = ", ".join(f"{name} {kind}" for name, kind in zip(NAMES, COLUMNS, strict=True))
    insert = f"INSERT INTO kinds ({', '.join(NAMES)}) VALUES ({', '.join(['%s'] * len(NAMES))})"
    rows = draw_rows(connection.encoding)
    return [
        outcome(connection, cursor_class, "SET sql_mode = ''"),
        outcome(
            connection, cursor_class, f"CREATE TEMPORARY TABLE kinds (id INT PRIMARY KEY AUTO_INCREMENT, {columns})"
        ),
        outcome(
            connection, cursor_class, "CREATE TEMPORARY TABLE other (id INT PRIMARY KEY AUTO_INCREMENT, x TINYINT)"
        ),
        [outcome(connection, cursor_class, insert, row) for row in rows[1:]],
        outcome(connection, cursor_class, insert, rows[:1] * 3, how="executemany"),
        outcome(connection, cursor_class, "INSERT INTO other (x) VALUES (%s)", [(1,), (2,), (300,)], how="executemany"),
        outcome(connection, cursor_class, "several", (), how="callproc"),
    ]


@pytest.mark.parametrize(
    ("like", "cursor"),
    [
        ("utf8mb4", "Cursor"),
        ("utf8mb4", "SSCursor"),
        ("latin1", "DictCursor"),
        ("bytes", "Cursor"),
        ("bytes", "SSDictCursor"),
    ],
)
def test_all_that_can_be_seen_is_as_with_the_bare_driver(
    module: ModuleType, both: list[Any], cursor: str, fast_reads: bool, taken: list[bool]
) -> None:
    """Rows, descriptions, counts, ids, warnings and errors; nothing is taken where the switch is off."""
    cursor_class = getattr(module.cursors, cursor)
    ours, theirs = (make_tables(connection, cursor_class) for connection in both)
    assert ours == theirs
    assert outcome(both[1], None, "SELECT COUNT(*) FROM kinds")[1][-1] in ([(ROWS + 2,)], [(b"%d" % (ROWS + 2),)])
    for sql in (*READS, *WRITES, *READS[:5]):
        ours, theirs = (outcome(connection, cursor_class, sql) for connection in both)
        assert ours == theirs, sql
    if not fast_reads:
        assert taken == []
    elif not cursor.startswith("SS"):
        assert sum(taken) > len(taken) / 2
