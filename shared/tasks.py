"""Tasks that go on in the background, and how they end."""

import asyncio
from collections.abc import Collection
from typing import Any, Final

AGAIN_SECONDS: Final = 1.0


async def end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancels ``tasks`` and waits until they have ended.

    It asks again each second: a driver that is cancelled while it hands back a lost connection may raise an error of its own
    instead, and a task that goes on after errors would never learn that it was to end.
    """
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=AGAIN_SECONDS)
