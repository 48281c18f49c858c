"""What tests of the reading side share: the api over a real database, and snapshots kept as the worker keeps them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import httpx
import orjson
from pydantic import SecretStr

from services.metrics.handlers import counting
from services.metrics.handlers.counting import RawRecord, Unusable
from services.metrics.main import build_api
from services.metrics.settings import Settings
from shared import postgres
from shared.events import progress
from tests.conftest import TestDatabase

Answer = dict[str, Any]


class Reading:
    """The api, and the snapshots that reach the database beside it."""

    def __init__(self, client: httpx.AsyncClient, pool: postgres.Pool) -> None:
        self.client = client
        self.pool = pool
        self.unusable: list[Unusable] = []
        self._kept = 0

    async def keep(self, told: Mapping[tuple[str, str], Mapping[str, Any] | None], version: int = 1) -> None:
        """Keeps snapshots by kind and subject; ``None`` for what is deleted."""
        records = [
            {"kind": kind, "subject": subject, "version": version, "deleted": state is None, "state": state or {}}
            for (kind, subject), state in told.items()
        ]
        raw = [RawRecord(self._kept + n, orjson.dumps({"type": progress.TYPE, "data": record})) for n, record in enumerate(records)]

        async def park(unusable: Sequence[Unusable]) -> None:
            self.unusable.extend(unusable)

        self._kept = await counting.keep_snapshots(self.pool, park, "progress", 0, self._kept, raw)

    async def get(self, path: str, **asked: Any) -> Answer:
        """The answer to a question that is right."""
        given = {name.rstrip("_"): str(value) for name, value in asked.items() if value is not None}
        response = await self.client.get(path, params=given)
        assert response.status_code == 200, response.text
        found: Answer = response.json()
        return found

    async def until(self, so: Callable[[Answer], bool], path: str, **asked: Any) -> Answer:
        """The answer once it is ``so``: one that stood is given until the database's notice of a move arrives."""
        async with asyncio.timeout(10):
            while not so(found := await self.get(path, **asked)):  # noqa: ASYNC110 - what is awaited is a notice of the database
                await asyncio.sleep(0.01)
        return found

    async def every_page(self, path: str, limit: int, **asked: Any) -> list[Answer]:
        """The rows of all pages, one after the other; the first page's ``count`` must be their number."""
        page = await self.get(path, limit=limit, **asked)
        rows: list[Answer] = page["rows"]
        count = page["count"]
        while page["next"] is not None:
            page = await self.get(path, limit=limit, after=page["next"], **asked)
            assert "count" not in page
            rows = rows + page["rows"]
        assert len(rows) == count
        return rows


@asynccontextmanager
async def reading(database: TestDatabase, now: datetime) -> AsyncIterator[Reading]:
    """The api at that time."""
    dsn = database.dsn("metrics")
    settings = Settings(postgres_dsn=SecretStr(dsn), reader_token=SecretStr("reader"), operator_token=SecretStr("operator"))
    app = build_api(settings, clock=lambda: now)
    async with await postgres.open_pool(dsn, application="test", size=2) as pool, app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        headers = {"Authorization": "Bearer reader"}
        async with httpx.AsyncClient(transport=transport, base_url="http://metrics", headers=headers) as client:
            yield Reading(client, pool)
