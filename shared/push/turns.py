"""How many events are judged and stored at once; other requests wait in line for a moment, or are told to come again.

Without it an overload does most of its work for nothing: everything that has come is judged before anything is answered, so that
what was published comes back too late, and is refused though it is stored (at twice what can be taken, 3 % of it was accepted).
"""

import asyncio
from collections import deque
from typing import Final

from shared.push.body import busy

MOST_AT_WORK: Final = 4_000
"""Events: some 60 ms of judging, and what one request to a broker carries."""

MOST_WAITING: Final = 10_000
"""Events in line: half a second's work."""

WAIT_SECONDS: Final = 0.8
"""Of a request in line; with the 4 s that Kafka may take it is answered within 5."""


class _Waiting:
    __slots__ = ("events", "turn")

    def __init__(self, events: int, turn: asyncio.Future[None]) -> None:
        self.events = events
        self.turn = turn

    def refuse(self) -> None:
        if not self.turn.done():
            self.turn.set_exception(busy())


class Turns:
    """One process's line, first come first served, each request with the number of its events."""

    def __init__(self, most_at_work: int = MOST_AT_WORK, most_waiting: int = MOST_WAITING, seconds: float = WAIT_SECONDS) -> None:
        self._most_at_work = most_at_work
        self._most_waiting = most_waiting
        self._seconds = seconds
        self._at_work = 0
        self._in_line = 0
        self._line: deque[_Waiting] = deque()

    def refuse_when_long(self) -> None:
        """Refuses a request whose body has not been read yet.

        Raises:
            ProblemError: 503, the line is long.
        """
        if self._in_line >= self._most_waiting:
            raise busy()

    async def enter(self, events: int) -> None:
        """Waits for a turn; call :meth:`leave` with the same number afterwards.

        Raises:
            ProblemError: 503, it did not come in time.
        """
        if not self._line and self._has_room(events):
            self._at_work += events
            return
        waiting = _Waiting(events, asyncio.get_running_loop().create_future())
        self._line.append(waiting)
        self._in_line += events
        patience = asyncio.get_running_loop().call_later(self._seconds, waiting.refuse)
        try:
            await waiting.turn
        except asyncio.CancelledError:
            if waiting.turn.done() and not waiting.turn.cancelled() and waiting.turn.exception() is None:
                self.leave(events)  # it was given at the moment when nobody wanted it any more
            raise
        finally:
            patience.cancel()

    def leave(self, events: int) -> None:
        """Gives the turn on."""
        self._at_work -= events
        while self._line and (self._line[0].turn.done() or self._has_room(self._line[0].events)):
            waiting = self._line.popleft()
            self._in_line -= waiting.events
            if not waiting.turn.done():
                self._at_work += waiting.events
                waiting.turn.set_result(None)

    def _has_room(self, events: int) -> bool:
        # A batch larger than all that may be at work goes alone.
        return not self._at_work or self._at_work + events <= self._most_at_work
