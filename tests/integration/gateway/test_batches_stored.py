"""Batches as rows, on both databases: claimed by one gateway at a time, and answered once."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.call.batches import Order, submit
from gateway.prompt import Tenant
from store import keys, llm_batches, llm_files
from store.database import migrate, session
from store.errors import InvalidValue, StateConflict, UnknownEntity
from store.llm_batches import Batch, Line
from store.llm_files import StoredFile
from store.settings import Settings
from store.tables.base import new_id, utc_now
from store.tables.gateway import BatchLineRow, BatchRow

CHAT = "/v1/chat/completions"


def file(settings: Settings, workspace: str = "default", **changes: Any) -> StoredFile:
    values = {"key_name": "app", "user": None, "filename": "f", "purpose": "batch", "bytes": 10, "sha256": "0" * 64}
    made = StoredFile(f"file-{new_id()}", workspace, **values | {"created_at": utc_now(), "expires_at": None} | changes)
    llm_files.add(settings, made, 1000)
    return made


def batch(settings: Settings, priority: int = 5, tenant: Tenant | None = None) -> Batch:
    return submit(settings, tenant or Tenant(key_name="app"), Order(file(settings).id, CHAT, priority=priority))


def line(number: int, answered: bool = True, cost: int = 3) -> Line:
    return Line(number, f"c{number}", "kim", answered, new_id(), None, b"{}", cost)


def test_the_next_batch_is_that_of_the_highest_priority_and_then_the_oldest(on_both: Settings) -> None:
    low, first, second, high = (batch(on_both, priority) for priority in (1, 5, 5, 9))
    claimed = [llm_batches.claim(on_both, "me", 60) for _ in range(4)]
    assert [one.id for one in claimed if one is not None] == [high.id, first.id, second.id, low.id]
    assert llm_batches.claim(on_both, "me", 60) is None


def test_while_there_is_enough_to_do_only_what_is_more_urgent_is_claimed(on_both: Settings) -> None:
    batch(on_both, 5)
    urgent, cancelled = batch(on_both, 6), batch(on_both, 0)
    llm_batches.cancel(on_both, cancelled.id)
    found = [llm_batches.claim(on_both, "me", 60, above=5) for _ in range(3)]
    assert [one and one.id for one in found] == [urgent.id, cancelled.id, None]


def test_many_gateways_claim_each_batch_once(on_both: Settings) -> None:
    made = {batch(on_both, number % 3).id for number in range(20)}
    claimed: list[tuple[str, str]] = []

    def work(owner: str) -> None:
        while (one := llm_batches.claim(on_both, owner, 60)) is not None:
            claimed.append((one.id, owner))

    threads = [threading.Thread(target=work, args=(f"gateway-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == 20
    assert {one for one, _ in claimed} == made
    for owner in {owner for _, owner in claimed}:
        assert llm_batches.hold(on_both, owner, 60).keys() == {one for one, who in claimed if who == owner}


def test_a_batch_of_a_dead_gateway_is_taken_over_and_the_dead_one_adds_nothing(on_both: Settings) -> None:
    made = batch(on_both)
    assert llm_batches.claim(on_both, "dead", 0) is not None
    assert llm_batches.keep(on_both, made.id, "dead", [line(1)]) == "validating"
    taken = llm_batches.claim(on_both, "alive", 60)
    assert taken is not None
    assert taken.id == made.id
    # The one that was thought dead answers after all: the same line, another, and the end.
    assert llm_batches.keep(on_both, made.id, "dead", [line(2)]) is None
    assert llm_batches.change(on_both, made.id, "dead", status="finalizing") is None
    assert llm_batches.finish(on_both, made.id, "dead", "completed") is None
    assert llm_batches.hold(on_both, "dead", 60) == {}
    assert llm_batches.kept(on_both, made.id) == {1}
    assert llm_batches.keep(on_both, made.id, "alive", [line(2, answered=False), line(3)]) == "validating"
    now = llm_batches.get(on_both, made.id)
    assert (now.completed, now.failed, now.cost) == (2, 1, 9)
    assert [(one.line, one.answered) for one in llm_batches.lines(on_both, made.id)] == [
        (1, True),
        (2, False),
        (3, True),
    ]
    # Held, it is nobody else's, however long it takes.
    assert llm_batches.hold(on_both, "alive", 60).keys() == {made.id}
    assert llm_batches.claim(on_both, "other", 60) is None


def test_what_is_released_is_free_at_once_or_after_a_while(on_both: Settings) -> None:
    made = batch(on_both)
    for owner in ("me", None):
        assert llm_batches.claim(on_both, "me", 60) is not None
        llm_batches.release(on_both, owner)
    assert llm_batches.claim(on_both, "me", 60) is not None
    llm_batches.release(on_both, "me", made.id, seconds=60)
    assert llm_batches.claim(on_both, "me", 60) is None


def test_cancelling_wins_over_progress_and_ends_once(on_both: Settings) -> None:
    made = batch(on_both)
    llm_batches.claim(on_both, "me", 60)
    assert llm_batches.cancel(on_both, made.id).status == "cancelling"
    assert llm_batches.cancel(on_both, made.id).status == "cancelling"
    changed = llm_batches.change(on_both, made.id, "me", status="in_progress", total=7, details={"x": 1})
    assert changed is not None
    assert (changed.status, changed.total, changed.details["x"]) == ("cancelling", 7, 1)
    ended = llm_batches.finish(on_both, made.id, "me", "cancelled")
    assert ended is not None
    assert ended.finished_at is not None
    assert llm_batches.claim(on_both, "me", 60) is None
    assert llm_batches.cancel(on_both, made.id).status == "cancelled"
    done = batch(on_both)
    llm_batches.claim(on_both, "me", 60)
    llm_batches.finish(on_both, done.id, "me", "completed")
    with pytest.raises(StateConflict, match="completed"):
        llm_batches.cancel(on_both, done.id)


def test_a_batch_ends_with_its_key(on_both: Settings) -> None:
    migrate(on_both)
    revoked, _ = keys.create(on_both, "gone", "application")
    valid, _ = keys.create(on_both, "stays", "application")
    ended, going = (batch(on_both, tenant=Tenant(key_id=one.id, key_name=one.name)) for one in (revoked, valid))
    for _ in range(2):
        llm_batches.claim(on_both, "me", 60)
    assert {one.status for one in llm_batches.hold(on_both, "me", 60).values()} == {"validating"}
    keys.revoke(on_both, "gone")
    held = llm_batches.hold(on_both, "me", 60)
    assert (held[ended.id].status, held[going.id].status) == ("cancelling", "validating")
    (error,) = held[ended.id].details["errors"]
    assert error["code"] == "invalid_api_key"


def test_answers_are_forgotten_where_the_files_are_to_be_all(on_both: Settings) -> None:
    made = batch(on_both)
    llm_batches.claim(on_both, "me", 60)
    llm_batches.keep(on_both, made.id, "me", [line(1)])
    output = file(on_both)
    written = StoredFile(**{**output.__dict__, "id": f"file-{new_id()}", "purpose": "batch_output"})
    ended = llm_batches.finish(on_both, made.id, "me", "completed", output=written, failed=2, forget=True)
    assert ended is not None
    assert (ended.output_file, ended.error_file, ended.failed) == (written.id, None, 2)
    assert llm_files.get(on_both, written.id).purpose == "batch_output"
    with session(on_both, readonly=True) as opened:
        assert opened.scalars(sa.select(BatchLineRow.answer)).all() == [None]


def test_a_file_that_a_batch_reads_stays(on_both: Settings) -> None:
    made = batch(on_both)
    with pytest.raises(StateConflict, match=made.id):
        llm_files.delete(on_both, made.input_file)
    with session(on_both) as opened:
        opened.execute(sa.update(BatchRow).values(status="completed"))
    llm_files.delete(on_both, made.input_file)
    with pytest.raises(UnknownEntity):
        submit(on_both, Tenant(), Order(made.input_file, CHAT))


def test_what_has_expired_is_not_there_and_is_removed_when_nobody_reads_it(on_both: Settings) -> None:
    past = utc_now() - timedelta(seconds=1)
    read, unread, kept = file(on_both), file(on_both), file(on_both, expires_at=utc_now() + timedelta(hours=1))
    reading = submit(on_both, Tenant(), Order(read.id, CHAT))
    with session(on_both) as opened:
        opened.execute(sa.text("UPDATE llm_files SET expires_at = :past WHERE id != :kept"),
                       {"past": past, "kept": kept.id})  # fmt: skip
    for one in (read, unread):
        with pytest.raises(UnknownEntity):
            llm_files.get(on_both, one.id)
    assert llm_files.get(on_both, read.id, expired=True).id == read.id
    assert [one.id for one in llm_files.files(on_both).items] == [kept.id]
    assert llm_files.remove_expired(on_both) == [unread.id]
    with session(on_both) as opened:
        opened.execute(sa.update(BatchRow).where(BatchRow.id == reading.id).values(status="completed"))
    assert llm_files.remove_expired(on_both) == [read.id]


def test_uploads_side_by_side_stay_within_what_a_workspace_may_keep(on_both: Settings) -> None:
    migrate(on_both)
    refused: list[InvalidValue] = []

    def work() -> None:
        try:
            file(on_both, bytes=300)
        except InvalidValue as error:
            refused.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 3
    assert "MERIT_MAX_FILES_BYTES" in refused[0].remedy
    assert len(llm_files.files(on_both).items) == 3
    file(on_both, workspace="other", bytes=1000)


def test_lists_go_on_where_they_ended(on_both: Settings) -> None:
    made = [file(on_both, key_name="a" if number % 2 else "b").id for number in range(7)]
    for ascending in (False, True):
        found: list[str] = []
        after = None
        while True:
            page = llm_files.files(on_both, limit=3, after=after, ascending=ascending)
            found += [one.id for one in page.items]
            after = page.next_cursor
            if after is None:
                break
        assert found == (made if ascending else made[::-1])
    assert len(llm_files.files(on_both, key_name="a").items) == 3
    assert llm_files.files(on_both, workspace="other").items == ()
    assert llm_files.files(on_both, purpose="evals").items == ()
