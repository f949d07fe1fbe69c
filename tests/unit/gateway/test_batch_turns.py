"""Whose turn it is among batches: priority, then age, and room for other calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.call.batch_turns import Turn, Turns


def run(work: Callable[[], Awaitable[Any]]) -> Any:
    return asyncio.run(work())  # type: ignore[arg-type]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_the_highest_priority_goes_first_and_then_the_oldest() -> None:
    async def work() -> list[str]:
        turns = Turns(1, lambda: 0, 0)
        first = await turns.take(0, "a")
        assert first is not None
        order: list[str] = []

        async def one(priority: int, batch: str, name: str) -> None:
            turn = await turns.take(priority, batch)
            assert turn is not None
            order.append(name)
            await asyncio.sleep(0)
            turn.give()

        tasks = [
            asyncio.create_task(one(*each))
            for each in ((5, "b", "b1"), (5, "a", "a1"), (9, "z", "z1"), (5, "a", "a2"), (0, "0", "01"))
        ]
        await settle()
        assert order == []
        first.give()
        await asyncio.gather(*tasks)
        assert turns.taken == 0
        assert turns.free == 1
        return order

    assert run(work) == ["z1", "a1", "a2", "b1", "01"]


def test_batches_make_room_for_other_calls() -> None:
    async def work() -> None:
        others = 3
        turns = Turns(4, lambda: others, 2)
        low = [asyncio.create_task(turns.take(4, "low")) for _ in range(3)]
        urgent = [asyncio.create_task(turns.take(5, "urgent")) for _ in range(2)]
        await settle()
        # One urgent request gets on; the other kind waits.
        assert [one.done() for one in (*low, *urgent)] == [False, False, False, True, False]
        held = urgent[0].result()
        assert held is not None
        held.give()
        await settle()
        assert urgent[1].done()
        others = 2
        # Nobody gave a turn back: that there is room again is seen by looking.
        await asyncio.wait_for(asyncio.gather(*low), 60)
        assert turns.taken == 4

    run(work)


def test_a_turn_is_given_back_once() -> None:
    async def work() -> None:
        turns = Turns(2, lambda: 0, 0)
        turn = await turns.take(1, "a")
        assert turn is not None
        turn.give()
        turn.give()
        assert turns.taken == 0

    run(work)


def test_a_batch_that_leaves_waits_no_longer() -> None:
    async def work() -> None:
        turns = Turns(1, lambda: 0, 0)
        held = await turns.take(1, "a")
        assert held is not None
        waiting = [asyncio.create_task(turns.take(1, batch)) for batch in ("b", "c", "b")]
        await settle()
        turns.leave("b")
        await settle()
        assert [one.done() for one in waiting] == [True, False, True]
        assert waiting[0].result() is waiting[2].result() is None
        held.give()
        assert await waiting[1] is not None
        assert turns.taken == 1

    run(work)


@settings(max_examples=150)
@given(
    st.integers(1, 3),
    st.lists(
        st.tuples(st.sampled_from(["take", "give", "cancel", "leave"]), st.integers(0, 9), st.integers(0, 5)),
        max_size=40,
    ),
)
def test_no_turn_is_lost_whatever_happens(slots: int, steps: list[tuple[str, int, int]]) -> None:
    async def work() -> None:
        turns = Turns(slots, lambda: 0, 0)
        tasks: list[asyncio.Task[Turn | None]] = []

        def held() -> list[Turn]:
            done = [one.result() for one in tasks if one.done() and not one.cancelled()]
            return [one for one in done if one is not None and one not in given_back]

        given_back: list[Turn] = []
        for action, number, batch in steps:
            if action == "take":
                tasks.append(asyncio.create_task(turns.take(number, str(batch))))
            elif action == "give" and (having := held()):
                given_back.append(having[number % len(having)])
                given_back[-1].give()
            elif action == "cancel" and tasks:
                tasks[number % len(tasks)].cancel()
            elif action == "leave":
                turns.leave(str(batch))
            if number % 2:
                await settle()
                assert len(held()) == turns.taken <= slots
        await settle()
        while having := held():
            given_back.extend(having)
            for one in having:
                one.give()
            await settle()
        assert turns.taken == 0
        assert all(one.done() for one in tasks)

    run(work)
