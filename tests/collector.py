"""A collector of traces: a real HTTP server that takes OTLP, as the production one does, and keeps what it was sent."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse


@dataclass(frozen=True, slots=True)
class Taken:
    """One span. Ids are in hexadecimal; ``links`` are trace and span of each; ``text`` is all that it holds, printed."""

    service: str
    name: str
    trace: str
    span: str
    parent: str
    attributes: dict[str, str]
    links: list[tuple[str, str]]
    text: str


@dataclass(slots=True)
class Collector:
    """``url`` is for ``ONETHING_OTLP_ENDPOINT``."""

    url: str
    spans: list[Taken] = field(default_factory=list)

    def of(self, service: str, name: str = "") -> list[Taken]:
        """The spans of a service's process whose names begin so."""
        return [span for span in list(self.spans) if span.service == service and span.name.startswith(name)]

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            service = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
            for scope in resource.scope_spans:
                for span in scope.spans:
                    attributes = {a.key: a.value.string_value or str(a.value.int_value) for a in span.attributes}
                    links = [(link.trace_id.hex(), link.span_id.hex()) for link in span.links]
                    self.spans.append(
                        Taken(
                            service, span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(),
                            attributes, links, f"{resource.resource} {span} {attributes}",
                        )
                    )  # fmt: skip


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port, for the length of the ``with``."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            assert self.headers["content-type"] == "application/x-protobuf"
            collector.take(self.rfile.read(int(self.headers["content-length"])))
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
