"""A person among others in a batch: requests that name them are told, and taken out; those of others stay.

Files of batches are read line by line for it: a request names its person in the field `user` of its body, and nobody
else knows before it is asked.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.orm import Session

from gateway.account.contents import Contents, line_row
from gateway.account.files import Files
from gateway.account.workspace_settings import DEFAULTS
from store import llm_files
from store.database import session
from store.errors import MeritError
from store.llm_files import StoredFile
from store.settings import Settings
from store.tables.gateway import BatchLineRow, BatchRow, FileRow

_INPUT = "batch"


@dataclass(frozen=True, slots=True)
class Named:
    """A request of a file that names the person.

    Attributes
    ----------
    line : its number, from 1.
    """

    file: str
    line: int
    custom_id: str
    body: dict[str, Any]


def requests_of(settings: Settings, workspace: str, user: str) -> Iterator[Named]:
    """Requests that name a person in the input files of a workspace; files that cannot be read are passed over."""
    files = opened_files(settings)
    for file in _inputs(settings, workspace):
        try:
            for number, text in enumerate(files.lines(file, sys.maxsize), 1):
                given = _request(text)
                if _names(given, user):
                    yield Named(file.id, number, str(given.get("custom_id")), given["body"])
        except MeritError:
            continue


def answers_of(opened: Session, contents: Contents, workspace: str, user: str) -> Iterator[dict[str, Any]]:
    """What is stored of requests that named a person, in batches that were not their own: file, custom_id, status, and
    the answer where it is kept."""
    query = (
        sa.select(BatchLineRow, BatchRow.input_file, BatchRow.tenant)
        .join(BatchRow, BatchRow.id == BatchLineRow.batch_id)
        .where(BatchRow.workspace == workspace, BatchLineRow.user == user)
    )
    for row, file, tenant in opened.execute(query):
        if tenant.get("user") == user:
            continue
        told = {"batch": row.batch_id, "file": file, "custom_id": row.custom_id, "status": row.status}
        if row.answer is not None:
            try:
                text = contents.read(workspace, line_row(row.batch_id, row.line), row.key_id, row.answer)
                told["answer"] = orjson.loads(text)
            except (MeritError, orjson.JSONDecodeError) as error:
                told["unreadable"] = f"answer: {error}"
        yield told


def erase_requests(settings: Settings, workspace: str, user: str, pseudonym: str) -> int:
    """Take requests that name a person out of batches and their files; how many there were.

    A batch that is being worked on may still ask those that it has read: erase once more when it has ended.
    """
    files = opened_files(settings)
    of_batch: dict[str, set[str]] = defaultdict(set)
    elsewhere = 0
    with session(settings) as opened:
        mine = sa.select(BatchRow.id).where(BatchRow.workspace == workspace)
        theirs = BatchLineRow.batch_id.in_(mine), BatchLineRow.user == user
        for batch_id, custom_id in opened.execute(
            sa.select(BatchLineRow.batch_id, BatchLineRow.custom_id).where(*theirs)
        ):
            of_batch[batch_id].add(custom_id)
        emptied = {"answer": None, "key_id": None, "custom_id": "", "user": pseudonym}
        opened.execute(sa.update(BatchLineRow).where(*theirs).values(emptied))
    for file in _inputs(settings, workspace):
        found: set[str] = set()

        def emptied_of(text: bytes, found: set[str] = found) -> bytes:
            given = _request(text)
            if not _names(given, user):
                return text
            found.add(str(given.get("custom_id")))
            return b""  # the others keep their numbers

        if _rewritten(settings, files, file, emptied_of) and found:
            batches = _reading(settings, file.id)
            elsewhere += 0 if batches else len(found)
            for batch_id in batches:
                of_batch[batch_id] |= found
    for batch_id, custom_ids in of_batch.items():

        def without(text: bytes, gone: set[str] = custom_ids) -> bytes | None:
            return None if _answers(text, gone) else text

        for file in _written(settings, batch_id):
            _rewritten(settings, files, file, without)
    return elsewhere + sum(map(len, of_batch.values()))


def opened_files(settings: Settings) -> Files:
    """Files as they are stored, whatever their workspaces want of new ones."""
    return Files(settings, lambda _: DEFAULTS, Contents(settings).keyring)


def _rewritten(settings: Settings, files: Files, file: StoredFile, change: Callable[[bytes], bytes | None]) -> bool:
    """Whether a file was changed; one that cannot be read is left as it is."""
    try:
        changed = files.rewrite(file, change)
    except MeritError:
        return False
    if changed is None:
        return False
    llm_files.resize(settings, file.id, *changed)
    return True


def _inputs(settings: Settings, workspace: str) -> list[StoredFile]:
    return list(llm_files.all_of(settings, FileRow.workspace == workspace, FileRow.purpose == _INPUT))


def _written(settings: Settings, batch_id: str) -> list[StoredFile]:
    named = sa.select(BatchRow.output_file).where(BatchRow.id == batch_id)
    wrong = sa.select(BatchRow.error_file).where(BatchRow.id == batch_id)
    return list(llm_files.all_of(settings, sa.or_(FileRow.id.in_(named), FileRow.id.in_(wrong))))


def _reading(settings: Settings, file_id: str) -> list[str]:
    with session(settings, readonly=True) as opened:
        return list(opened.scalars(sa.select(BatchRow.id).where(BatchRow.input_file == file_id)))


def _request(text: bytes | None) -> dict[str, Any]:
    try:
        given = orjson.loads(text or b"")
    except orjson.JSONDecodeError:
        return {}
    return given if isinstance(given, dict) and isinstance(given.get("body"), dict) else {}


def _names(given: dict[str, Any], user: str) -> bool:
    return bool(given) and given["body"].get("user") == user


def _answers(text: bytes, custom_ids: set[str]) -> bool:
    try:
        return orjson.loads(text)["custom_id"] in custom_ids
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return False
