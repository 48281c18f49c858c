"""Traces by OpenTelemetry: from a push through Kafka to the commit and on to what is told of it (docs/tracing.md).

Off unless ``ONETHING_OTLP_ENDPOINT`` is set. Then nothing of OpenTelemetry is even imported, no record gets a header, and each
function here costs one look at a variable a request or a batch, never one an event. No span holds a body, a message of an
exception, or anything else that people may have sent.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final, Protocol

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from shared.tracing.live import Live, Serving, Telling

HEADER: Final = "traceparent"
"""The header of requests and of Kafka's records that names the trace (W3C Trace Context)."""

RESPONSE_HEADER: Final = b"traceresponse"
"""The header of answers that names the trace (W3C Trace Context, level 2)."""

RecordHeaders = Sequence[tuple[str, bytes]]


class TracingSettings(BaseModel):
    """Where spans go, and how many. ``trace_ratio`` is of pushes that bring no trace of their own: theirs decides by its flag."""

    otlp_endpoint: str = ""
    """A collector's address for OTLP over HTTP, e.g. ``http://collector:4318``; empty: no traces."""
    trace_ratio: float = Field(default=0.01, ge=0, le=1)


class Headed(Protocol):
    """A record with its headers. Kafka's client has such."""

    @property
    def offset(self) -> int: ...
    @property
    def headers(self) -> RecordHeaders: ...


_OFF: Final[AbstractContextManager[None]] = nullcontext()
_live: "Live | None" = None


def configure(settings: TracingSettings, service: str, process: str) -> None:
    """Has spans sent from now on, where an endpoint is set; call once, in the composition root."""
    global _live
    if settings.otlp_endpoint and _live is None:
        # Only here: it takes a tenth of a second and some megabytes, which nobody pays who has no collector.
        from shared.tracing.live import Live

        _live = Live(settings.otlp_endpoint, settings.trace_ratio, service, process)


def close() -> None:
    """Sends what waits, for a few seconds at most, and ends tracing."""
    global _live
    live, _live = _live, None
    if live is not None:
        live.close()


def span(name: str, **attributes: str | int) -> AbstractContextManager[Any]:
    """A span around some work, below the one that is under way. What is raised inside marks it with its type's name alone."""
    return _OFF if _live is None else _live.span(name, attributes=attributes)


def note(**attributes: str | int) -> None:
    """Adds attributes to the span that is under way; their names get the prefix ``onething.``."""
    if _live is not None:
        _live.note(attributes)


def serving(method: str, headers: Iterable[tuple[bytes, bytes]]) -> "AbstractContextManager[Serving | None]":
    """The span of a request; it goes on with the trace that the request's headers name."""
    return _OFF if _live is None else _live.serving(method, headers)


def publishing(messages: Sequence[tuple[str, str, bytes]]) -> AbstractContextManager[RecordHeaders | None]:
    """The span of publishing ``messages`` (topic, key, value). It gives the header that their records bear, or ``None``."""
    return _OFF if _live is None else _live.publishing(messages)


def processing(topic: str, partition: int, records: Sequence[Headed]) -> AbstractContextManager[Any]:
    """The span of a worker's batch, with links to its records' traces; each of these gets a span of its own of what was taken."""
    return _OFF if _live is None else _live.processing(topic, partition, records)


def committed_soon() -> None:
    """Notes that the work under way is about to be committed, for whoever tells of it."""
    if _live is not None:
        _live.committed_soon()


def telling(what: str) -> "AbstractContextManager[Telling | None]":
    """The span of telling of what batches have just changed, with links to them; none where nothing was traced, or nothing told."""
    return _OFF if _live is None else _live.telling(what)


def ids() -> Mapping[str, str]:
    """``trace_id`` and ``span_id`` of the span that is under way, for a log line; empty where there is none."""
    return {} if _live is None else _live.ids()
