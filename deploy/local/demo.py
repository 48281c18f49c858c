"""The demo: pushes the sample season through the real edges, waits until it is counted, shows it and checks each figure."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import httpx
import orjson
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from deploy.local.client import Event, PushClient, PushError, Tally
from deploy.local.sample import golden, season, utilities
from deploy.local.sample.backlog import backlog
from deploy.local.sample.checks import Answers, Check, Expected, check, lines
from deploy.local.sample.season import Season
from deploy.local.sample.tables import county_table, hall_table
from deploy.local.sample.utilities import Reports
from shared.kafka import KafkaUnavailable, Message, Publisher, Topics

SENDER: Final = "hebei-onething"
WAIT_SECONDS: Final = 60.0
ASK_EVERY_SECONDS: Final = 1.0
KAFKA_CHUNK: Final = 100
KAFKA_ATTEMPTS: Final = 5
PATIENCE: Final = 7
"""Attempts at one batch: over half a minute, in which a service that fell has been restarted."""

Endpoints = Mapping[str, Any]
"""The content of ``endpoints.json`` (CONTRACT §1)."""

Advance = Callable[[int], None]


async def run_demo(endpoints: Endpoints, console: Console) -> bool:
    """Whether every figure is as expected. Tells the user in Chinese what is seen, or what went wrong and what to do.

    Pushing the same season to the same stack again changes no figure.
    """
    try:
        return await _run(endpoints, console)
    except (PushError, KafkaUnavailable) as error:
        console.print(f"[red]推送没有完成:[/red]{error}")
    except (httpx.HTTPError, KafkaError, OSError) as error:
        console.print(f"[red]服务没有应答:[/red]{type(error).__name__} {error};请看状态目录中的日志,再运行一次")
    return False


async def _run(endpoints: Endpoints, console: Console) -> bool:
    source = endpoints["senders"][SENDER]["source"]
    sample = season.build(source=source)
    reports = utilities.build(utilities.read_registry(), sample.joint, source)
    expected = Expected(sample.planned, reports.expected)
    unknown = sorted(set(reports.pushes) - set(endpoints["companies"]))
    if unknown:
        console.print(f"[red]示例登记表中的企业还没有密钥:[/red]{'、'.join(unknown)};请删除状态目录后重新启动")
        return False
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        # Everything is on the loopback: a proxy of the environment's is not to be asked.
        async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
            pushed = await _push(http, endpoints, sample, reports, progress)
        waiting = progress.add_task("等待全部计入", total=None)
        headers = {"authorization": f"Bearer {endpoints['reader_token']}"}
        async with httpx.AsyncClient(base_url=endpoints["metrics"], headers=headers, timeout=30, trust_env=False) as http:
            answers, checks = await _counted(http, endpoints["kafka"], expected)
        progress.update(waiting, total=1, completed=1)
    console.print()
    console.print(answers.notice["paragraph"], style="bold", highlight=False, soft_wrap=True)
    console.print()
    console.print(county_table(answers.ranking, answers.counts))
    console.print(hall_table(answers.co_location))
    return _tell(console, [*_answered(sample, pushed), *checks])


async def _push(
    http: httpx.AsyncClient, endpoints: Endpoints, sample: Season, reports: Reports, progress: Progress
) -> dict[str, Tally]:
    """Sends everything, the three ways side by side; the tallies of the province and of the companies together."""
    by_http = [push.event for push in sample.pushes if push.via == "http"]
    by_kafka = [push.event for push in sample.pushes if push.via == "kafka"]

    def bar(name: str, total: int) -> Advance:
        task = progress.add_task(name, total=total)
        return lambda count: progress.advance(task, count)

    url = f"{endpoints['intake']}/v1/senders/{SENDER}/events"
    province = PushClient(http, url, endpoints["senders"][SENDER]["secret"], patience=PATIENCE)
    try:
        async with asyncio.TaskGroup() as group:
            cases = group.create_task(province.push(by_http, bar("省平台推送办件(HTTP)", len(by_http))))
            group.create_task(_push_by_kafka(endpoints["kafka"], by_kafka, bar("省平台推送办件(Kafka)", len(by_kafka))))
            total = sum(len(events) for events in reports.pushes.values())
            companies = group.create_task(_push_companies(http, endpoints, reports, bar("企业报送进驻和报装", total)))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None  # the first one that failed stopped the others
    return {"province": cases.result(), "companies": companies.result()}


async def _push_by_kafka(bootstrap: str, events: Sequence[Event], advance: Advance) -> None:
    topic = Topics().province_push
    messages = [Message(topic, event["subject"], orjson.dumps(event)) for event in events]
    async with Publisher(bootstrap, client_id="sample-province") as publisher:
        for start in range(0, len(messages), KAFKA_CHUNK):
            chunk = messages[start : start + KAFKA_CHUNK]
            for attempt in range(KAFKA_ATTEMPTS):
                try:
                    await publisher.publish(chunk)
                    break
                except KafkaUnavailable:  # not known to be stored: sending it again is harmless
                    if attempt + 1 == KAFKA_ATTEMPTS:
                        raise
            advance(len(chunk))


async def _push_companies(http: httpx.AsyncClient, endpoints: Endpoints, reports: Reports, advance: Advance) -> Tally:
    """Each company's own events, signed with its own secret."""
    tally = Tally()
    for company, events in reports.pushes.items():
        url = f"{endpoints['utilities']}/v1/companies/{company}/events"
        client = PushClient(http, url, endpoints["companies"][company]["secret"], patience=PATIENCE)
        tally.add(await client.push(events, advance))
    return tally


async def _counted(http: httpx.AsyncClient, bootstrap: str, expected: Expected) -> tuple[Answers, list[Check]]:
    """Asks until nothing is left in the log and every figure fits, or the time is up; the last answers and their checks."""
    topics = Topics()
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        # In the direction of the flow: what a service writes before it commits is seen further down.
        flow = (topics.province_push, topics.utility_events, topics.case_events, topics.progress)
        behind = await backlog(bootstrap, flow)
        answers = await ask(http)
        checks = [*check(answers, expected), Check("事件全部计入", "积压", {}, behind)]
        if all(one.holds for one in checks) or time.monotonic() > deadline:
            return answers, checks
        await asyncio.sleep(ASK_EVERY_SECONDS)


async def ask(http: httpx.AsyncClient) -> Answers:
    """Every answer that the demo shows or checks.

    Raises:
        httpx.HTTPError: a question is not answered with 200.
    """

    async def get(path: str, **query: str) -> Any:
        response = await http.get(path, params=query)
        return response.raise_for_status().json()

    as_of = golden.AS_OF.isoformat()
    return Answers(
        counts=await get("/v1/counts", item=golden.ITEM, as_of=as_of, group_by="county"),
        by_item=await get("/v1/counts", as_of=as_of, group_by="item"),
        ranking=await get("/v1/ranking", item=golden.ITEM, measure="handled", as_of=as_of),
        co_location=await get("/v1/co-location", as_of=as_of),
        notice=await get(f"/v1/notices/{as_of[:7]}", item=golden.ITEM, format="json"),
        consistency=await get("/v1/consistency"),
    )


def _answered(sample: Season, pushed: Mapping[str, Tally]) -> list[Check]:
    """What the edges answered: everything taken but the unusable ones, which are refused each with its reason."""
    sent = sum(push.via == "http" for push in sample.pushes)
    unusable = sample.unusable["http"]
    province, companies = pushed["province"], pushed["companies"]
    return [
        Check("推送回执", "省平台接受", sent - unusable, province.accepted),
        Check("推送回执", "省平台拒收", unusable, province.rejected),
        Check("推送回执", "企业拒收", 0, companies.rejected),
    ]


def _tell(console: Console, checks: Sequence[Check]) -> bool:
    for holds, line in lines(checks):
        console.print(f"[green]✓[/green] {line}" if holds else f"[red]✗ {line}[/red]", highlight=False, soft_wrap=True)
    wrong = sum(not one.holds for one in checks)
    if wrong:
        console.print(f"[bold red]{wrong}项数字与预期不符(共{len(checks)}项)。[/bold red]")
    else:
        console.print(f"[bold green]{len(checks)}项数字全部与预期相符。[/bold green]")
    return not wrong
