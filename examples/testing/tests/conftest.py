"""Has the tests' database stand on the server that persistconn's plugin has found or started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from persistconn.testing import AnyServer


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None, mysql: AnyServer) -> None:
    from django.conf import settings

    settings.DATABASES["default"].update(mysql.django_settings())
