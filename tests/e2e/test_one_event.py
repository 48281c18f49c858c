"""The way of one event over the real edges: a push signed by a public client becomes a figure in the notice."""

from datetime import UTC, datetime
from typing import Any

import httpx
import orjson
from standardwebhooks.webhooks import Webhook

from tests.conftest import Credentials, Services
from tests.metrics_support import until

SENDER = "hebei-onething"


def event(number: int, **data: Any) -> dict[str, Any]:
    content = {
        "case_no": "13062120240902-1", "item": "disabled-service", "county": "130621002003", "step": "applied",
        "occurred_at": "2024-09-02T09:00:00+08:00", "channel": "web", "applicant": {"name": "张三", "phone": "13800138000"}, **data,
    }  # fmt: skip
    return {
        "specversion": "1.0", "id": f"e-{number}", "source": "urn:onething:province:hebei", "type": "cn.onething.case.step.v1",
        "subject": content["case_no"], "time": "2024-09-02T09:00:05+08:00", "data": content,
    }  # fmt: skip


async def test_a_signed_push_becomes_the_directors_notice(service: Services, credentials: Credentials) -> None:
    intake, api, _ = [await service(*part) for part in (("intake", "api"), ("metrics", "api"), ("metrics", "worker"))]
    webhook = Webhook(credentials.senders[SENDER])

    async def push(client: httpx.AsyncClient, *events: dict[str, Any]) -> httpx.Response:
        body, at = orjson.dumps(events), datetime.now(UTC)
        headers = {
            "content-type": "application/cloudevents-batch+json",
            "webhook-id": f"msg-{at.timestamp()}",
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": webhook.sign(f"msg-{at.timestamp()}", at, body.decode()),
        }
        return await client.post(f"{intake.url}/v1/senders/{SENDER}/events", content=body, headers=headers)

    reader = {"Authorization": f"Bearer {credentials.reader_token}"}
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        moved = event(2, county="130635", recorded_at="2024-09-05T09:00:00+08:00", step="accepted")
        answer = await push(client, event(1), event(1), moved)
        assert (answer.status_code, answer.json()["accepted"]) == (202, 3)

        async def counted() -> bool:
            asked = {"item": "disabled-service", "as_of": "2024-09-30"}
            figures = (await client.get(f"{api.url}/v1/counts", params=asked, headers=reader)).json()
            return {row["county"]: row["handled"] for row in figures["rows"] if row["handled"]} == {"130635": 1}

        await until(counted, 20)
        notice = await client.get(f"{api.url}/v1/notices/2024-09", params={"item": "disabled-service"}, headers=reader)
        assert notice.json()["paragraph"].startswith(
            "截至9月底,全市共办理“残疾人服务”一件事1件,办理量最高的是蠡县(1件,占全市的100.0%);"
        )
        assert (await client.get(f"{api.url}/v1/consistency", headers=reader)).json() == {"checked": 1, "drift": []}
