"""The reading side as people and screens use it (``./onething bench page``), while a province pushes.

Events come over intake's real edge at a fixed pace, signed, in batches. Meanwhile one client asks ``/v1/ranking`` as fast as one
api process answers, and a real browser shows the page: each probe is pushed, and fresh when the browser's own text has changed.
"""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import httpx
import orjson
from playwright.async_api import Page, async_playwright

from benchmarks import machine
from benchmarks.clients import percentiles
from benchmarks.intake import Edge, ours
from benchmarks.load import ITEMS, PROBE_ITEM, probe
from benchmarks.metrics import Step
from benchmarks.pushes import as_pushed
from benchmarks.stage import BenchError, Running, Stage, staged
from deploy.local.page import login_address
from shared.events.envelope import MEDIA_TYPE
from shared.signing import Key

LATE_SECONDS: Final = 30.0
WATCH: Final = """
() => {
  window.seen = [];
  const look = () => {
    const total = Number(document.getElementById("total").textContent);
    if (!seen.length || seen.at(-1)[1] !== total) seen.push([Date.now(), total]);
  };
  look();
  new MutationObserver(look).observe(document.getElementById("live"), { childList: true, subtree: true, characterData: true });
}
"""
"""Notes in the page each total that its text comes to show, and when."""


@dataclass(frozen=True, slots=True)
class Plan:
    """``per_second`` events are pushed in batches of ``batch``, for as long as each part takes."""

    per_second: int = 2_000
    batch: int = 50
    seconds: float = 10.0
    connections: int = 32
    probes: int = 100
    probe_every: float = 0.4
    seed: int = 1


QUICK: Final = Plan(per_second=200, seconds=1.0, connections=8, probes=5)


async def run(plan: Plan, step: Step) -> dict[str, Any]:
    """Runs the parts; returns the report.

    Raises:
        BenchError: an answer was not 200 or 202, or the page showed another number than was pushed.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise BenchError("no Chromium here: install Debian's package chromium")
    step("start Kafka, PostgreSQL and the services", 0)
    async with staged() as stage, stage.fresh_database("page"), ours(stage, "bench-page") as edge:
        await stage.migrate("page")
        topics = await stage.make_topics("bench-page")
        described = machine.describe("")
        async with stage.metrics("worker", "page", topics) as worker, stage.metrics("api", "page", topics) as api:
            await worker.ready()
            await api.ready()
            advance = step("/v1/ranking as fast as it goes: nothing comes in, then the pushes", 2)
            alone = await _ranked(plan, stage, api)
            advance(1)
            async with _pushing(plan, stage, edge, plan.seconds + 5):
                meanwhile = await _ranked(plan, stage, api)
            advance(1)
            advance = step("the page in Chromium meanwhile", plan.probes)
            async with _pushing(plan, stage, edge, plan.probes * plan.probe_every + 8), _opened(chromium, stage, api) as page:
                fresh = await _probed(plan, edge, page, advance)
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": described,
        "workload": asdict(plan),
        "ranking_alone": alone,
        "ranking_meanwhile": meanwhile,
        "accepted_to_page": percentiles(fresh),
    }


@asynccontextmanager
async def _pushing(plan: Plan, stage: Stage, edge: Edge, seconds: float) -> AsyncIterator[None]:
    """Within it, events come in; what is inside must be done before they end."""
    given: dict[str, Any] = {
        "how": "open", "url": edge.running.url, "path": edge.paths["batches"], "secret": edge.secret, "batch": plan.batch,
        "requests": 400, "connections": 64, "per_second": plan.per_second / plan.batch, "seconds": seconds, "seed": plan.seed,
        "servers": {},
    }  # fmt: skip
    pushing = asyncio.create_task(stage.measured("pusher", given, 2 * seconds + 60))
    await asyncio.sleep(2)
    yield
    if pushing.done():
        raise BenchError("the pushes ended before what was measured meanwhile")
    measured = await pushing
    if set(measured["statuses"]) != {"202"} or measured["late"]:
        raise BenchError(f"the pushes were answered {measured['statuses']}, {measured['late']} not sent: 202 alone is right here")


async def _ranked(plan: Plan, stage: Stage, api: Running) -> dict[str, Any]:
    """``/v1/ranking`` of each item in turn, as fast as it is answered."""
    given = {
        "how": "get", "url": api.url, "paths": [f"/v1/ranking?item={item}" for item in ITEMS], "token": stage.reader_token,
        "connections": plan.connections, "warm_seconds": 0.5, "seconds": plan.seconds, "servers": {"api": api.pid}, "batch": 0,
    }  # fmt: skip
    measured = await stage.measured("pusher", given, 60 + 2 * plan.seconds)
    if set(measured["statuses"]) != {"200"}:
        raise BenchError(f"/v1/ranking was answered {measured['statuses']}: 200 alone is right here")
    return {
        "requests_per_second": round(measured["requests"] / measured["seconds"]),
        "cpu_us_per_request": round(measured["cpu_seconds"]["api"] / measured["requests"] * 1e6, 1),
        "latency": measured["latency"],
    }


@asynccontextmanager
async def _opened(chromium: str, stage: Stage, api: Running) -> AsyncIterator[Page]:
    """The page of the probes' item in a browser, logged in, live."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            page = await browser.new_page()
            await page.goto(login_address({"metrics": api.url, "reader_token": stage.reader_token}))
            await page.wait_for_selector("#live")
            await page.goto(f"{api.url}/?item={PROBE_ITEM}")
            await page.evaluate(WATCH)
            yield page
        finally:
            await browser.close()


async def _probed(plan: Plan, edge: Edge, page: Page, advance: Any) -> list[float]:
    """Seconds from each probe's 202 until the browser shows it."""
    assert edge.secret is not None
    key, accepted = Key(edge.secret), list[float]()
    async with httpx.AsyncClient(base_url=edge.running.url, trust_env=False, timeout=30) as http:
        begun = time.monotonic()
        for number in range(plan.probes):
            await asyncio.sleep(begun + number * plan.probe_every - time.monotonic())
            body, stamp = orjson.dumps(as_pushed(probe(number).event)), int(time.time())
            headers = {
                "content-type": MEDIA_TYPE, "webhook-id": f"probe-{number}", "webhook-timestamp": str(stamp),
                "webhook-signature": key.sign(f"probe-{number}", stamp, body),
            }  # fmt: skip
            answer = await http.post(edge.paths["single"], content=body, headers=headers)
            accepted.append(time.time())
            if answer.status_code != 202:
                raise BenchError(f"a probe was answered {answer.status_code}: {answer.text[:300]}")
            advance(1)
    deadline = time.monotonic() + LATE_SECONDS
    seen: list[tuple[int, int]] = []
    while not seen or seen[-1][1] < plan.probes:
        if time.monotonic() > deadline:
            raise BenchError(f"of {plan.probes} probes {seen[-1][1] if seen else 0} were shown within {LATE_SECONDS:.0f} s")
        await asyncio.sleep(0.2)
        seen = await page.evaluate("seen")
    if seen[-1][1] != plan.probes:
        raise BenchError(f"the page shows {seen[-1][1]} cases, and {plan.probes} were pushed")
    shown = [next(at for at, total in seen if total > number) / 1000 for number in range(plan.probes)]
    return [max(0.0, at - said) for at, said in zip(shown, accepted, strict=True)]


def lines(report: dict[str, Any]) -> list[str]:
    """The report for people."""
    fresh = report["accepted_to_page"]
    found = [
        f"/v1/ranking, {words}: {one['requests_per_second']:,} requests/s, {one['cpu_us_per_request']} µs CPU of the api each,"
        f" p50 {one['latency']['p50_ms']} ms, p99 {one['latency']['p99_ms']} ms"
        for words, one in (
            ("nothing coming in", report["ranking_alone"]),
            (f"{report['workload']['per_second']:,} events/s coming in", report["ranking_meanwhile"]),
        )
    ]
    return [
        *found,
        f"accepted to shown in the browser, {report['workload']['per_second']:,} events/s coming in: p50 {fresh['p50_ms']} ms,"
        f" p99 {fresh['p99_ms']} ms, of {fresh['n']} probes",
    ]
