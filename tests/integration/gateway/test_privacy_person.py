"""A person's data: told whole to who asks for it, gone without a trace when erased, and the money still adds up."""

from __future__ import annotations

import base64
import zlib
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from gateway.account.contents import Contents, line_row
from gateway.account.erasure import erase_person, export_person
from gateway.account.key_rotation import reencrypt
from gateway.account.ledger import Ledger
from gateway.account.record import Attempt, CallRecord
from gateway.account.retention import enforce
from gateway.account.sealed_files import Writer
from gateway.account.workspace_settings import WorkspaceSettings
from gateway.account.workspaces import Workspaces
from gateway.prompt import Prompt, Tenant
from store import audit, llm_calls
from store.database import dispose, engine, session
from store.errors import IntegrityFailed, SettingsError
from store.settings import Settings
from store.tables import Base
from store.tables.base import new_id, utc_now
from store.tables.gateway import (
    BatchLineRow,
    BatchRow,
    ConversationRow,
    FeedbackRow,
    FileRow,
    LlmCallRow,
    LlmContentRow,
    PreferenceRow,
)

OLD, NEW = (base64.b64encode(one * 32).decode() for one in (b"o", b"n"))
# Whatever Ann's traces are made of.
ANN = "ann@example.com"
WORDS = (
    "secret of hers",
    "answer to her",
    "her own comment",
    "somebody on her",
    "quoted from her",
    "remembered",
    "hers.jsonl",
)
ENCRYPTED = WorkspaceSettings(keep="encrypted")


@pytest.fixture
def encrypting(on_both: Settings) -> Settings:
    return on_both.model_copy(update={"data_key": SecretStr(OLD)})


def live(settings: Settings, user: str, at: datetime, count: int = 3) -> list[str]:
    """What a person leaves behind: calls with words, a conversation, feedback, preferences, a batch, a file."""
    contents = Contents(settings)
    ledger = Ledger(settings)
    ledger.start()
    ids = [new_id() for _ in range(count)]
    tenant = Tenant(workspace="w", user=user)
    for number, call in enumerate(ids):
        body = {"messages": [{"role": "user", "content": f"{WORDS[0]} {number}"}]}
        record = CallRecord(
            call,
            at,
            tenant,
            "chat",
            "auto",
            "auto",
            "ok",
            model="x/1",
            cost=100 + number,
            conversation="c1",
            attempts=(Attempt("x/1", 0, 1, "refused", 400, WORDS[4], 7), Attempt("y/1", 1, 2)),
            extra={"downgraded": WORDS[4]},
        )
        ledger.close_call(
            record, contents.for_call(ENCRYPTED, Prompt(call, tenant, "chat", "auto", body), {"a": WORDS[1]})
        )
    ledger.close()
    number = f"{zlib.crc32(user.encode()):08x}"
    sealed = contents.seal(ENCRYPTED, "w", f"c-{number}", orjson.dumps([{"content": WORDS[5]}]))
    assert sealed is not None
    batch = f"batch-{number}"
    line = contents.seal(ENCRYPTED, "w", line_row(batch, 0), orjson.dumps({"answer": WORDS[1]}))
    assert line is not None
    (settings.root / "files").mkdir(exist_ok=True)
    with session(settings) as opened:
        opened.add(
            ConversationRow(
                id=f"c-{number}", workspace="w", user=user, title=WORDS[5], in_tool_loop=False, turns=1,
                key_id=sealed[0], messages=sealed[1], version=1, created_at=at, updated_at=at,
            )
        )  # fmt: skip
        opened.add_all(
            FeedbackRow(
                id=new_id(), call_id=ids[0], workspace="w", user=who, score=1, source="thumb", comment=said, at=at
            )
            for who, said in ((user, WORDS[2]), ("a colleague", WORDS[3]))
        )
        opened.add(PreferenceRow(workspace="w", user=user, preferences={"model": WORDS[5]}, updated_at=at))
        opened.add(
            BatchRow(
                id=batch, workspace="w", tenant={"workspace": "w", "user": user}, status="completed", priority=0,
                endpoint="/v1/chat/completions", input_file=f"in-{number}", total=1, completed=1, failed=0,
                details={"metadata": {"of": WORDS[5]}}, created_at=at, finished_at=at,
            )
        )  # fmt: skip
        opened.flush()
        opened.add(
            BatchLineRow(
                batch_id=batch,
                line=0,
                custom_id=WORDS[5],
                status="done",
                call_id=ids[0],
                key_id=line[0],
                answer=line[1],
            )
        )
        for name, owner in ((f"in-{number}", None), (f"own-{number}", user)):
            writer = Writer(settings.root / "files" / name, name, "w", None)
            writer.write(WORDS[6].encode())
            writer.finish()
            opened.add(
                FileRow(
                    id=name, workspace="w", user=owner, filename=f"{WORDS[6]}", purpose="batch", bytes=3, sha256="",
                    created_at=at,
                )
            )  # fmt: skip
    return ids


def everything(settings: Settings) -> str:
    """All that the database and the home hold, as text; what is sealed is opened."""
    contents = Contents(settings)
    parts: list[str] = []
    with engine(settings).connect() as connection:
        for table in Base.metadata.sorted_tables:
            for row in connection.execute(sa.select(table)):
                parts += [one.decode("latin-1") if isinstance(one, bytes) else str(one) for one in row]
    with session(settings, readonly=True) as opened:
        for kept in opened.scalars(sa.select(LlmContentRow)):
            parts.append(contents.read("w", kept.id, kept.key_id, kept.prompt).decode())
    for path in settings.root.rglob("*"):
        if path.is_file() and path.parent.name in ("files", "journal"):
            parts.append(f"{path.name} {path.read_bytes().decode('latin-1')}")
    return "\n".join(parts)


def test_everything_about_a_person_is_told(encrypting: Settings) -> None:
    ids = live(encrypting, ANN, utc_now())
    live(encrypting, "bob", utc_now())
    told = export_person(encrypting, "w", ANN, actor="admin")
    assert [one["id"] for one in told["calls"]] == ids
    assert told["calls"][1]["prompt"]["messages"][0]["content"] == "secret of hers 1"
    assert told["calls"][1]["answer"] == {"a": "answer to her"}
    assert told["conversations"][0]["messages"] == [{"content": "remembered"}]
    assert [one["comment"] for one in told["feedback"]] == ["her own comment"]
    assert told["preferences"][0]["preferences"] == {"model": "remembered"}
    assert told["batches"][0]["lines"][0]["answer"] == {"answer": "answer to her"}
    assert [one["filename"] for one in told["files"]] == ["hers.jsonl"]
    text = orjson.dumps(told).decode()
    assert "bob" not in text
    assert "unreadable" not in text
    (entry,) = audit.entries(encrypting, action="person.export").items
    assert (entry.actor, entry.subject, entry.workspace) == ("admin", ANN, "w")
    assert entry.after is not None
    assert entry.after["calls"] == 3
    kept = Contents(encrypting)
    assert kept.said("w", ids[1]) == {"prompt": told["calls"][1]["prompt"], "answer": {"a": "answer to her"}}
    assert kept.said("another workspace", ids[1]) is None
    assert kept.said("w", "no call") is None
    nobody = export_person(encrypting, "w", "nobody")
    assert nobody["calls"] == nobody["conversations"] == []
    assert export_person(encrypting, "another workspace", ANN)["calls"] == []


def test_an_export_without_the_key_says_what_it_cannot_read(encrypting: Settings) -> None:
    live(encrypting, ANN, utc_now(), 1)
    told = export_person(encrypting.model_copy(update={"data_key": None}), "w", ANN)
    assert "MERIT_DATA_KEY" in told["calls"][0]["unreadable"]
    assert told["calls"][0]["cost"] == 100
    assert "prompt" not in told["calls"][0]


def test_an_erased_person_leaves_no_trace_but_the_money(encrypting: Settings) -> None:
    now = utc_now()
    live(encrypting, ANN, now)
    # One of hers is summed up already.
    with session(encrypting) as opened:
        opened.execute(sa.update(LlmCallRow).where(LlmCallRow.cost == 102).values(at=now - timedelta(days=400)))
    Workspaces(encrypting).put("w", {"calls_days": 365, "keep": "encrypted"})
    assert enforce(encrypting)["calls"] == 1
    bob = live(encrypting, "bob", now)
    spent = llm_calls.usage(encrypting, by=("day", "model"))
    export_person(encrypting, "w", ANN)
    forgotten: list[tuple[str, str]] = []

    def forget(workspace: str, user: str) -> int:
        forgotten.append((workspace, user))
        return 2

    done = erase_person(encrypting, "w", ANN, actor="admin", role="admin", forget=forget)
    assert forgotten == [("w", ANN)]
    pseudonym = done.pop("pseudonym")
    assert done == {
        "calls": 2, "usage_days": 1, "contents": 3, "conversations": 1, "preferences": 1, "feedback": 1, "batches": 1,
        "files": 2, "batch_requests": 0, "insights": 0, "cached": 2, "audit": 1,
    }  # fmt: skip
    left = everything(encrypting)
    assert ANN not in left
    assert llm_calls.usage(encrypting, by=("day", "model")) == spent
    (hers,) = llm_calls.usage(encrypting, filters={"user": pseudonym})
    assert (hers["calls"], hers["cost"]) == (3, 303)
    kept = llm_calls.calls(encrypting, filters={"user": pseudonym}).items
    assert [one["attempts"][0].get("cost") for one in kept] == [7e-9, 7e-9]
    # Of the words, only Bob's are left: as often as they were his.
    erase_person(encrypting, "w", "bob")
    bare = everything(encrypting)
    for words in (*WORDS, "bob"):
        assert words not in bare
    with session(encrypting, readonly=True) as opened:
        assert opened.scalar(sa.select(sa.func.sum(LlmCallRow.cost)).where(LlmCallRow.id.in_(bob))) == 303


def test_erasing_twice_and_erasing_nobody(encrypting: Settings) -> None:
    live(encrypting, ANN, utc_now())
    first = erase_person(encrypting, "w", ANN)
    second = erase_person(encrypting, "w", ANN)
    assert first["pseudonym"] != second["pseudonym"]
    assert sum(value for value in second.values() if isinstance(value, int)) == 0
    subjects = [one.subject for one in audit.entries(encrypting, action="person.erase").items]
    assert subjects == [second["pseudonym"], first["pseudonym"]]


def test_other_workspaces_and_many_calls(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.account import erasure

    monkeypatch.setattr(erasure, "_PORTION", 7)
    ledger = Ledger(settings)
    ledger.start()
    for number in range(60):
        tenant = Tenant(workspace="v" if number % 3 == 0 else "w", user=ANN)
        ledger.close_call(CallRecord(new_id(), utc_now(), tenant, "chat", "auto", "auto", "ok", cost=1))
    ledger.close()
    assert erase_person(settings, "w", ANN)["calls"] == 40
    rows = {row["workspace"]: row for row in llm_calls.usage(settings, by=("workspace", "user"))}
    assert rows["v"]["user"] == ANN
    assert (rows["w"]["calls"], rows["w"]["cost"]) == (40, 40)


def count(settings: Settings, table: Any, *where: Any) -> int:
    with session(settings, readonly=True) as opened:
        return opened.scalar(sa.select(sa.func.count()).select_from(table).where(*where)) or 0


def test_retention_takes_what_is_too_old_and_nothing_else(
    encrypting: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gateway.account import retention

    monkeypatch.setattr(retention, "_PORTION", 2)
    monkeypatch.setattr(retention, "_CALLS", 2)
    now = utc_now()
    live(encrypting, "new", now - timedelta(days=6), 5)
    live(encrypting, "old", now - timedelta(days=8), 5)
    spent = llm_calls.usage(encrypting, by=("user", "day"))
    nothing = {"contents": 0, "conversations": 0, "comments": 0, "quotes": 0, "batch_answers": 0, "calls": 0}
    # Nobody made the workspace: what is kept goes after thirty days, calls never.
    assert enforce(encrypting, now) == nothing
    Workspaces(encrypting).put("w", {"contents_days": 7, "calls_days": 7, "keep": "encrypted"})
    done = enforce(encrypting, now)
    assert done == {"contents": 5, "conversations": 1, "comments": 2, "quotes": 5, "batch_answers": 1, "calls": 5}
    assert enforce(encrypting, now) == nothing
    assert count(encrypting, LlmContentRow) == count(encrypting, LlmCallRow) == 5
    assert count(encrypting, FeedbackRow) == 4
    assert count(encrypting, FeedbackRow, FeedbackRow.comment.is_not(None)) == 2
    assert count(encrypting, BatchLineRow, BatchLineRow.answer.is_not(None)) == 1
    told = [{"user": row["user"], "cost": row["cost"], "calls": row["calls"]} for row in spent]
    again = llm_calls.usage(encrypting, by=("user", "day"))
    assert [{"user": row["user"], "cost": row["cost"], "calls": row["calls"]} for row in again] == told
    later = enforce(encrypting, now + timedelta(days=100))
    assert (later["contents"], later["calls"]) == (5, 5)
    assert enforce(encrypting, now + timedelta(days=200)) == nothing


def test_what_providers_and_members_said_goes_with_the_words(on_both: Settings) -> None:
    now = utc_now()
    votes = [{"answer": WORDS[1], "models": ["x/1", "y/1"], "weight": 2.0}]
    told = {
        "failed": ((Attempt("x/1", 0, 1, "refused", 400, f"x answered 400: {WORDS[4]}.", 7),), {}),
        "ensemble": ((), {"ensemble": {"rule": "majority", "votes": votes}, "judge": f"j did not judge: {WORDS[4]}"}),
        "ok": ((Attempt("x/1", 0, 1),), {"left_out": ["y/1"]}),
    }
    ledger = Ledger(on_both)
    ledger.start()
    ids: dict[str, str] = {}
    for (name, (attempts, extra)), days in product(told.items(), (1, 9)):
        ids[f"{name} {days}"] = call = new_id()
        at = now - timedelta(days=days)
        strategy, outcome = ("ensemble", "ok") if name == "ensemble" else ("auto", name)
        record = CallRecord(call, at, Tenant("w"), "chat", "auto", strategy, outcome, attempts=attempts, extra=extra)  # type: ignore[arg-type]
        ledger.close_call(record)
    ledger.close()
    Workspaces(on_both).put("w", {"contents_days": 7, "keep": "plain"})
    assert enforce(on_both, now)["quotes"] == 2
    assert enforce(on_both, now)["quotes"] == 0
    lines = {name: llm_calls.get(on_both, call) for name, call in ids.items()}
    for name, line in lines.items():
        kept = WORDS[4] in str(line["attempts"]) or WORDS[1] in str(line["extra"])
        assert kept is (name in ("failed 1", "ensemble 1"))
        assert WORDS[4] not in str(line) or name.endswith(" 1")
    assert lines["failed 9"]["attempts"] == [
        {"model": "x/1", "started_ms": 0, "took_ms": 1, "failure": "refused", "status": 400, "cost": 7e-9}
    ]
    assert lines["ensemble 9"]["extra"] == {
        "ensemble": {"rule": "majority", "votes": [{"models": ["x/1", "y/1"], "weight": 2.0}]},
        "judge": "j did not judge",
    }
    assert lines["ok 9"]["extra"] == {"left_out": ["y/1"]}


def test_a_workspace_may_keep_for_ever(settings: Settings) -> None:
    keeping = settings.model_copy(update={"data_key": SecretStr(OLD)})
    live(keeping, ANN, utc_now() - timedelta(days=1000), 1)
    Workspaces(keeping).put("w", {"contents_days": None, "calls_days": None})
    assert sum(enforce(keeping).values()) == 0


def test_a_new_key_takes_over(encrypting: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from gateway.account import key_rotation

    monkeypatch.setattr(key_rotation, "_PORTION", 2)
    live(encrypting, ANN, utc_now(), 5)
    live(encrypting.model_copy(update={"data_key": SecretStr(f"{NEW},{OLD}")}), "bob", utc_now(), 1)
    with pytest.raises(SettingsError):
        reencrypt(encrypting.model_copy(update={"data_key": SecretStr(NEW)}))
    with pytest.raises(SettingsError):
        reencrypt(encrypting.model_copy(update={"data_key": None}))
    both = encrypting.model_copy(update={"data_key": SecretStr(f"{NEW},{OLD}")})
    assert reencrypt(both) == {"contents": 5, "conversations": 1, "batch_answers": 1, "files": 0}
    assert reencrypt(both) == {"contents": 0, "conversations": 0, "batch_answers": 0, "files": 0}
    alone = encrypting.model_copy(update={"data_key": SecretStr(NEW)})
    text = orjson.dumps(export_person(alone, "w", ANN)).decode()
    assert "unreadable" not in text
    assert "secret of hers 4" in text
    with session(alone) as opened:
        row = opened.scalars(sa.select(LlmContentRow)).first()
        assert row is not None
        row.key_id, row.prompt = Contents(encrypting).keyring.key_id, b"changed by somebody" * 3
    with pytest.raises(IntegrityFailed):
        reencrypt(both)
    dispose(alone)
