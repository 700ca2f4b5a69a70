"""A view that blocks, one that awaits, and one that leaves the request's thread."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.urls import path

import persistconn


def ask() -> int:
    """Run a query of 20 ms; return the session that has answered."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT SLEEP(0.02), CONNECTION_ID()")
        return int(cursor.fetchone()[1])


def blocking(request: HttpRequest) -> JsonResponse:
    """Django takes it to the request's thread, and gives back at the request's end what it borrowed there."""
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JsonResponse({"session": ask(), "visits": request.session["visits"]})


async def awaiting(request: HttpRequest) -> JsonResponse:
    """Do the same on the same thread, by ``sync_to_async`` and by the ORM's own ``a...`` methods."""
    await request.session.aset("visits", await request.session.aget("visits", 0) + 1)
    return JsonResponse({"session": await sync_to_async(ask)(), "visits": await request.session.aget("visits")})


async def apart(request: HttpRequest) -> JsonResponse:  # noqa: ARG001
    """Use a thread of the loop's own pool: it knows of no request's end, so the function says itself when it is done."""
    return JsonResponse({"session": await sync_to_async(persistconn.unit_of_work(ask), thread_sensitive=False)()})


urlpatterns = [path("", blocking), path("awaiting", awaiting), path("apart", apart)]
