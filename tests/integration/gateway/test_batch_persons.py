"""Files of batches with several persons in them: one is told and erased, the others lose nothing; keys are replaced."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from gateway.account.contents import Contents
from gateway.account.erasure import erase_person, export_person
from gateway.account.files import Files
from gateway.account.key_rotation import reencrypt
from gateway.account.workspace_settings import WorkspaceSettings
from gateway.call.batch_files import BatchFiles, response, result
from gateway.call.batches import Order, submit
from gateway.prompt import Tenant
from store import llm_batches, llm_files
from store.database import session
from store.errors import SettingsError, UnknownEntity
from store.llm_batches import Batch, Line
from store.llm_files import StoredFile
from store.settings import Settings
from store.tables.base import new_id
from store.tables.gateway import BatchLineRow

OLD, NEW = (base64.b64encode(one * 32).decode() for one in (b"o", b"n"))
PERSONS = ("ann", "bob", "ann", None, "bob")
CHAT = "/v1/chat/completions"


def files_of(settings: Settings) -> Files:
    return Files(settings, lambda _: WorkspaceSettings(keep="encrypted"), Contents(settings).keyring)


def upload(settings: Settings, content: bytes) -> StoredFile:
    files = files_of(settings)
    coming = files.begin(Tenant(workspace="w"))
    coming.write(content)
    file = coming.finish("in.jsonl", "batch")
    files.register(file)
    return file


def content() -> bytes:
    told = []
    for number, person in enumerate(PERSONS):
        body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": f"words of {person} {number}"}]}
        if person is not None:
            body["user"] = person
        told.append({"custom_id": f"id-{person}-{number}", "method": "POST", "url": CHAT, "body": body})
    return b"\n".join(map(orjson.dumps, told))


def done(settings: Settings, answered: int = len(PERSONS), *, end: bool = True) -> Batch:
    """A batch of several persons, with so many answers."""
    batch = submit(settings, Tenant(workspace="w"), Order(upload(settings, content()).id, CHAT))
    llm_batches.claim(settings, "me", 60)
    llm_batches.change(settings, batch.id, "me", status="in_progress", total=len(PERSONS), started_at=batch.created_at)
    work = BatchFiles(settings, files_of(settings), Contents(settings).keyring)
    lines = []
    for number, person in enumerate(PERSONS[:answered]):
        told = response(200, "c", {"said": f"answer to {person} {number}"})
        key_id, text = work.seal(batch, number + 1, result(f"id-{person}-{number}", "c", told))
        lines.append(Line(number + 1, f"id-{person}-{number}", person, True, new_id(), key_id, text))
    llm_batches.keep(settings, batch.id, "me", lines)
    if end:
        written = work.write(llm_batches.get(settings, batch.id), None)
        llm_batches.finish(settings, batch.id, "me", "completed", output=written.output)
    return llm_batches.get(settings, batch.id)


def text_of(settings: Settings, file_id: str | None) -> str:
    assert file_id is not None
    return b"".join(files_of(settings).read(llm_files.get(settings, file_id))).decode()


@pytest.fixture
def sealed(on_both: Settings) -> Settings:
    return on_both.model_copy(update={"data_key": SecretStr(OLD)})


def test_one_of_several_is_told_and_erased(sealed: Settings) -> None:
    batch = done(sealed)
    stray = upload(sealed, content())
    told = export_person(sealed, "w", "ann")
    assert [one["request"]["messages"][0]["content"] for one in told["batch_requests"]] == [
        "words of ann 0", "words of ann 2"] * 2  # fmt: skip
    answers = [one["answer"]["response"]["body"]["said"] for one in told["batch_requests"] if "answer" in one]
    assert answers == ["answer to ann 0", "answer to ann 2"]
    assert "bob" not in str(told)

    erased = erase_person(sealed, "w", "ann")
    assert erased["batch_requests"] == 4
    assert erased["batches"] == erased["files"] == 0
    for file_id in (batch.input_file, batch.output_file, stray.id):
        text = text_of(sealed, file_id)
        assert "ann" not in text
        for kept in (1, 3, 4):
            assert f"{PERSONS[kept]} {kept}" in text
        now = llm_files.get(sealed, file_id or "")
        assert now.bytes == len(text)
    # The others keep their lines.
    assert [number for number, line in enumerate(text_of(sealed, batch.input_file).splitlines()) if line] == [1, 3, 4]
    with session(sealed, readonly=True) as opened:
        rows = opened.scalars(sa.select(BatchLineRow).order_by(BatchLineRow.line)).all()
    assert [(row.user, row.answer is None, row.custom_id) for row in rows] == [
        (erased["pseudonym"], True, ""),
        ("bob", False, "id-bob-1"),
        (erased["pseudonym"], True, ""),
        (None, False, "id-None-3"),
        ("bob", False, "id-bob-4"),
    ]
    assert export_person(sealed, "w", "ann")["batch_requests"] == []
    again = erase_person(sealed, "w", "ann")
    assert again["batch_requests"] == 0
    assert erase_person(sealed, "w", "bob")["batch_requests"] == 4
    assert export_person(sealed, "elsewhere", "bob")["batch_requests"] == []


def test_who_is_erased_while_a_batch_runs_is_in_no_file_of_it(sealed: Settings) -> None:
    batch = done(sealed, answered=2, end=False)
    assert erase_person(sealed, "w", "ann")["batch_requests"] == 2
    work = BatchFiles(sealed, files_of(sealed), Contents(sealed).keyring)
    assert [one.line for one in work.requests(batch)] == [2, 4, 5]
    written = work.write(llm_batches.get(sealed, batch.id), "batch_cancelled")
    llm_batches.finish(sealed, batch.id, "me", "cancelled", output=written.output, errors=written.errors)
    ended = llm_batches.get(sealed, batch.id)
    output, errors = text_of(sealed, ended.output_file), text_of(sealed, ended.error_file)
    assert [orjson.loads(one)["custom_id"] for one in output.splitlines()] == ["id-bob-1"]
    assert [orjson.loads(one)["custom_id"] for one in errors.splitlines()] == ["id-None-3", "id-bob-4"]


def test_a_batch_of_somebody_who_is_erased_asks_nothing_more(sealed: Settings) -> None:
    file = upload(sealed, content())
    batch = submit(sealed, Tenant(workspace="w", user="kim"), Order(file.id, CHAT))
    assert erase_person(sealed, "w", "kim")["batches"] == 1
    assert llm_batches.get(sealed, batch.id).status == "cancelling"
    with pytest.raises(UnknownEntity):
        llm_files.get(sealed, file.id)
    assert not (sealed.root / "files" / file.id).exists()


def test_files_are_sealed_anew_with_another_key(sealed: Settings) -> None:
    batch = done(sealed)
    both = sealed.model_copy(update={"data_key": SecretStr(f"{NEW},{OLD}")})
    with pytest.raises(SettingsError):
        reencrypt(sealed.model_copy(update={"data_key": SecretStr(NEW)}))
    assert reencrypt(both)["files"] == 2
    assert reencrypt(both)["files"] == 0
    alone = sealed.model_copy(update={"data_key": SecretStr(NEW)})
    assert text_of(alone, batch.input_file).encode() == content()
    assert text_of(alone, batch.output_file).count("answer to") == len(PERSONS)
    work = BatchFiles(alone, files_of(alone), Contents(alone).keyring)
    assert len([one for one in llm_batches.lines(alone, batch.id) if work._opened(batch, one)]) == len(PERSONS)


def test_what_has_no_row_is_swept_when_it_is_old(sealed: Settings) -> None:
    import os

    kept = upload(sealed, content())
    folder = sealed.root / "files"
    for name in ("file-lost", "file-lost.1234.part", "file-new"):
        (folder / name).write_bytes(b"")
        if name != "file-new":
            os.utime(folder / name, (1, 1))
    os.utime(folder / kept.id, (1, 1))
    assert files_of(sealed).sweep() == 2
    assert sorted(one.name for one in folder.iterdir()) == sorted(("file-new", kept.id))
    assert files_of(sealed).sweep() == 0
