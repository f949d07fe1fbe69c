"""Events and calls under one cursor, on both databases: each once and in order, however many write and how slow who
reads is."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from gateway.account import lines
from gateway.account.record import CallRecord
from gateway.prompt import Tenant
from serving.event_feed import Feed, Listener
from serving.event_scope import Interest, parse_kinds, sees
from serving.llm_scope import Scope
from store import event_log, events, llm_calls
from store.database import engine, migrate
from store.errors import InvalidValue, ServiceUnavailable
from store.event_log import Cursor, Entry, parse_cursor
from store.settings import Settings
from store.tables.base import new_id, utc_now


def call(settings: Settings, **tenant: str) -> str:
    """One line of the ledger; its id."""
    record = CallRecord(new_id(), utc_now(), Tenant(**tenant), "chat", "auto", "auto", "ok", model="sim/a", cost=5)
    llm_calls.insert(settings, lines.rows(lines.closed(record)))
    return record.id


def named(entry: Entry) -> tuple[str, int]:
    return ("c" if entry.is_call else "e"), entry.number


def write(settings: Settings, seed: int, count: int) -> None:
    chance = random.Random(seed)
    for number in range(count):
        if chance.random() < 0.5:
            assert events.emit(settings, "custom.x", {"data": [seed, number]}) is not None
        else:
            call(settings)


def written_by_many(settings: Settings, writers: int = 4, count: int = 25) -> list[threading.Thread]:
    threads = [threading.Thread(target=write, args=(settings, seed, count)) for seed in range(writers)]
    for thread in threads:
        thread.start()
    return threads


def check_each_once(taken: list[Entry], count: int) -> None:
    assert len(taken) == count
    for is_call in (False, True):
        numbers = [one.number for one in taken if one.is_call == is_call]
        assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_who_reads_on_from_a_cursor_misses_nothing(on_both: Settings, limit: int) -> None:
    migrate(on_both)
    threads = written_by_many(on_both)
    cursor, taken = Cursor(), []
    while True:
        alive = any(thread.is_alive() for thread in threads)
        found = event_log.entries(on_both, cursor, limit)
        for entry in found:
            cursor = parse_cursor(str(cursor.after(entry)))  # as a client has it
            taken.append(entry)
        if not found and not alive:
            break
    check_each_once(taken, 100)
    assert event_log.now(on_both) == cursor


def test_what_an_entry_tells(settings: Settings) -> None:
    migrate(settings)
    one = call(settings, workspace="energy", key_id="k1", key_name="app", user="kim")
    events.emit(settings, "drift", {"model": "churn", "x": float("nan")})
    events.emit(settings, "batch", {"workspace": "energy", "key_id": "k1"})
    events.emit(settings, "custom.x", {"workspace": "energy", "key_id": "k1", "data": {}})
    entries = {entry.kind: entry for entry in event_log.entries(settings, Cursor(), 10)}
    told = orjson.loads(b"{" + entries["call"].json + b"}")
    assert told["kind"] == "call"
    assert told["workspace"] == "energy"
    assert told["payload"]["id"] == one
    assert told["payload"]["cost"] == 5e-9
    assert "kim" not in str(told)
    assert datetime.fromisoformat(told["at"])
    assert (entries["call"].key_id, entries["call"].model) == ("k1", "sim/a")
    assert (entries["drift"].workspace, entries["drift"].model) == (None, "churn")
    assert orjson.loads(b"{" + entries["drift"].json + b"}")["payload"] == {"model": "churn", "x": None}
    assert (entries["batch"].workspace, entries["batch"].key_id) == ("energy", "k1")
    # Whoever publishes cannot make it another key's own.
    assert (entries["custom.x"].workspace, entries["custom.x"].key_id) == ("energy", None)


@pytest.mark.parametrize("text", ["", "e1", "c1", "e1-c", "e-1-c2", "e1-c2 ", "e1_c2", "e" + "1" * 19 + "-c1", "e١-c1"])
def test_what_is_no_cursor(text: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        parse_cursor(text)
    assert caught.value.field == "after"


def run(settings: Settings, work: Callable[[Feed], Awaitable[Any]], **options: Any) -> Any:
    async def inside() -> Any:
        feed = Feed(settings, **options)
        feed.start()
        try:
            return await work(feed)
        finally:
            await feed.close()

    return asyncio.run(inside())


async def took(listener: Listener, count: int, chance: random.Random | None = None) -> list[Entry]:
    """So many entries, by one who is slow by chance."""
    taken: list[Entry] = []
    while len(taken) < count:
        found = await listener.take(10.0)
        assert found, f"{len(taken)} of {count} came"
        taken += [entry for _, entry in found]
        if chance is not None and chance.random() < 0.3:
            await asyncio.sleep(0.02 * chance.random())
    return taken


def test_all_who_listen_get_each_once_however_slow_and_late(on_both: Settings) -> None:
    migrate(on_both)
    write(on_both, 99, 30)

    async def work(feed: Feed) -> None:
        begun = [(await feed.listen(after))[0] for after in (None, Cursor(), Cursor(), None)]
        expected = [100, 130, 130, 100]
        tasks = [
            asyncio.create_task(took(listener, count, random.Random(number) if number % 2 else None))
            for number, (listener, count) in enumerate(zip(begun, expected, strict=True))
        ]
        threads = written_by_many(on_both)
        # One begins in the middle of it, with what another had by then.
        while (middle := begun[2].cursor).event + middle.call < 60:
            await asyncio.sleep(0.005)
        late, unknown = await feed.listen(middle)
        assert not unknown
        left = 130 - middle.event - middle.call
        tasks.append(asyncio.create_task(took(late, left)))
        for task, count in zip(tasks, [*expected, left], strict=True):
            check_each_once(await task, count)
        for thread in threads:
            thread.join()
        now = event_log.now(on_both)
        assert {one.cursor for one in (*begun, late)} == {now}
        for one in (*begun, late):
            assert await one.take(0.0) == []
            one.close()

    # A ring so small that whoever waits a moment has fallen out of it.
    run(on_both, work, ring=4)


def test_an_event_of_this_process_is_told_at_once_and_a_clock_that_goes_back_changes_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(settings)

    async def work(feed: Feed) -> None:
        from serving import event_feed

        monkeypatch.setattr(event_feed, "_LOOK_SECONDS", 3600.0)
        listener, _ = await feed.listen(None)
        for number in range(3):
            monkeypatch.setattr(events, "utc_now", lambda number=number: datetime(2030 - number, 1, 1))
            await asyncio.to_thread(events.emit, settings, "custom.x", {})
            ((cursor, entry),) = await listener.take(10.0)
            assert (cursor, entry.number) == (Cursor(number + 1, 0), number + 1)

    run(settings, work)


def test_nobody_reads_while_nobody_listens(settings: Settings) -> None:
    migrate(settings)
    asked: Counter[str] = Counter()

    async def work(feed: Feed) -> None:
        @sa.event.listens_for(engine(settings), "before_cursor_execute")
        def count(*arguments: Any) -> None:
            if "FROM llm_calls" in arguments[2]:
                asked["calls"] += 1

        listener, _ = await feed.listen(None)
        await asyncio.to_thread(events.emit, settings, "custom.x", {})
        assert len(await took(listener, 1)) == 1
        while not feed._reading:
            await asyncio.sleep(0.01)
        listener.close()
        while feed._reading:
            await asyncio.sleep(0.01)
        before = asked["calls"]
        assert before > 0
        for _ in range(5):
            await asyncio.to_thread(events.emit, settings, "custom.x", {})
        assert asked["calls"] == before
        # Who comes back finds what happened meanwhile.
        again, _ = await feed.listen(listener.cursor)
        check_each_once(await took(again, 5), 5)

    run(settings, work)


def test_a_cursor_of_another_database_is_told(settings: Settings) -> None:
    migrate(settings)
    events.emit(settings, "custom.x", {})

    async def work(feed: Feed) -> None:
        listener, unknown = await feed.listen(Cursor(500, 0))
        assert (unknown, listener.cursor) == (True, Cursor(1, 0))
        await asyncio.to_thread(events.emit, settings, "custom.x", {})
        assert [named(one) for one in await took(listener, 1)] == [("e", 2)]

    run(settings, work)


def test_calls_that_were_summed_up_meanwhile_hold_nobody_up(settings: Settings) -> None:
    migrate(settings)
    for _ in range(3):
        call(settings)
    with engine(settings).begin() as connection:
        connection.execute(sa.text("DELETE FROM llm_calls WHERE seq < 3"))

    async def work(feed: Feed) -> None:
        listener, _ = await feed.listen(Cursor())
        assert [named(one) for one in await took(listener, 1)] == [("c", 3)]
        await asyncio.to_thread(call, settings)
        assert [named(one) for one in await took(listener, 1)] == [("c", 4)]

    run(settings, work)


def test_too_many_do_not_listen_and_the_end_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from serving import event_feed

    migrate(settings)
    monkeypatch.setattr(event_feed, "MOST_LISTENERS", 2)

    async def work(feed: Feed) -> None:
        first, _ = await feed.listen(None)
        second, _ = await feed.listen(None)
        with pytest.raises(ServiceUnavailable):
            await feed.listen(None)
        first.close()
        first.close()
        third, _ = await feed.listen(None)
        with pytest.raises(ServiceUnavailable):
            await feed.listen(None)
        waiting = [asyncio.create_task(one.take(3600)) for one in (second, third)]
        await asyncio.sleep(0)
        feed.end()
        assert await asyncio.wait_for(asyncio.gather(*waiting), 5) == [[], []]

    run(settings, work)


ENTRY = Entry(True, 1, "call", datetime(2026, 1, 1), "energy", "k1", "sim/a", b"")


@pytest.mark.parametrize(
    ("scope", "entry", "seen"),
    [
        (Scope(None), ("energy", "k1"), True),
        (Scope(None), (None, None), True),
        (Scope("energy"), ("energy", "k1"), True),
        (Scope("energy"), ("water", "k1"), False),
        (Scope("energy"), (None, None), False),
        (Scope("energy", "k1"), ("energy", "k1"), True),
        (Scope("energy", "k1"), ("energy", "k2"), False),
        (Scope("energy", "k1"), ("energy", None), False),
        (Scope("energy", "k1"), (None, None), False),
    ],
)
def test_who_sees_what(scope: Scope, entry: tuple[str | None, str | None], seen: bool) -> None:
    made = Entry(False, 1, "x", datetime(2026, 1, 1), entry[0], entry[1], None, b"")
    assert sees(scope, made) is seen


@pytest.mark.parametrize(
    ("interest", "wanted"),
    [
        (Interest(), True),
        (Interest(frozenset(("call", "drift"))), True),
        (Interest(frozenset(("drift",))), False),
        (Interest(frozenset()), False),
        (Interest(frozenset(("*",))), True),
        (Interest(frozenset(("ca*",))), True),
        (Interest(frozenset(("custom.*",))), False),
        (Interest(None, "energy", "sim/a"), True),
        (Interest(None, "water"), False),
        (Interest(None, None, "sim/b"), False),
    ],
)
def test_what_is_wanted(interest: Interest, wanted: bool) -> None:
    assert interest.wants(ENTRY) is wanted


@given(st.lists(st.text(max_size=70), max_size=40))
def test_kinds_are_kinds_or_refused(kinds: list[str]) -> None:
    try:
        found = parse_kinds(kinds)
    except InvalidValue:
        return
    assert found is not None
    assert all(one.isascii() and 0 < len(one) <= 65 for one in found)
