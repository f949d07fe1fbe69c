"""Conversations on both databases: kept as the workspace wants it, seen by whom they belong to, never torn apart."""

from __future__ import annotations

import asyncio
import base64
import threading
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pydantic import SecretStr

from gateway.account.contents import Contents
from gateway.account.encryption import Keyring
from gateway.account.workspace_settings import WorkspaceSettings
from gateway.call import conversations as module
from gateway.call.conversations import Conversation, Conversations, model_for, stays_local
from gateway.call.history import call_ids
from gateway.call.providers.provenance import strip_foreign
from gateway.prompt import Tenant
from store.database import dispose, session
from store.errors import IntegrityFailed, InvalidValue, SettingsError, StateConflict, UnknownEntity
from store.settings import Settings
from store.tables.gateway import ConversationRow

PLAIN, SEALED, NOTHING = (WorkspaceSettings(keep=keep) for keep in ("plain", "encrypted", "nothing"))  # type: ignore[arg-type]
ANN = Tenant(workspace="space", user="ann", key_name="app")
SYSTEM = {"role": "system", "content": "Be brief."}


def user(text: str = "go on") -> dict[str, Any]:
    return {"role": "user", "content": text}


def says(text: str = "well", **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def calls(*ids: str) -> dict[str, Any]:
    made = [{"id": one, "type": "function", "function": {"name": "look", "arguments": "{}"}} for one in ids]
    return {"role": "assistant", "content": None, "tool_calls": made}


def result(of: str, text: str = "found") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": of, "content": text}


def opened(settings: Settings) -> Conversations:
    return Conversations(settings, Contents(settings))


def with_key(settings: Settings, letter: bytes = b"s") -> Settings:
    return settings.model_copy(update={"data_key": SecretStr(base64.b64encode(letter * 32).decode())})


def stored_bytes(settings: Settings) -> bytes:
    with session(settings, readonly=True) as reading:
        rows = reading.execute(sa.select(ConversationRow.messages, ConversationRow.title)).all()
    return b"|".join(words + (title or "").encode() for words, title in rows)


@pytest.mark.parametrize("workspace", [PLAIN, SEALED], ids=["plain", "sealed"])
def test_what_was_said_privately_is_known_as_such(settings: Settings, workspace: WorkspaceSettings) -> None:
    kept = opened(with_key(settings))
    begun = kept.create(ANN, workspace, messages=[SYSTEM])
    first = kept.append(ANN, workspace, begun, [user("hello")], says(), "acme/large")
    assert not stays_local(kept.get(ANN, begun.id), first.messages)
    second = kept.append(ANN, workspace, first, [user("a secret")], says(), "home/small", local_only=True)
    kept.append(ANN, workspace, second, [user("and now?")], says(), "home/small")
    found = kept.get(ANN, begun.id)
    assert [one.local_only for one in found.said] == [False, False, False, True, True, False, False]
    assert stays_local(found, kept.continued(found, [user()]))
    # What is no longer sent keeps nobody at home.
    assert not stays_local(found, [*found.messages[:3], *found.messages[5:], user()])
    dispose(settings)


def test_turns_are_kept_with_who_said_them(on_both: Settings) -> None:
    kept = opened(on_both)
    begun = kept.create(ANN, PLAIN, messages=[SYSTEM], title="Häuser 中")
    assert (begun.record.version, begun.record.turns, begun.title) == (1, 0, "Häuser 中")
    new = [user("Was kostet es?")]
    assert kept.continued(begun, new) == [SYSTEM, *new]
    first = kept.append(ANN, PLAIN, begun, new, says("Viel."), "acme/large")
    second = kept.append(ANN, PLAIN, first, [user("Wie viel?")], calls("a"), "umbrella/small")
    found = kept.get(ANN, begun.id)
    assert found == second
    assert [(one.message["role"], one.model) for one in found.said] == [
        ("system", None),
        ("user", None),
        ("assistant", "acme/large"),
        ("user", None),
        ("assistant", "umbrella/small"),
    ]
    record = found.record
    assert (record.version, record.turns, record.model, record.in_tool_loop) == (3, 2, "umbrella/small", True)
    third = kept.append(ANN, PLAIN, found, [result("a")], says("So viel."), "umbrella/small")
    assert (third.record.turns, third.record.in_tool_loop) == (2, False)
    assert third.explain()["messages"][-1]["model"] == "umbrella/small"
    kept.delete(ANN, begun.id)
    with pytest.raises(UnknownEntity):
        kept.get(ANN, begun.id)


def test_within_a_tool_loop_the_model_stays(settings: Settings) -> None:
    kept = opened(settings)
    one = kept.append(ANN, PLAIN, kept.create(ANN, PLAIN), [user()], calls("a", "b"), "acme/large")
    assert model_for(one, [result("a"), result("b")]) == "acme/large"
    assert model_for(one, [user("never mind")]) is None
    half = kept.append(ANN, PLAIN, one, [result("a"), result("b")], calls("c"), "acme/large")
    assert model_for(half, [result("c")]) == "acme/large"
    done = kept.append(ANN, PLAIN, half, [result("c")], says(), "acme/large")
    assert model_for(done, [user()]) is None
    dispose(settings)


def test_of_two_turns_at_once_one_is_kept(on_both: Settings) -> None:
    kept = opened(on_both)
    begun = kept.create(ANN, PLAIN)
    gate, outcomes = threading.Barrier(4), []

    def turn(number: int) -> None:
        gate.wait()
        try:
            kept.append(ANN, PLAIN, begun, [user(f"turn {number}")], says(), "acme/large")
            outcomes.append("kept")
        except StateConflict:
            outcomes.append("conflict")

    threads = [threading.Thread(target=turn, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["conflict", "conflict", "conflict", "kept"]
    assert len(kept.get(ANN, begun.id).said) == 2
    with pytest.raises(StateConflict, match="is at version 2, not 1"):
        kept.continued(kept.get(ANN, begun.id), [user()], version=1)
    kept.delete(ANN, begun.id)
    with pytest.raises(StateConflict, match="changed, or deleted"):
        kept.append(ANN, PLAIN, begun, [user()], says(), "acme/large")


def test_a_workspace_that_keeps_nothing_has_no_conversations(settings: Settings) -> None:
    kept = opened(settings)
    with pytest.raises(InvalidValue, match=r"keeps nothing of what is said \(keep = nothing\)") as caught:
        kept.create(ANN, NOTHING)
    assert "plain or encrypted" in caught.value.remedy
    begun = kept.create(ANN, PLAIN)
    with pytest.raises(InvalidValue, match="keep = nothing"):
        kept.append(ANN, NOTHING, begun, [user()], says(), "acme/large")
    with pytest.raises(SettingsError, match="MERIT_DATA_KEY is not set"):
        kept.create(ANN, SEALED)
    dispose(settings)


def test_what_is_to_be_encrypted_is_also_the_title(on_both: Settings) -> None:
    settings = with_key(on_both)
    kept = opened(settings)
    begun = kept.create(ANN, SEALED, messages=[user("a secret question")], title="a secret title")
    one = kept.append(ANN, SEALED, begun, [user("a secret word")], says("a secret answer"), "acme/large")
    assert b"secret" not in stored_bytes(settings)
    found = kept.get(ANN, begun.id)
    assert (found, found.title) == (one, "a secret title")
    assert [record.title for record in kept.page(ANN).items] == [None]
    # Later in the open, and shut again: as the workspace wants it with each turn.
    two = kept.append(ANN, PLAIN, one, [user()], says(), "acme/large")
    assert b"a secret word" in stored_bytes(settings)
    kept.append(ANN, SEALED, two, [user()], says(), "acme/large")
    assert b"secret" not in stored_bytes(settings)
    other = Conversations(settings, Contents(with_key(settings, b"t")))
    with pytest.raises(SettingsError, match="was encrypted with the key"):
        other.get(ANN, begun.id)


def test_words_that_were_moved_to_another_conversation_do_not_open(settings: Settings) -> None:
    settings = with_key(settings)
    kept = opened(settings)
    one, other = kept.create(ANN, SEALED, messages=[user("mine")]), kept.create(ANN, SEALED)
    with session(settings) as writing:
        words = writing.get_one(ConversationRow, one.id).messages
        writing.get_one(ConversationRow, other.id).messages = words
    with pytest.raises(IntegrityFailed):
        kept.get(ANN, other.id)
    assert Keyring(settings).unseal(one.record.key_id or "", words, one.id, "space").startswith(b"{")
    dispose(settings)


@pytest.mark.parametrize(
    "who, sees",
    [
        (ANN, True),
        (replace(ANN, user=None), True),
        (replace(ANN, user="bob"), False),
        (replace(ANN, key_name="another"), False),
        (replace(ANN, workspace="other"), False),
        (replace(ANN, workspace="other", role="admin", user=None), False),
        (Tenant(workspace="space", key_name="boss", role="analyst"), True),
        (Tenant(workspace="space", key_name="boss", role="admin"), True),
    ],
)
def test_who_sees_a_conversation(settings: Settings, who: Tenant, sees: bool) -> None:
    kept = opened(settings)
    begun = kept.create(ANN, PLAIN)
    assert [one.id for one in kept.page(who).items] == ([begun.id] if sees else [])
    if sees:
        assert kept.get(who, begun.id) == begun
        kept.delete(who, begun.id)
    else:
        for method in (kept.get, kept.delete):
            with pytest.raises(UnknownEntity, match="There is no conversation"):
                method(who, begun.id)
        assert kept.get(ANN, begun.id) == begun
    dispose(settings)


def test_pages(on_both: Settings) -> None:
    kept = opened(on_both)
    made = [kept.create(ANN, PLAIN, title=f"number {number}") for number in range(5)]
    first = kept.page(ANN, limit=2)
    assert [one.title for one in first.items] == ["number 4", "number 3"]
    rest = kept.page(ANN, limit=10, cursor=first.next_cursor)
    assert [one.id for one in rest.items] == [made[2].id, made[1].id, made[0].id]
    assert rest.next_cursor is None
    with pytest.raises(InvalidValue, match="limit=0"):
        kept.page(ANN, limit=0)
    with pytest.raises(UnknownEntity):
        kept.get(ANN, "no\x00thing")


def test_reasoning_is_known_by_its_provider_and_taken_out_for_another(settings: Settings) -> None:
    kept = opened(settings)
    block = {"provider": "anthropic", "type": "thinking", "thinking": "hm", "signature": "sig"}
    one = kept.append(ANN, PLAIN, kept.create(ANN, PLAIN), [user()], says("1", reasoning_blocks=[block]), "claude/opus")
    two = kept.append(ANN, PLAIN, one, [user()], says("2", reasoning_content="so be it"), "acme/r1")
    found = kept.get(ANN, two.id).messages
    assert found[1]["reasoning_blocks"] == [block]
    assert found[3]["reasoning_blocks"] == [{"provider": "acme", "type": "reasoning"}]
    for_other = strip_foreign(found, "umbrella")
    assert not any(name.startswith("reasoning") for message in for_other for name in message)
    assert strip_foreign(found, "acme")[3]["reasoning_content"] == "so be it"
    assert "reasoning_content" not in strip_foreign(found, "anthropic")[3]
    dispose(settings)


def test_what_is_too_much(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 4_000)
    monkeypatch.setattr(module, "MOST_MESSAGES", 20)
    kept = opened(settings)
    with pytest.raises(InvalidValue, match="a kept conversation takes 20 of 4,000 bytes"):
        kept.create(ANN, PLAIN, messages=[user("x" * 5_000)])
    with pytest.raises(InvalidValue, match="holds 21 messages"):
        kept.continued(kept.create(ANN, PLAIN), [user()] * 21)
    one = kept.create(ANN, PLAIN, messages=[SYSTEM])
    for number in range(30):
        one = kept.append(ANN, PLAIN, one, [user(f"{number} " + "x" * 200)], says(), "acme/large")
    assert one.messages[0] == SYSTEM
    assert one.messages[1]["content"].startswith(f"{30 - len(one.said) // 2} ")
    assert 10 < len(one.said) <= 20
    assert one.record.turns == 30
    # The last turn stays, however long its answer became.
    long = kept.append(ANN, PLAIN, one, [user("why?")], says("y" * 9_000), "acme/large")
    assert [message["role"] for message in kept.get(ANN, long.id).messages] == ["system", "user", "assistant"]
    for title in ("", " ", "x" * 201, "a\nb"):
        with pytest.raises(InvalidValue, match="title of a conversation"):
            kept.create(ANN, PLAIN, title=title)
    dispose(settings)


def test_odd_characters_and_numbers_do_not_break_a_thread(on_both: Settings) -> None:
    kept = opened(on_both)
    new = [user("half \ud83d a character"), user("NUL \x00"), {"role": "user", "content": "x", "n": 2**70}]
    one = kept.append(replace(ANN, user="a\x00nn"), PLAIN, kept.create(ANN, PLAIN), new, says("\x00"), "acme/large")
    found = kept.get(ANN, one.id)
    assert [message["content"] for message in found.messages] == ["half ? a character", "NUL \x00", "x", "\x00"]
    kept.append(ANN, PLAIN, found, [user()], says(), "acme/large")


def test_it_works_from_an_event_loop(settings: Settings) -> None:
    kept = opened(settings)

    async def run() -> Conversation:
        begun = await asyncio.to_thread(kept.create, ANN, PLAIN)
        return await asyncio.to_thread(kept.append, ANN, PLAIN, begun, [user()], says(), "acme/large")

    assert len(asyncio.run(run()).said) == 2
    dispose(settings)


class ConversationMachine(RuleBasedStateMachine):
    """One conversation with tools, switches of models, changes of mind and two clients, in any order."""

    settings: Settings

    @initialize()
    def begin(self) -> None:
        self.kept = opened(self.settings)
        self.current = self.kept.create(ANN, PLAIN, messages=[SYSTEM])
        self.stale = self.current
        self.number = 0

    def turn(self, new: list[dict[str, Any]], answer: dict[str, Any], model: str) -> None:
        must = model_for(self.current, new)
        self.kept.continued(self.current, new)
        self.stale = self.current
        self.current = self.kept.append(ANN, PLAIN, self.current, new, answer, must or model)

    def answers(self, tools: int) -> dict[str, Any]:
        if not tools:
            return says("y" * 50)
        self.number += tools
        return calls(*(f"c{self.number - place}" for place in range(tools)))

    models = st.sampled_from(["acme/large", "umbrella/small"])

    @rule(tools=st.integers(0, 3), model=models, size=st.sampled_from([1, 300]))
    def ask(self, tools: int, model: str, size: int) -> None:
        self.turn([user("x" * size)], self.answers(tools), model)

    @rule(tools=st.integers(0, 2), model=models, parts=st.integers(1, 3))
    def give_results(self, tools: int, model: str, parts: int) -> None:
        if self.current.record.in_tool_loop:
            ids = call_ids(self.current.messages[-1])[:parts]
            before = self.current.record.model
            self.turn([result(one, "z" * 40) for one in ids], self.answers(tools), model)
            assert self.current.record.model == before

    @rule()
    def another_client_is_late(self) -> None:
        if self.stale is not self.current:
            with pytest.raises(StateConflict):
                self.kept.append(ANN, PLAIN, self.stale, [user()], says(), "acme/large")

    @invariant()
    def what_is_kept_is_whole(self) -> None:
        if not hasattr(self, "current"):
            return
        found = self.kept.get(ANN, self.current.id)
        assert found == self.current
        assert found.messages[0] == SYSTEM
        open_calls: set[str] = set()
        for message in found.messages:
            if message["role"] == "tool":
                assert message["tool_call_id"] in open_calls
            open_calls |= set(call_ids(message))
        if len(found.said) > 1:
            assert found.messages[1]["role"] == "user"
        assert found.record.in_tool_loop == bool(call_ids(found.messages[-1]))


def test_whatever_happens_it_stays_whole(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 2_500)
    monkeypatch.setattr(module, "MOST_MESSAGES", 12)

    class Machine(ConversationMachine):
        pass

    Machine.settings = settings
    Machine.TestCase.settings = hypothesis_settings(max_examples=15, stateful_step_count=25, deadline=None)
    Machine.TestCase().runTest()
    dispose(settings)
