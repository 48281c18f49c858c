"""Answers that stand: asked once while nothing moves, and never older than the last move."""

import asyncio

import pytest

from services.metrics.http.standing import MOST_ANSWERS, MOST_SECONDS, StandingAnswers


class Figures:
    """A figure that moves, and a question that waits until it is let go."""

    def __init__(self) -> None:
        self.value = 0
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def ask(self) -> bytes:
        self.asked += 1
        seen = self.value
        await self.gate.wait()
        return str(seen).encode()


@pytest.fixture
def figures() -> Figures:
    return Figures()


@pytest.fixture
def answers() -> StandingAnswers:
    made = StandingAnswers()
    made.listen(True)
    return made


async def test_the_same_question_is_asked_once_until_figures_move(figures: Figures, answers: StandingAnswers) -> None:
    assert [await answers.get("q", figures.ask) for _ in range(3)] == [b"0"] * 3
    assert figures.asked == 1
    figures.value = 1
    answers.moved()
    assert await answers.get("q", figures.ask) == b"1"
    assert figures.asked == 2


async def turns() -> None:
    """Lets all that can go on go on."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_those_who_ask_at_once_share_one_answer(figures: Figures, answers: StandingAnswers) -> None:
    figures.gate.clear()
    waiting = [asyncio.create_task(answers.get("q", figures.ask)) for _ in range(50)]
    await turns()
    waiting[0].cancel()  # hangs up; the others get theirs all the same
    await turns()
    figures.gate.set()
    assert await asyncio.gather(*waiting[1:]) == [b"0"] * 49
    assert figures.asked == 1


async def test_an_answer_made_while_figures_move_does_not_stand(figures: Figures, answers: StandingAnswers) -> None:
    figures.gate.clear()
    before = asyncio.create_task(answers.get("q", figures.ask))
    await turns()
    figures.value = 1
    answers.moved()
    after = asyncio.create_task(answers.get("q", figures.ask))
    await turns()
    figures.gate.set()
    assert (await before, await after) == (b"0", b"1")
    assert await answers.get("q", figures.ask) == b"1"
    assert figures.asked == 2


async def test_nothing_stands_while_moves_are_not_heard(figures: Figures, answers: StandingAnswers) -> None:
    await answers.get("q", figures.ask)
    answers.listen(False)
    figures.value = 1
    assert await answers.get("q", figures.ask) == b"1"
    assert await answers.get("q", figures.ask) == b"1"
    assert figures.asked == 3


async def test_an_answer_grows_old_even_in_silence(figures: Figures) -> None:
    at = 0.0
    answers = StandingAnswers(lambda: at)
    answers.listen(True)
    await answers.get("q", figures.ask)
    figures.value = 1
    at = MOST_SECONDS
    assert await answers.get("q", figures.ask) == b"0"
    at = MOST_SECONDS + 0.001
    assert await answers.get("q", figures.ask) == b"1"


async def test_an_error_is_told_to_each_and_does_not_stand(answers: StandingAnswers) -> None:
    asked = 0

    async def fail() -> bytes:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        raise ValueError("no")

    found = await asyncio.gather(*(answers.get("q", fail) for _ in range(3)), return_exceptions=True)
    assert [str(error) for error in found] == ["no"] * 3
    assert asked == 1
    with pytest.raises(ValueError, match="no"):
        await answers.get("q", fail)
    assert asked == 2


async def test_questions_are_bounded(figures: Figures, answers: StandingAnswers) -> None:
    for number in range(MOST_ANSWERS + 1):
        await answers.get(number, figures.ask)
    asked = figures.asked
    await answers.get(MOST_ANSWERS, figures.ask)
    assert figures.asked == asked
    await answers.get(0, figures.ask)  # the oldest made room
    assert figures.asked == asked + 1
