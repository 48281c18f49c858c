"""Tracing as it is while it is on; :mod:`shared.tracing` alone imports this, and only then."""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    format_span_id,
    format_trace_id,
    get_current_span,
    set_span_in_context,
    use_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.tracing import HEADER, Headed, RecordHeaders

log = structlog.get_logger()

MOST_LINKS: Final = 32
"""Of one batch: more would say nothing more, and cost a span each."""

UNTOLD_SECONDS: Final = 2.0
"""For how long what is told may be of a batch: whether a look came before or after its commit is not known more exactly."""

_READ: Final = TraceContextTextMapPropagator().extract


class _Linked(Sampler):
    """What is linked to a trace that is kept is kept; for all else ``otherwise`` decides."""

    def __init__(self, otherwise: Sampler) -> None:
        self._otherwise = otherwise

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Any = None,
        links: Sequence[Link] | None = None,
        trace_state: Any = None,
    ) -> SamplingResult:
        if links:
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)
        return self._otherwise.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        return f"Linked({self._otherwise.get_description()})"


class Serving:
    """A request's span, until it is answered. ``response`` is the value of the answer's header."""

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def kept(self) -> bool:
        return self._span.is_recording()

    @property
    def response(self) -> bytes:
        return _written(self._span.get_span_context())

    def answered(self, method: str, route: str | None, status: int) -> None:
        """Names the span by its route, never by its path, which may hold anything."""
        if not self._span.is_recording():
            return
        self._span.set_attribute("http.response.status_code", status)
        if route is not None:
            self._span.update_name(f"{method} {route}")
            self._span.set_attribute("http.route", route)
        if status >= 500:
            self._span.set_status(Status(StatusCode.ERROR))


class Telling:
    """One look at what waits to be told. ``count`` is how much was."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Live:
    """The provider of one process."""

    def __init__(self, endpoint: str, ratio: float, service: str, process: str) -> None:
        self._provider = TracerProvider(
            sampler=_Linked(ParentBased(TraceIdRatioBased(ratio))),
            resource=Resource.create({"service.namespace": "onething", "service.name": f"{service}-{process}"}),
            shutdown_on_exit=False,
        )
        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=5)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("onething")
        self._untold: deque[tuple[float, Link]] = deque(maxlen=MOST_LINKS)

    def close(self) -> None:
        self._provider.shutdown()

    @contextmanager
    def span(
        self,
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        context: Context | None = None,
        links: Sequence[Link] = (),
        attributes: Mapping[str, str | int] | None = None,
    ) -> Iterator[Span]:
        with self._tracer.start_as_current_span(
            name, context, kind, attributes, links, record_exception=False, set_status_on_exception=False
        ) as made:
            try:
                yield made
            except Exception as error:
                # The type alone: what the message holds may be what people sent.
                made.set_status(Status(StatusCode.ERROR))
                made.set_attribute("error.type", type(error).__name__)
                raise

    def note(self, attributes: Mapping[str, str | int]) -> None:
        current = get_current_span()
        if current.is_recording():
            current.set_attributes({f"onething.{name}": value for name, value in attributes.items()})

    @contextmanager
    def serving(self, method: str, headers: Iterable[tuple[bytes, bytes]]) -> Iterator[Serving]:
        given = next((value for name, value in headers if name == b"traceparent"), None)
        with self.span(method, SpanKind.SERVER, _context(given), attributes={"http.request.method": method}) as made:
            yield Serving(made)

    @contextmanager
    def publishing(self, messages: Sequence[tuple[str, str, bytes]]) -> Iterator[RecordHeaders | None]:
        if not get_current_span().get_span_context().trace_flags.sampled:
            yield None
            return
        counts: dict[str, int] = {}
        for topic, _, _ in messages:
            counts[topic] = counts.get(topic, 0) + 1
        attributes: dict[str, str | int] = {
            "messaging.system": "kafka",
            "messaging.destination.name": " ".join(counts),
            "messaging.batch.message_count": len(messages),
            **{f"onething.messages.{topic}": count for topic, count in counts.items()},
        }
        with self.span(f"publish {' '.join(counts)}", SpanKind.PRODUCER, attributes=attributes) as made:
            yield ((HEADER, _written(made.get_span_context())),)

    @contextmanager
    def processing(self, topic: str, partition: int, records: Sequence[Headed]) -> Iterator[None]:
        origins = _origins(records)
        begun = time.time_ns()
        attributes: dict[str, str | int] = {
            "messaging.system": "kafka",
            "messaging.destination.name": topic,
            "messaging.destination.partition.id": str(partition),
            "messaging.batch.message_count": len(records),
            "messaging.kafka.offset": records[0].offset,
        }
        links = [Link(origin) for origin in origins]
        with self.span(f"process {topic}", SpanKind.CONSUMER, Context(), links, attributes) as made:
            batch = made.get_span_context()
            yield
            if not batch.trace_flags.sampled:
                return
            traces = sorted({format_trace_id(origin.trace_id) for origin in origins})
            log.info("batch_traced", topic=topic, partition=partition, first=records[0].offset, records=len(records), traces=traces)
        for origin in origins:
            # In the trace of who sent it: there one sees how long it took until it was taken, without following a link.
            context = set_span_in_context(NonRecordingSpan(origin), Context())
            taken = self._tracer.start_span(
                f"taken {topic}", context, SpanKind.CONSUMER, {"messaging.destination.name": topic}, [Link(batch)], begun
            )
            taken.end()

    def committed_soon(self) -> None:
        context = get_current_span().get_span_context()
        if context.trace_flags.sampled:
            self._untold.append((time.monotonic(), Link(context)))

    @contextmanager
    def telling(self, what: str) -> Iterator[Telling | None]:
        while self._untold and time.monotonic() - self._untold[0][0] > UNTOLD_SECONDS:
            self._untold.popleft()
        if not self._untold:
            yield None
            return
        made = self._tracer.start_span(f"tell {what}", Context(), links=[link for _, link in self._untold])
        told = Telling()
        with use_span(made, record_exception=False, set_status_on_exception=False):
            yield told
        if told.count:
            made.end()  # one that told of nothing is never ended, and so never sent

    def ids(self) -> Mapping[str, str]:
        context = get_current_span().get_span_context()
        if not context.is_valid:
            return {}
        return {"trace_id": format_trace_id(context.trace_id), "span_id": format_span_id(context.span_id)}


def _context(given: bytes | None) -> Context:
    """The context that a header names, or a new one. Its ``tracestate`` is not read: that may hold anything."""
    return Context() if given is None else _READ({HEADER: given.decode("ascii", "replace")}, Context())


def _written(context: SpanContext) -> bytes:
    return f"00-{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}-{context.trace_flags:02x}".encode()


def _origins(records: Sequence[Headed]) -> list[SpanContext]:
    """The traces of a batch's records that are kept, each once, up to a bound."""
    found: dict[bytes, SpanContext] = {}
    for record in records:
        for name, value in record.headers:
            if name == HEADER and value not in found:
                origin = get_current_span(_context(value)).get_span_context()
                if origin.is_valid and origin.trace_flags.sampled:
                    found[value] = origin
                    if len(found) == MOST_LINKS:
                        return list(found.values())
    return list(found.values())
