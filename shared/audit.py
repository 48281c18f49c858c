"""The audit trail: who did what, and when. Each service keeps its own, in a table ``audit`` of one shape, shown by one route.

Rows are only ever added: the services' roles may neither change nor remove them (each service's migrations). What merely reads is
not in it. No entry holds people's data: a person is named by the name that the operator gives, never by a number.
"""

import getpass
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final

import orjson
from fastapi import Query
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from shared.bearer import OPERATOR, named
from shared.clock import rfc3339
from shared.postgres import Connection
from shared.problems import ProblemError
from shared.verdicts import FieldError

MOST_ENTRIES: Final = 1000
COMMAND: Final = "command"
"""The role of whoever may run commands beside the services: the database's password proves it."""

After = Annotated[int, Query(ge=0, lt=2**63, description="`next` of the page before.")]
Since = Annotated[datetime | None, Query(description="No earlier than this time, RFC 3339 with offset.")]
Limit = Annotated[int, Query(ge=1, le=MOST_ENTRIES)]


def whoever_runs_this() -> str:
    """Who runs a command, for the audit: the name that the system knows them by, where that may be kept."""
    try:
        return named(getpass.getuser())
    except (KeyError, OSError):  # a container's user may have no name
        return OPERATOR


class Entry(BaseModel):
    """One act. ``role`` is what was proven (``operator``, ``company``, ``reader``, or ``command`` for whoever may run one)."""

    model_config = ConfigDict(frozen=True)

    id: int = Field(description="Rises within the service.")
    at: datetime
    service: str
    role: str
    who: str = Field(description="The company, or the name that the operator gave of themselves.")
    action: str = Field(examples=["notice.freeze"])
    subject: str = Field(description="What it was done to.")
    detail: dict[str, Any]


class Trail(BaseModel):
    """Entries, the earliest first; ``next`` is null on the last page."""

    entries: list[Entry]
    next: int | None


async def write(
    db: Connection, *, at: datetime, role: str, who: str, action: str, subject: str, detail: Mapping[str, Any] | None = None
) -> None:
    """Adds an entry; in the transaction of what it tells of, where that has one."""
    await db.execute(
        "insert into audit (at, role, who, action, subject, detail) values ($1, $2, $3, $4, $5, $6::jsonb)",
        at, role, who, action, subject, orjson.dumps(detail or {}).decode(),
    )  # fmt: skip


async def read(db: Connection, service: str, *, after: int, since: datetime | None, limit: int) -> Response:
    """The answer of ``GET /v1/audit``: a :class:`Trail`.

    Raises:
        ProblemError: 422, ``since`` has no offset.
    """
    if since is not None and since.tzinfo is None:
        wrong = FieldError(pointer="/query/since", message="a time with its offset, e.g. 2024-09-30T09:00:00+08:00")
        raise ProblemError(422, "invalid-request", "mend the parameters named in errors", errors=[wrong])
    rows = await db.fetch(
        "select id, at, role, who, action, subject, detail::text as detail from audit"
        " where id > $1 and ($2::timestamptz is null or at >= $2) order by id limit $3",
        after, since, limit + 1,
    )  # fmt: skip
    entries = [{**row, "at": rfc3339(row["at"]), "service": service, "detail": orjson.loads(row["detail"])} for row in rows[:limit]]
    trail = {"entries": entries, "next": rows[limit - 1]["id"] if len(rows) > limit else None}
    return Response(orjson.dumps(trail), media_type="application/json")
