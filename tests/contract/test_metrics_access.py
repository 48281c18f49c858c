"""Tokens of each scope against each route of the reading side, with a real PostgreSQL and a real Kafka behind it."""

import asyncio
import html
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import orjson
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from services.metrics.domain.access import RULES, Needs
from services.metrics.domain.sessions import digest
from services.metrics.handlers import counting
from services.metrics.handlers.counting import RawRecord
from services.metrics.http import stream
from services.metrics.main import build_api
from services.metrics.settings import Settings
from shared import counties, headers, postgres
from shared.events import county_metric, progress
from shared.kafka import Message, Publisher, Topics
from tests.case_events import SOURCE, encoded
from tests.conftest import TestDatabase
from tests.unit.test_metrics_access import named

NOW: Final = datetime(2024, 10, 2, 4, tzinfo=UTC)
OWN, OTHER = "130607", "130608"
TOKENS: Final = {"county": "c" * 32, "reader": "r" * 32, "operator": "o" * 32, "named": "n" * 32}
SCOPES: Final = ("county", "reader", "operator")

D = {"item": "disabled-service"}
NOT_THEIRS: Final = (403, 200, 200)
ALL: Final = (200, 200, 200)
OPERATORS: Final = (403, 403, 200)

ROUTES: Final[dict[str, tuple[str, dict[str, str], tuple[int, int, int]]]] = {
    "GET /v1/counts": ("/v1/counts", {}, ALL),
    "GET /v1/ranking": ("/v1/ranking", D, ALL),
    "GET /v1/co-location": ("/v1/co-location", {}, ALL),
    "GET /v1/idle-windows": ("/v1/idle-windows", {}, ALL),
    "GET /v1/installations": ("/v1/installations", {}, ALL),
    "GET /v1/installations/list": ("/v1/installations/list", {"state": "opened"}, ALL),
    "GET /v1/joint-installations": ("/v1/joint-installations", {}, ALL),
    "GET /v1/cases": ("/v1/cases", {}, ALL),
    "GET /v1/cases/{source:path}/{case_no}": (f"/v1/cases/{SOURCE}/{OWN}-1", {}, ALL),
    "GET /v1/changes": ("/v1/changes", D, ALL),
    "GET /v1/unplaced": ("/v1/unplaced", {}, NOT_THEIRS),
    "GET /v1/notices": ("/v1/notices", {}, ALL),
    "GET /v1/notices/{month}": ("/v1/notices/2024-09", D, ALL),
    "POST /v1/notices/{month}": ("/v1/notices/2024-09", D, OPERATORS),
    "GET /v1/snapshot": ("/v1/snapshot", {}, ALL),
    "GET /v1/stream": ("/v1/stream", {"from_offset": "0"}, ALL),
    "GET /v1/consistency": ("/v1/consistency", {}, NOT_THEIRS),
    "GET /v1/recount": ("/v1/recount", {}, NOT_THEIRS),
    "GET /v1/audit": ("/v1/audit", {}, OPERATORS),
    "POST /v1/rebuild": ("/v1/rebuild", {}, OPERATORS),
    "POST /v1/what-if": ("/v1/what-if", {}, OPERATORS),
    "GET /": ("/", {}, ALL),
    "GET /live": ("/live", {}, ALL),
    "GET /cases": ("/cases", {}, ALL),
    "GET /cases/{source:path}/{case_no}": (f"/cases/{SOURCE}/{OWN}-1", {}, ALL),
    "GET /changes": ("/changes", {}, ALL),
    "GET /units/{code}": (f"/units/{OWN}", {}, ALL),
    "GET /joint": ("/joint", {}, ALL),
    "GET /halls/{code}": (f"/halls/{OWN}", {}, ALL),
    "GET /installations": ("/installations", {"state": "opened"}, ALL),
    "GET /check": ("/check", {}, NOT_THEIRS),
}
"""For each route that asks who it is: a question, and what the scopes county, reader and operator are answered."""

OPEN: Final = {
    "GET /login": ("/login", 200), "POST /session": ("/session", 403), "POST /logout": ("/logout", 200),
    "GET /oidc/login": ("/oidc/login", 404), "GET /oidc/callback": ("/oidc/callback", 404),
    "GET /static/{name}": ("/static/page.css", 200), "GET /favicon.ico": ("/favicon.ico", 200),
    "GET /livez": ("/livez", 200), "GET /readyz": ("/readyz", 200), "GET /metrics": ("/metrics", 200),
    "GET /openapi.json": ("/openapi.json", 200), "GET /asyncapi.json": ("/asyncapi.json", 200),
}  # fmt: skip
"""Those that ask nobody, with their answer."""

OF_OTHERS: Final = [
    ("/v1/counts", {"county": OTHER, "group_by": "day"}),
    ("/v1/installations", {"county": OTHER}),
    ("/v1/installations/list", {"county": OTHER}),
    ("/v1/joint-installations", {"county": OTHER}),
    ("/v1/cases", {"county": OTHER}),
    ("/v1/changes", D | {"county": OTHER}),
    ("/v1/snapshot", {"county": OTHER}),
    ("/v1/stream", {"county": OTHER}),
]
PAGES_OF_OTHERS: Final = [
    ("/cases", {"county": OTHER}),
    ("/installations", {"county": OTHER}),
    ("/changes", {"county": OTHER}),
    ("/joint", {"county": OTHER}),
    (f"/units/{OTHER}", {}),
    (f"/halls/{OTHER}", {}),
]


def routes_of(routes: Any) -> Iterator[str]:
    """Method and path of every route, also of routers that are included."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from routes_of(inner.routes)
        else:
            yield from (f"{method} {route.path}" for method in route.methods - {"HEAD"})


def applied(case_no: str, county: str | None, day: int) -> bytes:
    at = f"2024-09-{day:02}T02:00:00Z"
    data = {
        "case_no": case_no,
        "step": "applied",
        "occurred_at": at,
        "recorded_at": at,
        "item": "disabled-service",
        "channel": "web",
    }
    if county is not None:
        data["county"] = county
    return encoded(
        {"id": case_no, "source": SOURCE, "type": "cn.onething.case.step.v1", "subject": case_no, "time": at, "data": data}
    )


def snapshots() -> list[bytes]:
    """A gas company in each hall; the examples of an installation and of a joint one, in each county."""
    examples = {
        name: orjson.loads((Path(progress.__file__).parent / f"examples/progress/{name}.json").read_bytes())["data"]
        for name in ("installation", "joint")
    }
    told: list[dict[str, Any]] = []
    for county in (OWN, OTHER):
        who = {"county": county, "company": "gas-1", "service": "gas"}
        subject = f"{county}/gas-1/gas"
        period = {"effective_on": "2024-01-01", "level": "own_window", "handles": ["joint_installation", "public_service"]}
        told += [
            {"kind": "registry", "subject": subject, "state": who | {"name": "燃气", "periods": [{"valid_from": "2023-01-01"}]}},
            {"kind": "presence", "subject": subject, "state": who | {"periods": [period]}},
        ]
        for example in examples.values():
            own = orjson.loads(orjson.dumps(example["state"]))
            own["county"] = county
            told.append({"kind": example["kind"], "subject": f"{example['subject']}-{county}", "state": own})
    return [orjson.dumps({"type": progress.TYPE, "data": {"version": 1, "deleted": False} | one}) for one in told]


async def fill(dsn: str) -> None:
    async def park(unusable: Any) -> None:
        raise AssertionError(f"nothing here should be parked: {unusable}")

    cases = [applied(f"{county}-{n}", county, 1 + n) for county, many in ((OWN, 3), (OTHER, 5)) for n in range(many)]
    cases.append(applied("nowhere", None, 3))
    async with await postgres.open_pool(dsn, application="test", size=1) as pool:
        await counting.count_batch(pool, park, "t", 0, 0, [RawRecord(n, one) for n, one in enumerate(cases)])
        await counting.fold_counters(pool)
        await counting.keep_snapshots(pool, park, "p", 0, 0, [RawRecord(n, one) for n, one in enumerate(snapshots())])


async def tell_totals(kafka: str, topics: Topics) -> None:
    records = []
    for county in (OWN, OTHER):
        of = {"county": county, "item": D["item"], "measure": "handled"}
        data = of | {"total": 3, "version": 1, "changed_at": "2024-10-02T00:00:00Z"}
        key = f"{county}|disabled-service|handled"
        records.append(Message(topics.county_metrics, key, orjson.dumps({"type": county_metric.TYPE, "data": data})))
    async with Publisher(kafka, client_id="test", timeout_seconds=30) as publisher:
        await publisher.publish(records)


@pytest.fixture
async def app(database: TestDatabase, kafka: str, topics: Topics, tmp_path: Path) -> AsyncIterator[FastAPI]:
    await fill(database.dsn("metrics"))
    await tell_totals(kafka, topics)
    readers = tmp_path / "readers.json"
    readers.write_text(
        json.dumps(
            {
                "mancheng": {"token_sha256": [digest(TOKENS["county"])], "scope": "county", "county": OWN},
                "province": {"token_sha256": [digest("old"), digest(TOKENS["named"])], "scope": "reader"},
            }
        )
    )
    settings = Settings(
        kafka=kafka, topic_prefix=topics.prefix, postgres_dsn=SecretStr(database.dsn("metrics")),
        postgres_reader_dsn=SecretStr(database.dsn("metrics_reader")), reader_token=SecretStr(TOKENS["reader"]),
        operator_token=SecretStr(TOKENS["operator"]), readers_file=readers, page_url="https://monitor.example",
        trusted_proxies="127.0.0.1",
    )  # fmt: skip
    built = build_api(settings, clock=lambda: NOW)
    async with built.router.lifespan_context(built):
        async with asyncio.timeout(30):
            while built.state.hub.away is not None:  # noqa: ASYNC110 - what is awaited is the topic's reader
                await asyncio.sleep(0.05)
        yield built


@asynccontextmanager
async def browser(app: FastAPI, token: str | None = None, address: str = "10.0.0.1") -> AsyncIterator[httpx.AsyncClient]:
    """A client with the page's session, where it has a token."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    theirs = {"x-forwarded-for": address}
    async with httpx.AsyncClient(transport=transport, base_url="https://monitor.example", headers=theirs) as client:
        if token is not None:
            assert (await client.post("/session", data={"token": token})).status_code == 303
        yield client


async def streamed(app: FastAPI, path: str, params: dict[str, str], headers: dict[str, str]) -> tuple[int, str]:
    """The status of an answer that never ends, and what comes in its first half second."""
    sent: list[MutableMapping[str, Any]] = []
    left = asyncio.Event()
    asked = {"host": "monitor.example", **headers}

    async def receive() -> MutableMapping[str, Any]:
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "https", "path": path,
        "raw_path": path.encode(), "root_path": "", "query_string": str(httpx.QueryParams(params)).encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in asked.items()],
        "client": ("127.0.0.1", 1), "server": ("monitor.example", 443), "state": {},
    }  # fmt: skip
    asyncio.get_running_loop().call_later(0.6, left.set)
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(one.get("body", b"") for one in sent[1:]).decode()


Ask = Callable[[str], Awaitable[tuple[int, str]]]


def names_others(text: str) -> set[str]:
    """Other counties' codes and names in a text."""
    return {word for unit in counties.ROSTER if unit.code != OWN for word in (unit.code, unit.name) if word in text}


async def test_each_scope_is_answered_what_it_may_see_by_each_route(app: FastAPI) -> None:
    assert set(routes_of(app.routes)) == set(ROUTES) | set(OPEN), "say for a new route what each scope is answered"
    assert set(RULES) == set(ROUTES) | set(OPEN)
    assert {route for route, rule in RULES.items() if rule.needs is Needs.NOBODY} == set(OPEN)

    async with browser(app) as client:
        bearer = {scope: {"authorization": f"Bearer {TOKENS[scope]}"} for scope in SCOPES}
        # Something issued, so that a county has a notice to read.
        assert (await client.post("/v1/notices/2024-09", params=D, headers=bearer["operator"])).status_code == 201

        async def ask(route: str, of: dict[str, str]) -> tuple[int, str]:
            method, _, _ = route.partition(" ")
            path, params, _ = ROUTES[route]
            if path == "/v1/stream":
                return await streamed(app, path, params, of)
            answer = await client.request(method, path, params=params, headers=of, json=[] if "what-if" in path else None)
            return answer.status_code, answer.text

        for route, (path, _, expected) in ROUTES.items():
            if path.startswith("/v1"):
                assert (await ask(route, {}))[0] == 401, route
                assert (await ask(route, {"authorization": "Bearer wrong"}))[0] == 401, route
                found = {scope: await ask(route, bearer[scope]) for scope in SCOPES}
                assert tuple(found[scope][0] for scope in SCOPES) == expected, (route, found)
                told = found["county"]
            else:
                assert "登录" in (await ask(route, {}))[1], route
                seen = {}
                for scope in SCOPES:
                    async with browser(app, TOKENS[scope]) as page:
                        answer = await page.get(path, params=ROUTES[route][1])
                        seen[scope] = (answer.status_code, answer.text)
                assert tuple(seen[scope][0] for scope in SCOPES) == expected, route
                told = seen["county"]
            if told[0] == 200 and "notices" not in route:
                assert not names_others(told[1]), (route, names_others(told[1]))
            if told[0] == 403 and path.startswith("/v1"):
                problem = json.loads(told[1])
                assert problem["scope"] == "county", route
                assert "county" not in problem["needs"], route

        for route, (path, status) in OPEN.items():
            answer = await client.request(route.partition(" ")[0], path)
            assert answer.status_code == status, route
            if path != "/openapi.json":  # examples name a county
                assert not set(named(answer.json() if "json" in answer.headers["content-type"] else None)), route


async def test_a_countys_token_sees_its_rows_and_the_citys_sums_and_never_what_stands_for_others(app: FastAPI) -> None:
    county, reader = ({"authorization": f"Bearer {TOKENS[scope]}"} for scope in ("county", "named"))
    async with browser(app) as client:

        async def get(path: str, of: dict[str, str], **params: str) -> Any:
            answer = await client.get(path, params=params, headers=of)
            assert answer.status_code == 200, answer.text
            return answer.json()

        async with asyncio.timeout(20):  # until answers stand
            while not app.state.access.answers._stand:
                await get("/v1/ranking", reader, **D)
                await asyncio.sleep(0.02)
        for first, second in ((reader, county), (county, reader)):
            app.state.access.answers.moved()
            for of in (first, second, first, second):
                ranked = await get("/v1/ranking", of, **D)
                assert ranked["total"] == 8
                assert len(ranked["rows"]) == (1 if of is county else len(counties.ROSTER))
                assert len(ranked["zero"]) == (0 if of is county else 20)
        assert ranked.get("limited_to") is None
        mine = await get("/v1/ranking", county, **D)
        assert mine["limited_to"] == OWN
        assert mine["rows"][0] | {"share": None} == {
            "rank": 2, "county": OWN, "name": "满城区", "pilot": mine["rows"][0]["pilot"], "count": 3, "share": None,
        }  # fmt: skip

        counted = await get("/v1/counts", county)
        assert [row["county"] for row in counted["rows"]] == [OWN]
        assert (counted["rows"][0]["handled"], counted["total"]["handled"]) == (3, 8)
        by_day = await get("/v1/counts", county, county=OWN, group_by="day")
        assert [row["handled"] for row in by_day["rows"]] == [1, 1, 1]
        assert (await get("/v1/counts", county, group_by="day"))["total"]["handled"] == 8

        cases = await get("/v1/cases", county)
        assert (cases["count"], cases["county"]) == (3, OWN)
        assert {row["county"] for row in cases["rows"]} == {OWN}
        located = await get("/v1/co-location", county)
        assert ([row["county"] for row in located["counties"]], located["total"]["applicable"]) == ([OWN], 2)
        installed = await get("/v1/installations", county)
        assert {row["county"] for row in installed["rows"]} == {OWN}
        assert installed["total"]["opened"] == 2
        assert [row["county"] for row in (await get("/v1/snapshot", county))["rows"]] == [OWN]
        assert len((await get("/v1/snapshot", reader))["rows"]) == 2
        _, events = await streamed(app, "/v1/stream", {"from_offset": "0"}, county)
        assert events.count("event: county-metric") == 1
        _, events = await streamed(app, "/v1/stream", {"from_offset": "0"}, reader)
        assert events.count("event: county-metric") == 2


async def test_who_follows_is_asked_again_who_they_are(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "LONGEST_SECONDS", 0.0)
    reader = {"authorization": f"Bearer {TOKENS['reader']}"}
    _, events = await streamed(app, "/v1/stream", {"from_offset": "0"}, reader)
    assert events.count("event: county-metric") == 2, "what there is comes first"
    assert events.rstrip().splitlines()[-2:][0] == "event: cut"
    assert '"reason":"again"' in events


async def test_what_is_anothers_is_refused_and_a_case_of_another_county_is_unknown(app: FastAPI) -> None:
    county = {"authorization": f"Bearer {TOKENS['county']}"}
    async with browser(app) as client:
        for path, params in OF_OTHERS:
            answer = await client.get(path, params=params, headers=county)
            assert answer.status_code == 403, path
            assert answer.json()["errors"][0]["pointer"] == "/query/county"
        anothers = await client.get(f"/v1/cases/{SOURCE}/{OTHER}-1", headers=county)
        unknown = await client.get(f"/v1/cases/{SOURCE}/no-such-case", headers=county)
        waiting = await client.get(f"/v1/cases/{SOURCE}/nowhere", headers=county)
        told = [{k: v for k, v in one.json().items() if k != "instance"} for one in (anothers, unknown, waiting)]
        assert anothers.status_code == 404
        assert told == [told[0]] * 3, "the same words for one that there is not"
        for params in ({}, {"live": "true"}, {"format": "docx"}):
            answer = await client.get("/v1/notices/2024-09", params=D | params, headers=county)
            assert (answer.status_code, answer.json()["type"]) == (403, "urn:onething:problem:not-issued")
        operator = {"authorization": f"Bearer {TOKENS['operator']}"}
        issued = (await client.post("/v1/notices/2024-09", params=D, headers=operator)).json()
        for params in ({}, {"live": "true"}):
            answer = await client.get("/v1/notices/2024-09", params=D | params, headers=county)
            assert (answer.json()["frozen"], answer.json()["rows"]) == (issued["frozen"], issued["rows"])
            assert answer.json()["restatement"] is None
        assert (await client.get("/v1/notices/2024-09", params=D | {"format": "docx"}, headers=county)).status_code == 200
    async with browser(app, TOKENS["county"]) as page:
        for path, params in PAGES_OF_OTHERS:
            answer = await page.get(path, params=params)
            assert (answer.status_code, "本县" in answer.text) == (422, True), path
        home = (await page.get("/")).text
        assert '<strong id="total">8</strong>' in home, "the city's sum, which opens to no list of theirs"
        links = sorted(set(re.findall(r'href="(/[^"#]*)', home)))
        opened = {link: (await page.get(html.unescape(link))).status_code for link in links}
        assert set(opened.values()) == {200}, "what the page leads to opens"
        assert len(links) > 5
        assert "没有这个办件" in (await page.get(f"/cases/{SOURCE}/{OTHER}-1")).text
        assert (await page.get("/v1/ranking", params=D)).json()["limited_to"] == OWN, "as by token"
        assert (await page.post("/v1/rebuild")).status_code == 401, "and changes nothing"


async def test_readers_come_and_go_with_the_file_and_so_do_their_sessions(app: FastAPI, tmp_path: Path) -> None:
    readers = tmp_path / "readers.json"
    known = json.loads(readers.read_text())
    async with browser(app, TOKENS["county"]) as page:
        assert (await page.get("/v1/ranking", params=D)).json()["limited_to"] == OWN
        known["mancheng"]["county"] = OTHER
        readers.write_text(json.dumps(known))
        await until(lambda: page.get("/v1/ranking", params=D), lambda a: a.json().get("limited_to") == OTHER)
        del known["mancheng"]
        readers.write_text(json.dumps(known))
        await until(lambda: page.get("/v1/ranking", params=D), lambda a: a.status_code == 401)
        assert (await page.get("/v1/ranking", params=D, headers={"authorization": f"Bearer {TOKENS['county']}"})).status_code == 401
        assert (await page.get("/v1/ranking", params=D, headers={"authorization": f"Bearer {TOKENS['named']}"})).status_code == 200
        readers.write_text("{")
        await asyncio.sleep(1.1)
        assert (await page.get("/v1/ranking", params=D, headers={"authorization": f"Bearer {TOKENS['named']}"})).status_code == 200


async def until(ask: Callable[[], Awaitable[httpx.Response]], so: Callable[[httpx.Response], bool]) -> None:
    async with asyncio.timeout(10):
        while not so(await ask()):  # noqa: ASYNC110 - what is awaited is the file's next look
            await asyncio.sleep(0.1)


async def test_too_many_wrong_tokens_and_too_many_questions_have_to_wait(database: TestDatabase) -> None:
    settings = Settings(
        postgres_dsn=SecretStr(database.dsn("metrics")), reader_token=SecretStr("reader"), operator_token=SecretStr("operator"),
        reads_per_second=60, failed_logins_per_minute=0.01, trusted_proxies="127.0.0.1",
    )  # fmt: skip
    app = build_api(settings, clock=lambda: NOW)
    reader = {"authorization": "Bearer reader"}
    async with app.router.lifespan_context(app):
        async with browser(app, address="10.0.0.2") as client:
            assert (await client.get("/v1/counts", headers=reader)).status_code == 200
            wrong = [(await client.get("/v1/counts", headers={"authorization": f"Bearer {n}"})).status_code for n in range(25)]
            assert (wrong[:20], wrong[-1]) == ([401] * 20, 429)
            refused = await client.get("/v1/counts", headers={"authorization": "Bearer operator"})
            assert (refused.status_code, int(refused.headers["retry-after"]) >= 1) == (429, True), "a right guess too"
            assert refused.headers["content-type"] == "application/problem+json"
            form = await client.post("/session", data={"token": "operator"})
            assert (form.status_code, "秒后再试" in form.text, "set-cookie" in form.headers) == (429, True, False)
            assert (await client.get("/v1/counts", headers=reader)).status_code == 200, "whom we know is not shut out by others"
        async with browser(app, address="10.0.0.3") as elsewhere:
            assert (await elsewhere.get("/v1/counts", headers={"authorization": "Bearer operator"})).status_code == 200
            # A recount takes 50 of 60: the first two pass, and the second has overdrawn.
            found = [await elsewhere.get("/v1/recount", headers=reader) for _ in range(3)]
            assert [answer.status_code for answer in found] == [200, 200, 429]
            assert int(found[2].headers["retry-after"]) >= 1
            assert (await elsewhere.get("/v1/counts", headers={"authorization": "Bearer operator"})).status_code == 200
        async with browser(app, address="2001:db8::1") as first, browser(app, address="2001:db8::2") as second:
            for _ in range(22):
                await first.get("/v1/counts", headers={"authorization": "Bearer x"})
            assert (await second.get("/v1/counts", headers={"authorization": "Bearer x"})).status_code == 429, "one network"


async def test_every_answer_tells_browsers_to_keep_it_as_it_is(app: FastAPI) -> None:
    async def broken() -> None:
        raise RuntimeError("a fault of ours")

    app.add_api_route("/broken", broken)
    bearer = {"authorization": f"Bearer {TOKENS['operator']}"}
    async with browser(app) as client:
        asked = [("GET", "/broken"), ("GET", "/no-such-path"), ("PUT", "/v1/counts"), ("GET", "/v1/counts?as_of=x")]
        asked += [(route.partition(" ")[0], path) for route, (path, _, _) in ROUTES.items() if path != "/v1/stream"]
        asked += [(route.partition(" ")[0], path) for route, (path, _) in OPEN.items()]
        for method, path in asked:
            for of in ({}, bearer):
                answer = await client.request(method, path, headers=of)
                given = answer.headers
                assert given["strict-transport-security"] == headers.HSTS, path
                for name in headers.COMMON:
                    assert len(given.get_list(name)) == 1, (path, name)
                assert given["x-content-type-options"] == "nosniff"
                policy = given["content-security-policy"]
                assert "default-src 'none'" in policy, path
                assert "frame-ancestors 'none'" in policy, path
                assert "unsafe" not in policy, path
                assert "no-store" in given["cache-control"] or path in ("/static/page.css", "/favicon.ico"), path
                if not given["content-type"].startswith("text/html"):
                    assert given["referrer-policy"] == "no-referrer" or path == "/session", path
        assert (await client.get("/broken")).status_code == 500
        for gone in ("/docs", "/redoc"):
            assert (await client.get(gone)).status_code == 404, "nothing that loads scripts from elsewhere"


def test_nothing_below_the_county_is_shown_without_a_bureaus_token() -> None:
    """Small cells (DESIGN §5): whatever is broken down below a county asks who it is, and every scope is the bureau's."""
    for route in ("GET /v1/cases", "GET /v1/cases/{source:path}/{case_no}", "GET /v1/installations", "GET /v1/installations/list"):
        assert RULES[route].needs is Needs.READER
    assert all("/v1/" not in route for route, rule in RULES.items() if rule.needs is Needs.NOBODY)
