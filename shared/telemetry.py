"""Logs as structlog JSON on standard output, ours and the libraries' alike."""

import logging
import sys
import time
from typing import Final

import structlog
from structlog.processors import ExceptionRenderer
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor

from shared import correlation

AGAIN_SECONDS: Final = 5.0
"""How soon Kafka's client may say the same again: without a broker it says so a hundred times a second."""

# Never with local variables, structlog's default: they hold what people sent.
_TRACEBACKS: Final = ExceptionRenderer(ExceptionDictTransformer(show_locals=False))


class _Thinned(logging.Filter):
    """Lets each message of the clients that try again and again through once in ``AGAIN_SECONDS``, whatever its arguments."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(("aiokafka", "opentelemetry")):
            return True
        template, now = str(record.msg), time.monotonic()
        if now - self._said.get(template, -AGAIN_SECONDS) < AGAIN_SECONDS:
            return False
        self._said[template] = now
        return True


def configure(service: str, process: str) -> None:
    """Every line is one JSON object with ``service``, ``process``, ``level``, ``timestamp`` and ``event``.

    Lines of a request bear its ``request_id`` too, those of what is traced ``trace_id`` and ``span_id``.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(allow=()),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _TRACEBACKS,
    ]
    structlog.contextvars.bind_contextvars(service=service, process=process)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(_Thinned())

    def name_part(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        # Context variables do not reach callbacks and threads of libraries: the names are set here once more.
        event.setdefault("service", service)
        event.setdefault("process", process)
        event.update(correlation.ids())
        return event

    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                name_part,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for noisy, level in {"aiokafka": logging.WARNING, "httpx": logging.WARNING, "uvicorn.access": logging.WARNING}.items():
        logging.getLogger(noisy).setLevel(level)
