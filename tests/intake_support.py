"""What tests of the intake service share: a believable event, and pushes signed by the public Standard Webhooks library."""

import copy
import json
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from standardwebhooks.webhooks import Webhook

from shared.events.envelope import BATCH_MEDIA_TYPE, MEDIA_TYPE

SENDER = "hebei-onething"
SOURCE = "urn:onething:province:hebei"
PATH = f"/v1/senders/{SENDER}/events"

Event = dict[str, Any]


def event(event_id: str = "e-1", case_no: str = "BD1", /, **data: Any) -> Event:
    """A good event; ``data`` adds fields to its data or changes them, ``None`` takes one away."""
    fields = {
        "case_no": case_no,
        "item": "disabled-service",
        "county": "130607",
        "step": "applied",
        "occurred_at": "2024-09-30T09:00:00+08:00",
        "recorded_at": "2024-09-30T09:00:01.000002+08:00",
        **data,
    }
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": SOURCE,
        "type": "cn.onething.case.step.v1",
        "subject": case_no,
        "data": {name: value for name, value in fields.items() if value is not None},
    }


def changed(given: Event, **attributes: Any) -> Event:
    """``given`` with other context attributes; ``None`` takes one away."""
    made = copy.deepcopy(given) | attributes
    return {name: value for name, value in made.items() if value is not None}


def signed(
    secret: str, body: bytes, media_type: str = MEDIA_TYPE, *, message_id: str = "m-1", ahead: timedelta = timedelta()
) -> dict[str, str]:
    """The headers of a push, signed as the public library does; ``ahead`` shifts its time."""
    at = datetime.now(UTC) + ahead
    return {
        "content-type": media_type,
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at, body.decode()),
    }


async def push(client: httpx.AsyncClient, secret: str, content: Any, *, message_id: str = "m-1") -> httpx.Response:
    """Pushes one event, or a list as a batch."""
    body = json.dumps(content).encode()
    media_type = BATCH_MEDIA_TYPE if isinstance(content, list) else MEDIA_TYPE
    return await client.post(PATH, content=body, headers=signed(secret, body, media_type, message_id=message_id))


async def in_parts(parts: Iterable[bytes]) -> AsyncIterator[bytes]:
    """A body that is sent chunk by chunk, its length not announced."""
    for part in parts:
        yield part
