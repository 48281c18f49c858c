"""The companies' page: who may see it, what a company sees of itself, and the sheet with which it goes on."""

import asyncio
import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from services.utilities.domain.sheets.layout import MOST_ROWS
from services.utilities.domain.sheets.template import Rows, filled
from services.utilities.domain.sheets.workbook import Offer
from services.utilities.store import page as store
from shared import audit
from shared.clock import SHANGHAI, business_day, rfc3339
from shared.events.progress import InstallationState, PresencePeriod, PresenceState, RegistryState
from shared.postgres import Pool

LINK_HOURS: Final = 24
SESSION_HOURS: Final = 8


class NotInRegistry(ValueError):
    """The company stands nowhere in the registry: it would have nothing to report."""


def digest_of(token: str) -> bytes:
    """What is kept of a token. It is 256 random bits: there is nothing to guess, so a plain digest is enough."""
    return hashlib.sha256(token.encode()).digest()


async def make_link(pool: Pool, company: str, now: datetime, hours: int = LINK_HOURS, who: str = audit.COMMAND) -> tuple[str, str]:
    """A token that lets whoever has it in once, as the company; and the company's name. ``who`` issues it: that is in the audit.

    Raises:
        NotInRegistry: nobody of that id is registered.
    """
    token = secrets.token_urlsafe(32)
    async with pool.acquire() as db, db.transaction():
        registered = await store.registry_of(db, company)
        if not registered:
            raise NotInRegistry(company)
        await store.put_link(db, digest_of(token), company, now + timedelta(hours=hours), now)
        detail = {"hours": hours}
        await audit.write(db, at=now, role=audit.COMMAND, who=who, action="page.link", subject=company, detail=detail)
    return token, registered[0]["name"]


async def lock_out(pool: Pool, company: str, now: datetime, who: str = audit.COMMAND) -> int:
    """Ends the company's sessions and voids its links, as ``who`` wishes; returns how many there were."""
    async with pool.acquire() as db, db.transaction():
        ended = await store.lock_out(db, company)
        detail = {"ended": ended}
        await audit.write(db, at=now, role=audit.COMMAND, who=who, action="page.lock-out", subject=company, detail=detail)
    return ended


async def link_stands(pool: Pool, token: str, now: datetime) -> bool:
    """Whether the link can still be used. Asking does not use it up: mail filters and chats open links ahead of people."""
    async with pool.acquire() as db:
        return await store.link_stands(db, digest_of(token), now)


async def log_in(pool: Pool, token: str, now: datetime) -> str | None:
    """Uses the link up; gives the token of a session, or ``None``."""
    session = secrets.token_urlsafe(32)
    async with pool.acquire() as db, db.transaction():
        company = await store.use_link(db, digest_of(token), now)
        if company is None:
            return None
        await store.put_session(db, digest_of(session), company, now + timedelta(hours=SESSION_HOURS))
        await audit.write(db, at=now, role="company", who=company, action="page.login", subject="page")
    return session


async def company_of(pool: Pool, session: str, now: datetime) -> str | None:
    """The company of a session that stands."""
    async with pool.acquire() as db:
        return await store.company_of(db, digest_of(session), now)


async def log_out(pool: Pool, session: str) -> None:
    """Ends the session."""
    async with pool.acquire() as db:
        await store.end_session(db, digest_of(session))


@dataclass(frozen=True, slots=True)
class Hall:
    """How the company stands in one hall with one service; ``period`` is ``None`` where nothing was reported."""

    county: str
    service: str
    period: PresencePeriod | None
    office: str
    phone: str


@dataclass(frozen=True, slots=True)
class Overview:
    """What a company sees of itself on ``today``. ``overdue``, ``due_soon`` and ``others`` are its open installations."""

    company: str
    name: str
    today: date
    halls: tuple[Hall, ...]
    overdue: tuple[InstallationState, ...]
    due_soon: tuple[InstallationState, ...]
    others: tuple[InstallationState, ...]


async def overview(pool: Pool, company: str, now: datetime) -> Overview:
    """The company's own state."""
    today = business_day(now)
    async with pool.acquire() as db, db.transaction(isolation="repeatable_read", readonly=True):
        registered = await store.registry_of(db, company)
        presence = [PresenceState.model_validate(state) for state in await store.presence_of(db, company)]
        under_way = [InstallationState.model_validate(state) for state in await store.open_installations_of(db, company)]
    stands = {(state.county, state.service.value): _period_on(state, today) for state in presence}
    overdue = tuple(state for state in under_way if state.overdue_on(today))
    due_soon = tuple(state for state in under_way if state.due_soon_on(today))
    late = {id(state) for state in (*overdue, *due_soon)}
    halls = tuple(
        Hall(row["county"], row["service"], stands.get((row["county"], row["service"])), row["office"] or "", row["phone"] or "")
        for row in registered
        if _serves(RegistryState.model_validate(row), today)
    )
    name = registered[0]["name"] if registered else company
    return Overview(company, name, today, halls, overdue, due_soon, tuple(s for s in under_way if id(s) not in late))


def _period_on(state: PresenceState, day: date) -> PresencePeriod | None:
    return next((period for period in reversed(state.periods) if period.effective_on <= day), None)


def _serves(state: RegistryState, day: date) -> bool:
    return any(p.valid_from <= day and (p.valid_to is None or day < p.valid_to) for p in state.periods)


async def continued(pool: Pool, company: str, now: datetime) -> bytes:
    """A sheet to go on with: what is under way, and what was reported since the first of last month, as rows that stand.

    Its drop-downs offer the company's own counties and services.
    """
    since = (business_day(now).replace(day=1) - timedelta(days=1)).replace(day=1)
    instant = datetime.combine(since, time(), SHANGHAI).astimezone(UTC)
    async with pool.acquire() as db, db.transaction(isolation="repeatable_read", readonly=True):
        registered = await store.registry_of(db, company)
        installations = await store.open_installations_of(db, company)
        installations += await store.ended_installations_of(db, company, rfc3339(instant))
        presence = await store.presence_of(db, company)
        windows = await store.windows_of(db, company, f"{since:%Y-%m}")
    rows: Rows = {
        "installation": list(_steps(installations))[: MOST_ROWS // 2],
        "presence": list(_periods(presence)),
        "window": [{name: window[name] for name in ("county", "service", "month", "public_service_handled")} for window in windows],
    }
    offer = Offer({row["county"] for row in registered}, {row["service"] for row in registered})
    return await asyncio.to_thread(filled, rows, company, offer)


def _steps(installations: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """A row a step, each installation's in the order of time."""
    for state in installations:
        attributes = {
            name: state[name]
            for name in ("installation_no", "case_no", "case_source", "county", "service", "customer_kind")
            if state.get(name) is not None
        }
        happened = [(at, step) for step, at in state["steps"].items()]
        happened += [(at, step) for step in ("paused", "resumed") for at in state[step]]
        for at, step in sorted(happened):
            yield attributes | {"step": step, "occurred_at": rfc3339(_to_the_second(datetime.fromisoformat(at)))}


def _to_the_second(moment: datetime) -> datetime:
    """As a sheet is read again (domain/sheets/values.py)."""
    return (moment + timedelta(milliseconds=500)).replace(microsecond=0)


def _periods(presence: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for state in presence:
        for period in state["periods"]:
            row = {"county": state["county"], "service": state["service"], **period}
            if period["level"] == "none" and not period["handles"]:
                del row["handles"]
            yield row
