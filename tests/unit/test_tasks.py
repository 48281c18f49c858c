"""Background tasks end when they are told to, though a driver takes the cancellation for an error of its own."""

import asyncio

import pytest

from shared import tasks


async def test_a_task_whose_driver_swallowed_the_cancellation_ends_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0.01)
    swallowed = 0

    async def goes_on_after_errors() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if swallowed == 2:
                    raise
                swallowed += 1

    stubborn, obedient, done = (asyncio.create_task(work) for work in (goes_on_after_errors(), asyncio.sleep(60), asyncio.sleep(0)))
    await asyncio.sleep(0.05)
    async with asyncio.timeout(10):
        await tasks.end([stubborn, obedient, done])
    assert swallowed == 2
    assert stubborn.cancelled()
    assert obedient.cancelled()
    assert not done.cancelled()
