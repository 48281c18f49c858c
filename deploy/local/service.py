"""The six service processes: what each is called, and the environment it needs, no more."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import httpx

from deploy.local.parts import LOOPBACK, Part, base_environment
from shared.postgres import reader_of

Service = Literal["intake", "utilities", "metrics"]
Process = Literal["api", "worker"]

SERVICES: Final[tuple[Service, ...]] = ("intake", "utilities", "metrics")
STORED: Final[tuple[Service, ...]] = SERVICES
"""The services with a schema and a role of their own."""
METRICS_READER: Final = reader_of("metrics")
"""The role that may only read what metrics keeps."""

TRACING: Final = ("ONETHING_OTLP_ENDPOINT", "ONETHING_TRACE_RATIO")
"""What is set for the whole stack is handed on to each process (docs/tracing.md)."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What the processes need, of which each gets its own share. ``dsns`` is by service, ``reader_dsn`` that of the role which
    may only read what metrics keeps; ``metrics_url`` is metrics' api."""

    kafka: str
    topic_prefix: str
    dsns: Mapping[str, str]
    senders_file: Path
    companies_file: Path
    reader_token: str
    operator_token: str
    receipt_key_file: Path | None = None
    digest_key_file: Path | None = None
    metrics_url: str = ""
    reader_dsn: str = ""
    readers_file: Path | None = None


def environment(service: Service, port: int, needs: Needs) -> dict[str, str]:
    """The variables of one process of ``service``."""
    variables = base_environment() | {
        "PYTHONUNBUFFERED": "1",
        "ONETHING_KAFKA": needs.kafka,
        "ONETHING_TOPIC_PREFIX": needs.topic_prefix,
        "ONETHING_HOST": LOOPBACK,
        "ONETHING_PORT": str(port),
    }
    variables |= {name: os.environ[name] for name in TRACING if name in os.environ}
    if dsn := needs.dsns.get(service):
        variables["ONETHING_POSTGRES_DSN"] = dsn
    if needs.receipt_key_file is not None and service in ("intake", "utilities"):
        variables["ONETHING_RECEIPT_KEY_FILE"] = str(needs.receipt_key_file)
    if needs.digest_key_file is not None:
        variables["ONETHING_DIGEST_KEY_FILE"] = str(needs.digest_key_file)
    match service:
        case "intake":
            variables["ONETHING_SENDERS_FILE"] = str(needs.senders_file)
            variables["ONETHING_OPERATOR_TOKEN"] = needs.operator_token
            variables["ONETHING_METRICS_URL"] = needs.metrics_url
        case "utilities":
            variables["ONETHING_OPERATOR_TOKEN"] = needs.operator_token
            variables["ONETHING_COMPANIES_FILE"] = str(needs.companies_file)
        case "metrics":
            variables["ONETHING_READER_TOKEN"] = needs.reader_token
            variables["ONETHING_OPERATOR_TOKEN"] = needs.operator_token
            if needs.reader_dsn:
                variables["ONETHING_POSTGRES_READER_DSN"] = needs.reader_dsn
            if needs.readers_file is not None:
                variables["ONETHING_READERS_FILE"] = str(needs.readers_file)
    return variables


def service_part(service: Service, process: Process, port: int, log: Path, variables: Mapping[str, str]) -> Part:
    """One process as a part; ready when its ``/readyz`` says so."""

    async def probe() -> bool:
        return await is_ready(f"http://{LOOPBACK}:{port}")

    return Part(
        name=f"{service} {process}",
        command=(sys.executable, "-m", f"services.{service}.main", process),
        log=log,
        probe=probe,
        environment=variables,
    )


async def is_ready(url: str) -> bool:
    """Whether ``{url}/readyz`` answers 200."""
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=4) as client:
            return (await client.get(f"{url}/readyz")).status_code == 200
    except httpx.HTTPError:
        return False
