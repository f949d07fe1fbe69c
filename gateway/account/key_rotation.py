"""After the key in MERIT_DATA_KEY was replaced: what an older key encrypted is encrypted anew with the one in use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from gateway.account.batch_persons import opened_files
from gateway.account.contents import answer_row, line_row
from gateway.account.encryption import Keyring, no_key
from store import llm_files
from store.database import migrate, session
from store.settings import Settings
from store.tables.gateway import BatchLineRow, BatchRow, ConversationRow, LlmContentRow

_PORTION = 200


def reencrypt(settings: Settings) -> dict[str, int]:
    """Encrypt everything with the first key. Afterwards the older ones can be taken out of MERIT_DATA_KEY.

    May be interrupted and done again, while the gateway runs.

    Returns
    -------
    How many were encrypted anew: contents, conversations, batch_answers, files.

    Raises
    ------
    SettingsError : there is no key, or one that something was encrypted with is missing.
    IntegrityFailed : a row or a file was changed; those before it are done.
    """
    migrate(settings)
    keyring = Keyring(settings)
    if keyring.key_id is None:
        raise no_key()

    def again(row: Any, sealed: bytes, name: str, workspace: str) -> bytes:
        return keyring.seal(keyring.unseal(row.key_id, sealed, name, workspace), name, workspace)[1]

    def content(row: Any) -> dict[str, Any]:
        answer = row.answer if row.answer is None else again(row, row.answer, answer_row(row.id), row.workspace)
        return {"prompt": again(row, row.prompt, row.id, row.workspace), "answer": answer}

    def conversation(row: Any) -> dict[str, Any]:
        return {"messages": again(row, row.messages, row.id, row.workspace)}

    def line(row: Any) -> dict[str, Any]:
        return {"answer": again(row, row.answer, line_row(row.batch_id, row.line), row.workspace)}

    contents = sa.select(
        LlmContentRow.id, LlmContentRow.workspace, LlmContentRow.key_id, LlmContentRow.prompt, LlmContentRow.answer
    )
    conversations = sa.select(
        ConversationRow.id, ConversationRow.workspace, ConversationRow.key_id, ConversationRow.messages
    )
    answers = (
        sa.select(
            BatchLineRow.batch_id, BatchLineRow.line, BatchLineRow.key_id, BatchLineRow.answer, BatchRow.workspace
        )
        .join(BatchRow, BatchRow.id == BatchLineRow.batch_id)
        .where(BatchLineRow.answer.is_not(None))
    )
    current = keyring.key_id
    return {
        "contents": _each(settings, current, LlmContentRow, ("id",), contents, content),
        "conversations": _each(settings, current, ConversationRow, ("id",), conversations, conversation),
        "batch_answers": _each(settings, current, BatchLineRow, ("batch_id", "line"), answers, line),
        "files": sum(map(opened_files(settings).reseal, llm_files.all_of(settings))),
    }


def _each(
    settings: Settings,
    current: str,
    table: Any,
    identity: tuple[str, ...],
    query: sa.Select[Any],
    renewed: Callable[[Any], Mapping[str, Any]],
) -> int:
    old = query.where(table.key_id.is_not(None), table.key_id != current).limit(_PORTION)
    count = 0
    while True:
        # The rows are locked on Postgres, and SQLite has one writer: nobody changes what is being encrypted anew.
        with session(settings) as opened:
            rows = opened.execute(old.with_for_update(of=table)).all()
            for row in rows:
                mine = [getattr(table, name) == getattr(row, name) for name in identity]
                opened.execute(sa.update(table).where(*mine).values(key_id=current, **renewed(row)))
        if not rows:
            return count
        count += len(rows)
