"""The line before judging: first come first served, bounded, and nobody waits for long."""

import asyncio

import pytest

from shared.problems import ProblemError
from shared.push.turns import Turns


async def test_as_much_is_at_work_as_may_be_and_the_others_follow_in_order() -> None:
    turns, begun, most = Turns(10, 100, 5), [], 0
    at_work = 0

    async def request(name: int, events: int) -> None:
        nonlocal at_work, most
        await turns.enter(events)
        begun.append(name)
        at_work += events
        most = max(most, at_work)
        await asyncio.sleep(0.001)
        at_work -= events
        turns.leave(events)

    await asyncio.gather(*(request(name, (4, 5, 1, 10)[name % 4]) for name in range(20)))
    assert begun == list(range(20))
    assert most == 10


async def test_a_batch_larger_than_all_goes_alone() -> None:
    turns = Turns(10, 100, 5)
    await turns.enter(50)
    small = asyncio.create_task(turns.enter(1))
    await asyncio.sleep(0.01)
    assert not small.done()
    turns.leave(50)
    await small


async def test_who_waits_too_long_is_refused_and_the_next_is_served() -> None:
    turns = Turns(10, 100, 0.02)
    await turns.enter(10)
    with pytest.raises(ProblemError) as caught:
        await turns.enter(1)
    assert (caught.value.status, caught.value.retry_after) == (503, 1)
    late = asyncio.create_task(turns.enter(3))
    await asyncio.sleep(0)
    turns.leave(10)
    await late
    await turns.enter(7)
    turns.leave(7)
    turns.leave(3)


async def test_a_long_line_refuses_before_a_body_is_read() -> None:
    turns = Turns(1, 5, 5)
    await turns.enter(1)
    waiting = [asyncio.create_task(turns.enter(1)) for _ in range(5)]
    turns.refuse_when_long()
    await asyncio.sleep(0)
    with pytest.raises(ProblemError):
        turns.refuse_when_long()
    for _ in waiting:
        turns.leave(1)
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    turns.refuse_when_long()


async def test_who_goes_away_leaves_no_gap() -> None:
    turns = Turns(1, 50, 5)
    await turns.enter(1)
    gone, stays = asyncio.create_task(turns.enter(1)), asyncio.create_task(turns.enter(1))
    await asyncio.sleep(0)
    gone.cancel()
    turns.leave(1)
    await asyncio.wait([gone])
    await asyncio.wait_for(stays, 1)
    turns.leave(1)
    given = asyncio.create_task(turns.enter(1))
    await given
    last = asyncio.create_task(turns.enter(1))
    await asyncio.sleep(0)
    turns.leave(1)  # the turn is given, and at that moment nobody wants it
    last.cancel()
    await asyncio.wait([last])
    await asyncio.wait_for(turns.enter(1), 1)
