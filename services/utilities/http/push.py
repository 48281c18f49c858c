"""The push edge of the companies: verify, parse, judge, publish, answer (CONTRACT §2)."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from services.utilities.domain.judging import SHOWN_FIELDS, judge
from services.utilities.handlers.registry import CurrentRegistry, RegistryUnknown
from shared.clock import Clock
from shared.events.envelope import BATCH_MEDIA_TYPE, MEDIA_TYPE
from shared.kafka import Publisher, Topics
from shared.problems import MEDIA_TYPE as PROBLEM
from shared.problems import ProblemError
from shared.push import authenticate, parse, read_body, settle
from shared.signing import Party

SERVICE: Final = "utilities"

PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": description, "content": {PROBLEM: {}}}
    for status, description in {
        400: "The body is not JSON.",
        401: "The signature is missing or wrong, its timestamp stale, or the company unknown.",
        403: "No event is the company's to send.",
        413: "Over 1,000 events or 5 MiB.",
        415: "Neither a CloudEvent nor a batch of them.",
        422: "No event is valid; `results` says why of each.",
        503: "Not known to be stored: send the same events again.",
    }.items()
}

BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            MEDIA_TYPE: {"schema": {"type": "object"}},
            BATCH_MEDIA_TYPE: {"schema": {"type": "array", "items": {"type": "object"}, "minItems": 1, "maxItems": 1000}},
        },
    }
}


def routes(
    companies: Mapping[str, Party],
    publisher: Callable[[], Publisher],
    registry: Callable[[], CurrentRegistry],
    topics: Topics,
    clock: Clock,
) -> APIRouter:
    """The pushing routes; ``publisher`` and ``registry`` give what stands while the process runs."""
    router = APIRouter(tags=["push"])

    @router.post("/v1/companies/{company}/events", status_code=202, responses=PROBLEMS, openapi_extra=BODY)
    async def push_events(company: str, request: Request) -> JSONResponse:
        """Takes one CloudEvent or a batch, signed by Standard Webhooks; 202 once Kafka has stored what is accepted."""
        body = await read_body(request)
        authenticate(request, companies.get(company), body, clock)
        push = parse(request, body)
        try:
            current = await registry().get()
        except RegistryUnknown as error:
            raise ProblemError(503, "registry-unknown", f"not judged, not stored: {error}", retry_after=5) from error
        now = clock()
        return await settle(
            push, lambda item: judge(item, company, current, now), publisher(), service=SERVICE, sender=company,
            topic=topics.utility_events, parked_topic=topics.parked, shown_fields=SHOWN_FIELDS, clock=clock,
        )  # fmt: skip

    return router
