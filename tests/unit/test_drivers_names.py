"""The names that we use of a driver: all that we use are listed, and one that is missing is one clear error."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path
from types import ModuleType
from typing import Any

import pymysql
import pytest

import persistconn
from persistconn import ConfigError
from persistconn import private_names as names
from persistconn.drivers import driver_for, mysqlclient_names, pymysql_names
from persistconn.private_names import Names

PACKAGE = Path(persistconn.__file__).parent
PYMYSQL = {
    place: " ".join(listed.get(place, "") for listed in (pymysql_names.NAMES, pymysql_names.FAST_READS))
    for place in {**pymysql_names.NAMES, **pymysql_names.FAST_READS}
}
ALL = [f"{place}.{name}" for place, listed in PYMYSQL.items() for name in listed.split()]
ALL_OF_MYSQLCLIENT = [f"{place}.{name}" for place, listed in mysqlclient_names.NAMES.items() for name in listed.split()]


# --- the lists are complete, and no longer than they must be -------------------------------------------------------------


def names_in(*paths: Path) -> set[str]:
    """Return what sources take from objects, what they define (in a driver's place), and their strings, for getattr()."""
    found = set()
    for node in (node for path in paths for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))):
        if isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found


def sources(without: str) -> list[Path]:
    """Return our sources, but for those of the other driver and for the lists themselves."""
    others = ("*_names.py", f"{without}*.py")
    return [path for path in PACKAGE.rglob("*.py") if not any(path.match(f"drivers/{other}") for other in others)]


def known(module: Any, listed: Names) -> set[str]:
    """Return all that a driver has in the places of the list."""
    return set().union(*(names._known(names._at(module, place)) for place in listed))


@pytest.fixture
def mysqlclient() -> ModuleType:
    """The driver, where it is installed."""
    pytest.importorskip("MySQLdb.connections", reason="mysqlclient is not installed")
    importlib.import_module("MySQLdb.cursors")
    return sys.modules["MySQLdb"]


def check_list(module: Any, listed: Names, *, without: str, but: set[str]) -> None:
    """Check that a list has all that is private, and nothing that we do not use."""
    used, mine = names_in(*sources(without)), set(" ".join(listed.values()).split())
    private = {name for name in used & known(module, listed) if re.match("_[^_]", name)}
    assert private - mine - {place.partition(".")[0] for place in listed} == but
    assert mine - used == set()


def test_every_private_name_of_pymysql_that_we_use_is_listed() -> None:
    """Found in our sources, where PyMySQL has something of that name."""
    check_list(pymysql, PYMYSQL, without="mysqlclient", but=set())


def test_every_private_name_of_mysqlclient_that_we_use_is_listed(mysqlclient: ModuleType) -> None:
    """The same; some are names of its cursors, and of other things of ours."""
    check_list(mysqlclient, mysqlclient_names.NAMES, without="pymysql", but={"_query", "_result", "_rows"})


def test_oldest_version_is_the_one_that_is_installed_with_us() -> None:
    """What setup.py asks for, and what the error names."""
    required = [line.partition(";")[0] for line in requires("persistconn") or []]
    assert f"PyMySQL>={pymysql_names.OLDEST}" in required
    assert f"mysqlclient>={'.'.join(map(str, mysqlclient_names.OLDEST))}" in required


# --- one that is missing -------------------------------------------------------------------------------------------------


@pytest.fixture
def renamed(tmp_path: Path) -> Iterator[Any]:
    """Make a copy of PyMySQL in which a name is another one, and import it in PyMySQL's place."""
    theirs = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "pymysql"}

    def rename(name: str) -> ModuleType:
        for path in Path(pymysql.__file__).parent.rglob("*.py"):
            copy = tmp_path / "pymysql" / path.relative_to(Path(pymysql.__file__).parent)
            copy.parent.mkdir(parents=True, exist_ok=True)
            # One goes by the name of a module as well.
            word = rf"(?<=self\.){name}\b" if name == "converters" else rf"\b{name}\b"
            copy.write_text(re.sub(word, f"{name}_2", path.read_text(encoding="utf-8")), encoding="utf-8")
        for module in theirs:
            del sys.modules[module]
        return importlib.import_module("pymysql")

    sys.path.insert(0, str(tmp_path))
    yield rename
    sys.path.remove(str(tmp_path))
    for module in [name for name in sys.modules if name.partition(".")[0] == "pymysql"]:
        del sys.modules[module]
    sys.modules.update(theirs)


@pytest.mark.parametrize("path", ALL)
def test_name_that_pymysql_has_no_more_is_one_clear_error(renamed: Any, path: str) -> None:
    """With both versions, and with what can be done."""
    place, _, name = path.rpartition(".")
    with pytest.raises(ConfigError) as refused:
        driver_for(renamed(name))
    said = str(refused.value)
    assert said.startswith(f"PyMySQL {pymysql.VERSION_STRING} has no ")
    assert f"{place.rpartition('.')[-1]}.{name}" in said
    assert f"which persistconn {persistconn.__version__} needs; " in said
    assert said.endswith("install PyMySQL 1.2.1 or a newer persistconn")
    assert "\n" not in said


@pytest.mark.parametrize("name", ["_current_timeout", "through", "use_unicode"])
def test_what_only_fast_reads_need_may_be_missing_without_them(renamed: Any, name: str) -> None:
    """The error says so."""
    module = renamed(name)
    with pytest.raises(ConfigError, match=r"needs; set fast_reads=False, or install PyMySQL 1\.2\.1 or a newer"):
        driver_for(module)
    assert driver_for(module, fast_reads=False).name == "pymysql"


@pytest.mark.parametrize("path", ALL_OF_MYSQLCLIENT)
def test_name_that_mysqlclient_has_no_more_is_one_clear_error(mysqlclient: ModuleType, path: str) -> None:
    """It is written in C, so here something with all the other names stands in its place."""
    assert driver_for(stand_in(mysqlclient, without="")).name == "MySQLdb"
    with pytest.raises(ConfigError) as refused:
        driver_for(stand_in(mysqlclient, without=path))
    version = ".".join(map(str, mysqlclient.version_info[:3]))
    said = str(refused.value)
    assert said.startswith(f"mysqlclient {version} has no {'.'.join(path.split('.')[-2:])}, ")
    assert f"which persistconn {persistconn.__version__} needs; install mysqlclient 2.2 or a newer persistconn" in said
    assert "\n" not in said


def stand_in(module: ModuleType, without: str) -> ModuleType:
    """Make a module that has all that mysqlclient has in the places of the list, but for one name."""
    made = ModuleType(module.__name__)
    made.__dict__.update(vars(module))
    places = {place.partition(".")[0] for place in mysqlclient_names.NAMES} | {*mysqlclient_names.NAMES}
    for place in sorted(places - {without}):
        owner, _, name = place.rpartition(".")
        theirs = {of_it for of_it in names._known(names._at(module, place)) if f"{place}.{of_it}" != without}
        kept = {of_it: None for of_it in theirs if not of_it.startswith("__")}
        setattr(names._at(made, owner) if owner else made, name, type(name, (), kept))
    return made
