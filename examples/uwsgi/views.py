"""Two pages that any Django project could have: nothing in them knows of pools or greenlets."""

from __future__ import annotations

import os

from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.urls import path


def visit(request: HttpRequest) -> JsonResponse:
    """Count the visits of one browser: sessions in the database, by the ORM, written in a transaction."""
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JsonResponse({"visits": request.session["visits"]})


def slow(_request: HttpRequest) -> JsonResponse:
    """Run a query of 20 ms and say who has answered."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT SLEEP(0.02), CONNECTION_ID()")
        _, session = cursor.fetchone()
    return JsonResponse({"process": os.getpid(), "session": session})


urlpatterns = [path("", visit), path("slow", slow)]
