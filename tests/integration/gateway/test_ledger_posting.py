"""From the journal into the ledger: every call arrives, whatever is wrong with it and however slow the database is."""

from __future__ import annotations

import logging
import resource
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.account import journal
from gateway.account.contents import Content
from gateway.account.ledger import Ledger
from gateway.account.record import Attempt, CallRecord
from gateway.prompt import Tenant
from gateway.usage import Usage
from store import llm_calls
from store.database import engine, migrate, session
from store.errors import InvalidValue, ServiceUnavailable, UnknownEntity
from store.settings import Settings
from store.tables.base import new_id, utc_now
from store.tables.gateway import LlmCallRow, LlmContentRow

TENANT = Tenant(workspace="w", organisation="o", project="p", user="u", key_id="k", key_name="n")


def call(**changes: Any) -> CallRecord:
    values: dict[str, Any] = {
        "id": new_id(),
        "at": utc_now(),
        "tenant": TENANT,
        "kind": "chat",
        "asked": "auto",
        "strategy": "auto",
        "outcome": "ok",
        "model": "sim/a",
        "provider": "sim",
        "cost": 1_500,
    }
    return CallRecord(**(values | changes))


def open_call(ledger: Ledger, record: CallRecord) -> None:
    ledger.open(
        record.id,
        record.at,
        record.tenant,
        kind=record.kind,
        asked=record.asked,
        strategy=record.strategy,
        model=record.model,
        provider=record.provider,
        reserved=record.reserved,
        parent=record.parent,
    )


def rows(settings: Settings) -> dict[str, LlmCallRow]:
    with session(settings, readonly=True) as opened:
        return {row.id: row for row in opened.scalars(sa.select(LlmCallRow))}


def test_a_line_holds_everything_that_the_record_does(on_both: Settings) -> None:
    ledger = Ledger(on_both)
    ledger.start()
    record = call(
        usage=Usage(100, 20, 5, 50, 10, 3, 2, True),
        reserved=9_000,
        latency_ms=12.5,
        first_token_ms=3.25,
        overhead_ms=0.5,
        stream=True,
        error="closed",
        finish_reason="stop",
        complexity="simple",
        domain="code",
        confidence=0.5,
        propensity=0.25,
        explored=True,
        policy="priors",
        cache="exact",
        parent="p" * 32,
        conversation="c1",
        batch="b1",
        request_id="r1",
        tags=("a", "Größe\n\t"),
        attempts=(Attempt("sim/a", 0.1, 9.9, "server", 500, "so\tso\n", 12),),
        decision={"reason": "it\tis\ncheap", "candidates": [{"model": "sim/a"}]},
        quality=0.75,
        extra={"votes": {"a": 2}},
    )
    open_call(ledger, record)
    ledger.close_call(record, Content(record.id, "w", "u", None, b'{"q":"\\n\\t"}', b"\x00\xff\n\t"))
    assert ledger.flush()
    line = llm_calls.get(on_both, record.id)
    for name in llm_calls.COLUMNS:
        source: Any = record
        if name in ("organisation", "workspace", "project", "user", "key_id", "key_name"):
            source = record.tenant
        elif name.endswith("_tokens") or name == "estimated":
            source = record.usage
        expected = getattr(source, name.removesuffix("_tokens") if source is record.usage else name)
        if name == "attempts":
            expected = [one.explain() for one in record.attempts]
        assert line[name] == (list(expected) if isinstance(expected, tuple) else expected), name
    with session(on_both, readonly=True) as opened:
        content = opened.scalars(sa.select(LlmContentRow)).one()
    assert (content.prompt, content.answer, content.workspace, content.user) == (
        b'{"q":"\\n\\t"}',
        b"\x00\xff\n\t",
        "w",
        "u",
    )
    ledger.close()
    assert ledger.state().written == 1


def test_lines_that_do_not_fit_arrive_with_their_money(on_both: Settings, caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(on_both)
    ledger.start()
    odd = [
        call(tenant=Tenant(user="nul\x00in it")),
        call(asked="x" * 5000, model="m" * 300),
        call(latency_ms=float("nan"), first_token_ms=float("inf")),
        call(usage=Usage(2**40, output=2**33)),
        call(error="half a character \ud800", tags=("\udfff",), extra={"n": 2**70, "nul": "\x00"}),
        call(cost=2**70, reserved=-(2**70)),
        call(extra={1: {2, 3}}, decision={"nan": float("nan")}),
    ]
    plain = [call() for _ in range(20)]
    for record in odd + plain:
        open_call(ledger, record)
        ledger.close_call(record)
    assert ledger.flush()
    found = rows(on_both)
    assert found.keys() == {record.id for record in odd + plain}
    assert all(found[record.id].cost == 1_500 for record in plain)
    assert [found[record.id].cost for record in odd] == [1_500] * 5 + [2**63 - 1, 1_500]
    assert found[odd[0].id].user in ("nul\x00in it", "nul\ufffdin it")
    assert ledger.state().unwritable == 0
    assert ledger.state().behind_bytes == 0
    assert "put by" not in caplog.text
    ledger.close()


def test_what_cannot_be_read_is_put_by(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger(settings, interval=60)
    ledger.start()
    assert ledger._journal is not None
    record = call()
    ledger._journal.append(b"C\tnonsense\n")
    ledger.close_call(record)
    ledger._journal.append(b'W\t["1"]\tno base64\t\n')
    assert ledger.flush()
    assert rows(settings).keys() == {record.id}
    assert ledger.state().unwritable == 2
    put_by = (settings.root / "journal" / "unwritable.lines").read_bytes()
    assert put_by == b'C\tnonsense\nW\t["1"]\tno base64\t\n'
    assert "put by" in caplog.text
    ledger.close()


def test_a_database_that_does_not_answer_holds_no_call_up(settings: Settings) -> None:
    ledger = Ledger(settings, interval=0.01)
    ledger.start()
    records = [call() for _ in range(300)]
    with engine(settings).connect() as busy:
        busy.begin()  # nobody else writes as long as this lasts
        for record in records:
            open_call(ledger, record)
            ledger.close_call(record)
        assert not ledger.flush(timeout=0.2)
        assert ledger.state().behind_bytes > 50_000
        busy.rollback()
    assert ledger.flush()
    assert rows(settings).keys() == {record.id for record in records}
    ledger.close()


def test_beyond_its_bound_no_call_is_opened_but_every_one_is_closed(settings: Settings) -> None:
    ledger = Ledger(settings, interval=60, most_behind=3_000)
    ledger.start()
    opened = [call() for _ in range(10)]
    for record in opened:
        open_call(ledger, record)
    assert ledger.state().behind_bytes < 3_000
    while ledger.state().behind_bytes <= 3_000:
        open_call(ledger, record := call())
        opened.append(record)
    with pytest.raises(ServiceUnavailable, match="has not taken"):
        open_call(ledger, call())
    for record in opened:
        ledger.close_call(record)
    assert ledger.flush()
    open_call(ledger, record := call())
    ledger.close_call(record)
    ledger.close()
    assert len(rows(settings)) == len(opened) + 1


def test_a_full_disk_refuses_calls_and_loses_none(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "STEP_BYTES", 1)
    ledger = Ledger(settings, interval=60)
    ledger.start()
    under_way = [call() for _ in range(5)]
    for record in under_way:
        open_call(ledger, record)
    assert ledger._journal is not None
    assert ledger.flush()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ledger._journal.appended + 10, hard))
    try:
        with pytest.raises(ServiceUnavailable, match="cannot be written"):
            open_call(ledger, call())
        for record in under_way:
            ledger.close_call(record)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ledger.flush()
    assert rows(settings).keys() == {record.id for record in under_way}
    assert ledger.state().open == 0
    ledger.close()
    assert "to the database alone" in caplog.text


def test_closing_stores_everything_and_leaves_open_calls_to_the_next(
    on_both: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger(on_both, interval=60)
    ledger.start()
    done, open_ = [call() for _ in range(50)], call(reserved=777)
    for record in (*done, open_):
        open_call(ledger, record)
    for record in done:
        ledger.close_call(record)
    ledger.close()
    assert rows(on_both).keys() == {record.id for record in done}
    following = Ledger(on_both)
    following.start()
    (found,) = following.recovered
    assert (found.id, found.outcome, found.cost, found.tenant) == (open_.id, "unknown", 777, TENANT)
    assert rows(on_both)[open_.id].cost == 777
    following.close()


def test_the_same_lines_twice_are_there_once(on_both: Settings) -> None:
    from gateway.account import lines
    from gateway.account.posting import Posting

    migrate(on_both)
    posting = Posting(on_both, on_both.root / "unwritable.lines")
    record = call()
    data = lines.closed(record) + lines.closed(call(id=record.id, cost=9))
    posting.post(data)
    posting.post(data)
    assert posting.post_new(lines.closed(record) + lines.closed(another := call()))[0].id == another.id
    found = rows(on_both)
    assert {key: row.cost for key, row in found.items()} == {record.id: 1_500, another.id: 1_500}


def test_a_reader_that_remembers_the_last_line_misses_none(on_both: Settings) -> None:
    migrate(on_both)
    ledgers = [Ledger(on_both, interval=0.001) for _ in range(3)]
    for ledger in ledgers:
        ledger.start()
    sent: list[str] = []
    done = threading.Event()

    def work(ledger: Ledger) -> None:
        for _ in range(200):
            record = call()
            ledger.close_call(record)
            sent.append(record.id)
        ledger.flush()

    threads = [threading.Thread(target=work, args=(ledger,)) for ledger in ledgers]
    for thread in threads:
        thread.start()
    waiter = threading.Thread(target=lambda: ([thread.join() for thread in threads], done.set()))
    waiter.start()
    seen: list[dict[str, Any]] = []
    while True:
        last_round = done.is_set()
        found = llm_calls.after(on_both, seen[-1]["seq"] if seen else 0, limit=50)
        seen += found
        if last_round and not found:
            break
    waiter.join()
    for ledger in ledgers:
        ledger.close()
    assert sorted(line["id"] for line in seen) == sorted(sent)
    assert len(sent) == 600
    assert llm_calls.last_seq(on_both) == seen[-1]["seq"]


def test_pages_of_calls(on_both: Settings) -> None:
    ledger = Ledger(on_both)
    ledger.start()
    assert llm_calls.last_seq(on_both) == 0
    at = utc_now()
    # Some of them in the same microsecond.
    records = [
        call(at=at - timedelta(seconds=number // 3), outcome="ok" if number % 2 else "failed") for number in range(20)
    ]
    other = call(tenant=Tenant(workspace="other"))
    for record in (*records, other):
        ledger.close_call(record)
    assert ledger.flush()
    ledger.close()
    seen: list[str] = []
    cursor = None
    while True:
        page = llm_calls.calls(on_both, workspace="w", limit=7, cursor=cursor)
        seen += [line["id"] for line in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    expected = sorted(records, key=lambda one: (one.at, one.id), reverse=True)
    assert seen == [record.id for record in expected]
    failed = llm_calls.calls(on_both, filters={"outcome": "failed", "model": "sim/a"})
    assert {line["id"] for line in failed.items} == {record.id for record in records[::2]}
    recent = llm_calls.calls(on_both, workspace="w", since=at, until=at + timedelta(seconds=1))
    assert {line["id"] for line in recent.items} == {record.id for record in records[:3]}
    assert llm_calls.get(on_both, other.id, "other")["workspace"] == "other"
    with pytest.raises(UnknownEntity):
        llm_calls.get(on_both, other.id, "w")
    with pytest.raises(InvalidValue, match="colour"):
        llm_calls.calls(on_both, filters={"colour": "red"})
    with pytest.raises(InvalidValue, match="cursor"):
        llm_calls.calls(on_both, cursor="yesterday")


def test_records_of_a_recovered_call_are_the_same(settings: Settings) -> None:
    from gateway.account import lines

    record = call(usage=Usage(9, 1, 2, 8, 3, 4, 5, True), reserved=4, stream=True, quality=0.5, request_id="r")
    assert lines.record(lines.row_of(lines.closed(record)[:-1])) == record


def test_the_log_says_what_a_failing_database_does(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    ledger = Ledger(settings, interval=0.01)
    ledger.start()
    with session(settings) as opened:
        opened.execute(sa.text("ALTER TABLE llm_calls RENAME TO elsewhere"))
    ledger.close_call(record := call())
    deadline = time.monotonic() + 30
    while ledger.state().failing is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ledger.state().failing == "OperationalError"
    assert not ledger.flush(timeout=0.3)
    with session(settings) as opened:
        opened.execute(sa.text("ALTER TABLE elsewhere RENAME TO llm_calls"))
    assert ledger.flush()
    assert ledger.state().failing is None
    assert rows(settings).keys() == {record.id}
    assert caplog.text.count("trying on") == 1
    ledger.close()
