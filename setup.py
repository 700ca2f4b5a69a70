"""Packaging: persistconn (the library), workers (the service built on it), pytest_persistconn (the pytest plugin)."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def read_version() -> str:
    """Return `__version__` without importing the package: at build time its dependencies are not there."""
    source = (HERE / "persistconn" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__(?::\s*[\w.\[\]]+)?\s*=\s*["\']([^"\']+)["\']', source, re.MULTILINE)
    if found is None:
        raise SystemExit('persistconn/__init__.py has no line like __version__ = "0.1.0"')
    return found[1]


def read_readme() -> str:
    """Return the long description; empty in a tree that has no README yet."""
    readme = HERE / "README.md"
    return readme.read_text(encoding="utf-8") if readme.exists() else ""


setup(
    name="persistconn",
    version=read_version(),
    description="Database connections that a batch service's threads hold for ever: no effect lost, none doubled",
    long_description=read_readme(),
    long_description_content_type="text/markdown",
    author="persistconn contributors",
    license="MIT",
    packages=find_packages(include=["persistconn", "persistconn.*", "pytest_persistconn", "workers", "workers.*"]),
    package_data={"persistconn": ["py.typed"], "workers": ["py.typed"]},
    python_requires=">=3.10",
    install_requires=[
        "PyMySQL>=1.2.1",
        "APScheduler>=3.10,<4",  # 4 is another library under the same name
        "Django>=4.2",
        "cronsim>=2.7",
        "tzdata",  # slim images bring no time zones
    ],
    extras_require={
        # What `make bench` compares with, and draws with.
        "bench": [
            "DBUtils>=3",
            "SQLAlchemy>=2",
            "django-db-connection-pool>=1.2",
            "django-dbconn-retry",
            "matplotlib>=3.8",
        ],
        "demo": ["rich>=13"],
        "mysqlclient": ["mysqlclient>=2.2"],
        "test": [
            "PyMySQL[rsa]",
            "hypothesis>=6.100",
            "pytest>=8",
            "pytest-django>=4.9",
            "pytest-randomly>=3.15",
            "pytest-xdist>=3.6",
            "rich>=13",
        ],
        # What a project's own tests need of us; PyMySQL logs in to a MySQL in a container by TLS or by RSA.
        "testing": ["PyMySQL[rsa]", "pytest>=8", "testcontainers>=4.8"],
    },
    entry_points={
        "console_scripts": ["workers = workers.__main__:main"],
        "pytest11": ["persistconn = pytest_persistconn"],
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Framework :: Django",
        "Framework :: Pytest",
        "Intended Audience :: Developers",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Database",
        "Typing :: Typed",
    ],
)
