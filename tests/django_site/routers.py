"""Where the models of the test project live."""

from __future__ import annotations

from typing import Any


class NotesBesideTheRest:
    """Notes live on the alias ``other``, everything else on ``default``."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "other" if model.__name__ == "Note" else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **hints: Any) -> bool | None:
        return (db == "other") == (model_name == "note") if app_label == "shop" else None
