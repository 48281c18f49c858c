"""The push edge of the companies: verify, parse, judge, publish, answer (CONTRACT §2)."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from services.utilities.domain.judging import SHOWN_FIELDS, judge
from services.utilities.handlers.registry import CurrentRegistry, RegistryUnknown
from shared.events.envelope import BATCH_MEDIA_TYPE, MEDIA_TYPE
from shared.kafka import Publisher, Topics
from shared.problems import ProblemError, described
from shared.push import HANDSHAKE, JSON_MEDIA_TYPE, Edge, handshake, settle
from shared.signing import Party

SERVICE: Final = "utilities"

PROBLEMS: Final[dict[int | str, dict[str, Any]]] = described(
    {
        400: "The body is not JSON, or not of the kind that its media type or coding says.",
        401: "The signature is missing or wrong, its timestamp stale, or the company unknown.",
        403: "No event is the company's to send.",
        408: "The body did not come within 30 s.",
        413: "Over 1,000 events or 5 MiB, after inflation too.",
        415: "Neither a CloudEvent nor a batch of them, not in UTF-8, or of another coding than gzip.",
        422: "No event is valid; `results` says why of each.",
        429: "Too fast: send the same events again after `Retry-After` seconds.",
        503: "Not known to be stored: send the same events again.",
    },
    results=True,
)

BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            MEDIA_TYPE: {"schema": {"type": "object"}},
            JSON_MEDIA_TYPE: {"schema": {"type": "object", "description": "Binary mode: `data`, the attributes as `ce-` headers."}},
            BATCH_MEDIA_TYPE: {"schema": {"type": "array", "items": {"type": "object"}, "minItems": 1, "maxItems": 1000}},
        },
    }
}


def routes(
    companies: Callable[[], Mapping[str, Party]],
    publisher: Callable[[], Publisher],
    registry: Callable[[], CurrentRegistry],
    topics: Topics,
    edge: Edge,
) -> APIRouter:
    """The pushing routes; ``companies`` gives those of now, ``publisher`` and ``registry`` what stands while the process runs."""
    router = APIRouter(tags=["push"])

    @router.post("/v1/companies/{company}/events", status_code=202, responses=PROBLEMS, openapi_extra=BODY)
    async def push_events(company: str, request: Request) -> Response:
        """Takes one CloudEvent or a batch, signed by Standard Webhooks; 202 once Kafka has stored what is accepted."""
        async with edge.received(request, company, companies().get(company)) as push:
            try:
                current = await registry().get()
            except RegistryUnknown as error:
                raise ProblemError(503, "registry-unknown", f"not judged, not stored: {error}", retry_after=5) from error
            now = edge.clock()
            return await settle(
                push, lambda item: judge(item, company, current, now), publisher(), edge, sender=company,
                topic=topics.utility_events, parked_topic=topics.parked, shown_fields=SHOWN_FIELDS,
            )  # fmt: skip

    @router.options("/v1/companies/{company}/events", status_code=200, response_class=Response, responses=HANDSHAKE)
    async def webhook_handshake(company: str, request: Request) -> Response:
        """The handshake of the CloudEvents webhook specification; the same for every company, known or not."""
        return handshake(request)

    return router
