"""Kept words are sealed: nobody without the key reads them, moves them to another row, or changes a bit of them."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from gateway.account.contents import Contents, answer_row
from gateway.account.encryption import Keyring
from gateway.account.workspace_settings import WorkspaceSettings
from gateway.prompt import Prompt, Tenant
from store.errors import IntegrityFailed, SettingsError
from store.settings import Settings

OLD, NEW = (base64.b64encode(bytes(range(start, start + 32))).decode() for start in (1, 101))


def keyring(*keys: str) -> Keyring:
    return Keyring(Settings(home=Path("unused"), data_key=SecretStr(",".join(keys)) if keys else None))


@given(st.binary(max_size=200), st.text(max_size=20), st.text(max_size=20))
def test_what_is_sealed_opens_for_its_row_alone(plain: bytes, row: str, workspace: str) -> None:
    ring = keyring(NEW)
    key_id, sealed = ring.seal(plain, row, workspace)
    assert ring.unseal(key_id, sealed, row, workspace) == plain
    assert len(plain) < 8 or plain not in sealed
    assert ring.seal(plain, row, workspace)[1] != sealed
    for elsewhere in ((row + "x", workspace), (row, workspace + "x"), (row + workspace[:1], workspace[1:] + "y")):
        with pytest.raises(IntegrityFailed):
            ring.unseal(key_id, sealed, *elsewhere)


def test_row_and_workspace_are_told_apart() -> None:
    ring = keyring(NEW)
    key_id, sealed = ring.seal(b"words", "ab", "c")
    with pytest.raises(IntegrityFailed):
        ring.unseal(key_id, sealed, "a", "bc")
    with pytest.raises(IntegrityFailed):
        ring.unseal(key_id, sealed, "ab:", "c")


def test_every_changed_bit_is_noticed() -> None:
    ring = keyring(NEW)
    key_id, sealed = ring.seal(b"words", "row", "w")
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(IntegrityFailed):
            ring.unseal(key_id, bytes(changed), "row", "w")
    with pytest.raises(IntegrityFailed):
        ring.unseal(key_id, sealed[:5], "row", "w")


def test_a_new_key_goes_before_the_old_ones() -> None:
    key_id, sealed = keyring(OLD).seal(b"words", "row", "w")
    both = keyring(NEW, OLD)
    assert both.key_id not in (None, key_id)
    assert both.unseal(key_id, sealed, "row", "w") == b"words"
    assert both.seal(b"words", "row", "w")[0] == both.key_id
    with pytest.raises(SettingsError, match=key_id):
        keyring(NEW).unseal(key_id, sealed, "row", "w")


@pytest.mark.parametrize(
    "text", ["short", base64.b64encode(b"x" * 31).decode(), "ä" * 44, f"{NEW},", f"{NEW},nonsense"]
)
def test_what_is_no_key_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        keyring(text)
    assert caught.value.field == "MERIT_DATA_KEY"
    for part in text.split(","):
        assert not part or part not in str(caught.value)


def test_without_a_key_nothing_is_sealed() -> None:
    assert keyring().key_id is None
    with pytest.raises(SettingsError, match="not set"):
        keyring().seal(b"words", "row", "w")


PROMPT = Prompt(
    "c" * 32, Tenant(workspace="w", user="ann"), "chat", "auto", {"messages": [{"role": "user", "content": "Größe?"}]}
)
ANSWER = {"choices": [{"message": {"content": "Klein."}}]}


def contents(*keys: str) -> Contents:
    return Contents(Settings(home=Path("unused"), data_key=SecretStr(",".join(keys)) if keys else None))


def test_a_workspace_that_keeps_nothing() -> None:
    assert contents(NEW).for_call(WorkspaceSettings(), PROMPT, ANSWER) is None
    assert contents(NEW).seal(WorkspaceSettings(), "w", "row", b"words") is None


def test_a_workspace_that_keeps_words() -> None:
    kept = contents().for_call(WorkspaceSettings(keep="plain"), PROMPT, ANSWER)
    assert kept is not None
    assert (kept.id, kept.workspace, kept.user, kept.key_id) == (PROMPT.id, "w", "ann", None)
    assert "Größe?" in kept.prompt.decode()
    assert kept.answer is not None
    assert b"Klein." in kept.answer


def test_a_workspace_that_keeps_words_encrypted() -> None:
    ours = contents(NEW)
    kept = ours.for_call(WorkspaceSettings(keep="encrypted"), PROMPT, ANSWER)
    assert kept is not None
    assert kept.answer is not None
    assert b"messages" not in kept.prompt + kept.answer
    assert "Größe?" in ours.read("w", PROMPT.id, kept.key_id, kept.prompt).decode()
    assert b"Klein." in ours.read("w", answer_row(PROMPT.id), kept.key_id, kept.answer)
    with pytest.raises(IntegrityFailed):
        ours.read("w", PROMPT.id, kept.key_id, kept.answer)
    without = ours.for_call(WorkspaceSettings(keep="encrypted"), PROMPT, None)
    assert without is not None
    assert without.answer is None


def test_without_a_key_nothing_is_kept_rather_than_plain_words(caplog: pytest.LogCaptureFixture) -> None:
    ours = contents()
    for _ in range(3):
        assert ours.for_call(WorkspaceSettings(keep="encrypted"), PROMPT, ANSWER) is None
    assert caplog.text.count("MERIT_DATA_KEY is not set") == 1


def test_half_a_character_is_kept() -> None:
    odd = Prompt("c" * 32, Tenant(), "chat", "auto", {"messages": [{"role": "user", "content": "\ud800"}]})
    kept = contents().for_call(WorkspaceSettings(keep="plain"), odd, None)
    assert kept is not None
    assert b"ud800" in kept.prompt
