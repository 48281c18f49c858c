"""Answers that stand until the figures move: the same question asked again costs no query. The database tells of each move, within
milliseconds; from then on nobody is told the old figure."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Final

MOST_SECONDS: Final = 1.0
"""How long an answer may stand unheard of: a connection that died silently tells nothing, and freshness is promised."""

MOST_ANSWERS: Final = 2000

Make = Callable[[], Awaitable[bytes]]


class StandingAnswers:
    """Bodies by question. What is made while figures move is given to who asked before, and does not stand.

    Nothing stands until :meth:`listen` says that the database tells of every move.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stand: OrderedDict[Hashable, tuple[float, bytes]] = OrderedDict()
        self._under_way: dict[Hashable, asyncio.Task[bytes]] = {}
        self._listening = False

    def listen(self, listening: bool) -> None:
        """Whether each move is heard from now on."""
        self._listening = listening
        self.moved()

    def moved(self) -> None:
        """The figures are others now: who asks from here on gets new answers."""
        self._stand.clear()
        self._under_way.clear()

    async def get(self, question: Hashable, make: Make) -> bytes:
        """The answer that stands, or the one that ``make`` gives; those who ask at the same time share it.

        Raises:
            Exception: what ``make`` raises, for each who asked.
        """
        found = self._stand.get(question)
        if found is not None and self._clock() - found[0] <= MOST_SECONDS:
            return found[1]
        task = self._under_way.get(question)
        if task is None:
            task = asyncio.ensure_future(make())
            if self._listening:
                begun = self._clock()
                self._under_way[question] = task
                task.add_done_callback(lambda done: self._keep(question, begun, done))
        # Shielded: one who hangs up must not take the answer from the others.
        return await asyncio.shield(task)

    def _keep(self, question: Hashable, begun: float, task: asyncio.Task[bytes]) -> None:
        if self._under_way.get(question) is not task:
            return
        del self._under_way[question]
        if not task.cancelled() and task.exception() is None:
            self._stand[question] = (begun, task.result())
            self._stand.move_to_end(question)
            if len(self._stand) > MOST_ANSWERS:
                self._stand.popitem(last=False)
