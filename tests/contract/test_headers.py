"""Security headers on whatever intake and utilities answer; metrics' own stand in ``test_metrics_access.py``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local.contracts import api_of
from deploy.local.service import Service
from shared import headers


def routes_of(routes: Any) -> Iterator[tuple[str, str]]:
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from routes_of(inner.routes)
        else:
            yield from ((method, route.path) for method in route.methods)


@pytest.mark.parametrize("service", ["intake", "utilities"])
async def test_every_route_answers_with_them(service: Service, tmp_path: Path) -> None:
    app = api_of(service, tmp_path)
    asked = [*routes_of(app.routes), ("GET", "/no-such-path"), ("PUT", "/livez")]
    assert len(asked) > 10
    # Nothing is started: what needs the database or Kafka fails, and that answer too has them.
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
        for method, path in asked:
            given = (await client.request(method, path.replace("{", "").replace("}", ""))).headers
            for name in headers.COMMON:
                assert len(given.get_list(name)) == 1, (method, path, name)
            assert given["x-content-type-options"] == "nosniff"
            assert given["x-frame-options"] == "DENY"
            assert "default-src 'none'" in given["content-security-policy"], path
            assert "unsafe" not in given["content-security-policy"], path
            assert "strict-transport-security" not in given, "it is not reached by HTTPS here"
