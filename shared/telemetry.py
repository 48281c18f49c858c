"""Logs as structlog JSON on standard output, ours and the libraries' alike."""

import logging
import sys

import structlog
from structlog.typing import Processor


def configure(service: str, process: str) -> None:
    """Every line is one JSON object with ``service``, ``process``, ``level``, ``timestamp`` and ``event``."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(allow=()),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.dict_tracebacks,
    ]
    structlog.contextvars.bind_contextvars(service=service, process=process)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)

    def name_part(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        # Context variables do not reach callbacks and threads of libraries: the names are set here once more.
        event.setdefault("service", service)
        event.setdefault("process", process)
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
