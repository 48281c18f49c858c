"""What the six processes show to Prometheus, alive: each its own metrics and no others, and figures that move with what happens."""

import asyncio
import re
from datetime import UTC, datetime, timedelta

import httpx
from prometheus_client.parser import text_string_to_metric_families

from shared import meters
from shared.clock import business_day
from shared.kafka import Topics
from tests.conftest import Credentials, RunningService, Services
from tests.intake_support import SENDER, event, push
from tests.metrics_support import until

Labels = frozenset[tuple[str, str]]


class Shown:
    """What each process shows now: a value by name and labels."""

    def __init__(self, client: httpx.AsyncClient, running: dict[meters.Process, RunningService]) -> None:
        self._client = client
        self._running = running
        self.values: dict[meters.Process, dict[tuple[str, Labels], float]] = {}
        self.names: dict[meters.Process, set[str]] = {}

    async def look(self) -> None:
        """Scrapes every process."""
        for process, running in self._running.items():
            families = list(text_string_to_metric_families((await self._client.get(f"{running.url}/metrics")).text))
            self.names[process] = {f"{f.name}_total" if f.type == "counter" else f.name for f in families}
            samples = [sample for family in families for sample in family.samples]
            self.values[process] = {(s.name, frozenset(s.labels.items())): s.value for s in samples}

    def of(self, process: meters.Process, name: str, /, **labels: str) -> list[float]:
        """The values of the series that have these labels, and maybe others."""
        return [v for (n, has), v in self.values[process].items() if n == name and has >= frozenset(labels.items())]

    def sum(self, process: meters.Process, name: str, /, **labels: str) -> float:
        return sum(self.of(process, name, **labels))


async def test_each_process_shows_its_own_metrics_and_they_move(
    service: Services, credentials: Credentials, topics: Topics
) -> None:
    started = await asyncio.gather(
        *(
            service(*process.split(), ONETHING_CONSISTENCY_SECONDS="1", ONETHING_MOST_UNUSABLE="1")  # type: ignore[arg-type]
            for process in meters.PROCESSES
        )
    )
    running = dict(zip(meters.PROCESSES, started, strict=True))
    secret = credentials.senders[SENDER]
    yesterday = datetime.now(UTC) - timedelta(days=1)
    async with httpx.AsyncClient(trust_env=False, timeout=15) as client:
        shown = Shown(client, running)
        async with httpx.AsyncClient(base_url=running["intake api"].url, trust_env=False, timeout=15) as intake:
            good = event("e-1", "BD1", occurred_at=yesterday.isoformat(), recorded_at=yesterday.isoformat())
            assert (await push(intake, secret, [good, event("e-2", "BD2", county="999999")])).status_code == 202
            assert (await push(intake, "whsec_" + "A" * 43 + "=", good, message_id="m-2")).status_code == 401
            assert (await intake.get("/v1/nowhere")).status_code == 404

        async def counted() -> bool:
            await shown.look()
            return bool(
                shown.of("metrics worker", "onething_metrics_days_without_case", county="130607")
                and shown.sum("intake worker", "onething_intake_parked_open", reason="unknown-county") == 1
                and len(shown.of("metrics worker", "onething_consumer_lag")) == 16
                # Positions are held against the log's ends every few seconds.
                and not any(shown.sum(process, "onething_consumer_lag") for process in meters.WORKERS)
            )

        await until(counted, 60)

    for process in meters.PROCESSES:
        expected = {entry.name for entry in meters.CATALOGUE if process in entry.where}
        assert {name for name in shown.names[process] if name.startswith("onething_")} == expected, process
        assert "process_resident_memory_bytes" in shown.names[process]
        assert shown.of(process, "onething_build_info", process=process) == [1]
        assert min(shown.of(process, "onething_ready")) == 1, process
        assert shown.sum(process, "onething_request_seconds_count", route="/metrics", status="200") > 0

    # The edge: routes are templates, whatever was asked for.
    answered = "onething_request_seconds_count"
    route = "/v1/senders/{sender_id}/events"
    assert shown.sum("intake api", answered, method="POST", route=route, status="202") == 1
    assert shown.sum("intake api", answered, method="POST", route=route, status="401") == 1
    assert shown.sum("intake api", answered, route="none", status="404") == 1
    routes = {dict(has)["route"] for name, has in shown.values["intake api"] if name == answered}
    assert all(not re.search(r"hebei|nowhere", one) for one in routes)
    assert shown.sum("intake api", "onething_push_events_total", outcome="accepted") == 1
    assert shown.sum("intake api", "onething_push_refused_total", problem="signature") == 1
    assert shown.of("intake api", "onething_parked_total", service="intake", reason="unknown-county") == [1]

    # The workers: all is taken, in time, and nothing waits.
    topic = {
        "topic": next(dict(has)["topic"] for name, has in shown.values["metrics worker"] if name == "onething_consumer_halted")
    }
    assert topic["topic"].endswith((".case-events.v1", ".progress.v1"))
    assert shown.sum("metrics worker", "onething_consumer_records_total", group=topics.group("metrics")) == 1
    assert shown.sum("metrics worker", "onething_consumer_age_seconds_count", group=topics.group("metrics")) == 1
    assert shown.sum("metrics worker", "onething_consumer_age_seconds_bucket", group=topics.group("metrics"), le="60.0") == 1
    assert shown.sum("metrics worker", "onething_consumer_position", group=topics.group("metrics")) == 1
    for process in meters.WORKERS:
        assert shown.sum(process, "onething_consumer_lag") == 0, process
        assert shown.sum(process, "onething_consumer_halted") == 0, process
    assert shown.sum("metrics worker", "onething_metrics_drift") == 0
    assert shown.of("metrics worker", "onething_metrics_consistency_checked") == [1]
    assert shown.of("metrics worker", "onething_metrics_days_without_case", county="130607") == [
        (business_day(datetime.now(UTC)) - business_day(yesterday)).days
    ]
    assert len(shown.of("metrics worker", "onething_metrics_days_without_case")) == 22
    assert shown.sum("metrics api", "onething_postgres_connections", application="metrics-api", state="most") == 8
