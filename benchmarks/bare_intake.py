"""What a good engineer would first write to take events over HTTP into Kafka. Kept honest: nothing slow put in.

One route for an event and one for a list of them: FastAPI parses the body into pydantic models, aiokafka publishes with acks=all
and is waited for. Durable as ours is, and without what ours does beside: no signature, no judgement of county, item and times, no
answer for each item, no receipt, no parking of what cannot be used. Unknown fields (people's data with them) fall away with the
model.

``python -m benchmarks.bare_intake`` serves it, told by its environment, with the server and settings of our own processes.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Literal

from aiokafka import AIOKafkaProducer
from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks import rival
from shared import web


class Step(BaseModel):
    case_no: str
    item: str
    county: str
    step: str
    outcome: str | None = None
    occurred_at: datetime
    recorded_at: datetime
    data_version: int = 1
    operation: str = "upsert"
    channel: str | None = None
    promised_on: str | None = None


class CaseEvent(BaseModel):
    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    data: Step


class Taken(BaseModel):
    accepted: int


def build(kafka: str, topic: str) -> FastAPI:
    """The app; its producer lives with it."""
    producers: list[AIOKafkaProducer] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AIOKafkaProducer(bootstrap_servers=kafka, acks="all") as producer:
            producers.append(producer)
            yield

    app = FastAPI(lifespan=lifespan)

    async def publish(event: CaseEvent) -> None:
        value = event.model_dump_json(exclude_none=True).encode()
        await producers[0].send_and_wait(topic, value, event.subject.encode())

    @app.post("/event", status_code=202)
    async def take(event: CaseEvent) -> Taken:
        await publish(event)
        return Taken(accepted=1)

    @app.post("/events", status_code=202)
    async def take_all(events: list[CaseEvent]) -> Taken:
        await asyncio.gather(*(publish(event) for event in events))
        return Taken(accepted=len(events))

    @app.get("/readyz")
    async def readyz() -> dict[str, str]:
        return {"status": "ready"}

    return app


def main() -> None:
    given = rival.given()
    web.serve(build(given["kafka"], given["topic"]), host=given["host"], port=given["port"])


if __name__ == "__main__":
    main()
