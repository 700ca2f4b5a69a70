"""``manage.py runworkers``: the cron jobs of the installed apps, on threads that keep their connections."""

from __future__ import annotations

from typing import Any

from django.core.checks import Tags
from django.core.management.base import BaseCommand, CommandError, CommandParser

from workers import cli
from workers.options import add_run_options


class Command(BaseCommand):
    """The service, in a Django project."""

    help = "Runs the jobs in each installed app's jobs.py (or in MODULE...) at their times, until SIGTERM or SIGINT."
    # What a service without HTTP depends on; the rest would import the whole URLconf, and views with it.
    requires_system_checks = (Tags.models,)

    def get_check_kwargs(self, options: dict[str, Any]) -> dict[Any, Any]:
        # Since Django 6.1 checks ask every database unless told otherwise. Whether ours answers is for the service to say.
        kwargs: dict[Any, Any] = super().get_check_kwargs(options)
        return {**kwargs, "databases": []}

    def add_arguments(self, parser: CommandParser) -> None:
        add_run_options(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        """Run until a signal; a second one ends the process at once, with the status of ``python -m workers run``."""
        cli.set_up_logging(options["log_level"])
        try:
            cli.run(**cli.run_options(options))
        except Exception as error:
            complaint = cli.complaint_of(error)
            raise CommandError(str(complaint), returncode=complaint.status) from error
