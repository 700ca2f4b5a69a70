"""From the names of modules to the jobs in them."""

from __future__ import annotations

import difflib
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Iterable, Sequence

from persistconn.cronjobs import CronJob, module_of, registered
from workers.complaints import Complaint, explain, last_line

NAME_A_MODULE = (
    "no module with jobs is named: name one, as in `python -m workers run myapp.jobs`,"
    " or set DJANGO_SETTINGS_MODULE so that the jobs.py of each installed app is found"
)


def load(modules: Sequence[str]) -> list[CronJob]:
    """Import the modules and return their jobs, by name.

    With Django set up and none named, the ``jobs`` module of each installed app. Raises :class:`Complaint` for whatever
    stands in the way, with the error behind it in ``__cause__``.
    """
    has_django = set_up_django()
    if not modules and not has_django:
        raise Complaint(NAME_A_MODULE)
    names = list(dict.fromkeys(modules or django_modules()))
    jobs = {job.name: job for name in names for job in _jobs_of(name)}
    return [jobs[name] for name in sorted(jobs)]


def named(name: str, jobs: Iterable[CronJob]) -> CronJob:
    """Return the job of that name, or raise a :class:`Complaint` with those that are close."""
    known = {job.name: job for job in jobs}
    if name in known:
        return known[name]
    close = [full for full in known if full.endswith(f".{name}")] or difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(sorted(known))}"
    raise Complaint(f"there is no job {name}: {hint}")


def service_name(given: str | None, modules: Sequence[str]) -> str | None:
    """Return the name that machines share: the given one, or the top package of Django's settings or the first module."""
    source = os.environ.get("DJANGO_SETTINGS_MODULE") or (modules[0] if modules else "")
    return given or source.partition(".")[0] or None


def set_up_django() -> bool:
    """Set Django up if DJANGO_SETTINGS_MODULE says with which settings; returns whether it is set up."""
    if not os.environ.get("DJANGO_SETTINGS_MODULE"):
        return "django.apps" in sys.modules and sys.modules["django.apps"].apps.ready
    try:
        import django

        django.setup()
    except Exception as error:
        settings = os.environ["DJANGO_SETTINGS_MODULE"]
        raise Complaint(f"Django cannot be set up with DJANGO_SETTINGS_MODULE={settings}: {_reason(error)}") from error
    for name in ("workers", "persistconn"):
        # LOGGING disables the loggers that exist already, unless it says disable_existing_loggers=False.
        logging.getLogger(name).disabled = False
    return True


def django_modules() -> list[str]:
    """Return the ``jobs`` modules of the installed apps; raises :class:`Complaint` if there is none."""
    from django.apps import apps
    from django.utils.module_loading import module_has_submodule

    installed = [app for app in apps.get_app_configs() if app.module is not None]
    found = [f"{app.name}.jobs" for app in installed if module_has_submodule(app.module, "jobs")]
    if not found:
        raise Complaint(
            "no installed app has a jobs.py: add one with functions under @persistconn.cron, or name MODULE"
        )
    return found


def kept_aliases() -> list[str]:
    """Return the database aliases of Django whose connections persistconn keeps; none without Django."""
    if not set_up_django():
        return []
    from django.core.exceptions import ImproperlyConfigured
    from django.db import connections

    try:
        return [alias for alias in connections if _is_kept(connections[alias])]
    except ImproperlyConfigured as error:
        raise Complaint(f"DATABASES: {error}") from error


def _is_kept(wrapper: object) -> bool:
    return any(base.__module__ == "persistconn.backends.mysql.base" for base in type(wrapper).__mro__)


def _jobs_of(name: str) -> list[CronJob]:
    """Import one module and return the jobs that it, or a module below it, defines.

    A job that it merely imports from elsewhere belongs to another service, perhaps: it would be run by both.
    """
    before = set(registered())
    _import(name)
    jobs = [job for job in registered() if f"{module_of(job)}.".startswith(f"{name}.")]
    if jobs:
        return jobs
    others = sorted({module_of(job) for job in set(registered()) - before})
    hint = f"name {' or '.join(others)}, which it imports" if others else "put @persistconn.cron above a function"
    raise Complaint(f"module {name} has no jobs: {hint}")


def _import(name: str) -> None:
    if not all(part.isidentifier() for part in name.split(".")) or name.endswith(".py"):
        likely = name.removesuffix(".py").strip("./").replace("/", ".")
        raise Complaint(f"{name} is no module's name: write it with dots, as in {likely or 'myapp.jobs'}")
    try:
        importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            text = f"there is no module {error.name} (looked in {os.getcwd()} and on the Python path)"
            raise Complaint(text if error.name == name else f"{text}, so {name} cannot be imported") from error
        raise Complaint(f"module {name} does not import: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """Return the last line of the error's traceback, what to do where we know it, and where it was raised."""
    known = explain(error)
    return (str(known) if known else last_line(error)) + _place(error)


def _place(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return ""  # Its text has file and line already.
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    # The first frame is ours; what comes next is the module's own line, however deep the error went from there.
    return f" ({frames[1].filename}, line {frames[1].lineno})" if len(frames) > 1 else ""
