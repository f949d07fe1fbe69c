"""What is kept of what was said: nothing, the words, or the words encrypted, as each workspace chose."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.account.encryption import Keyring
from gateway.account.workspace_settings import WorkspaceSettings
from gateway.prompt import Prompt
from store.database import session
from store.pages import storable
from store.settings import Settings
from store.tables.gateway import LlmContentRow

log = logging.getLogger("merit.gateway")
_TELL_EVERY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Content:
    """The words of one call, ready to be stored.

    Attributes
    ----------
    id : of the call.
    key_id : of the key they are encrypted with; None: plain.
    prompt, answer : JSON, or sealed; the answer is None where there was none.
    """

    id: str
    workspace: str
    user: str | None
    key_id: str | None
    prompt: bytes
    answer: bytes | None


class Contents:
    """Keeps words the way their workspace wants it. Where it wants them encrypted and no key is set, nothing is kept:
    never plain what was to be secret.
    """

    def __init__(self, settings: Settings) -> None:
        """
        Raises
        ------
        SettingsError : MERIT_DATA_KEY does not hold keys.
        """
        self._settings = settings
        self.keyring = Keyring(settings)
        self._told = float("-inf")

    def for_call(
        self, workspace: WorkspaceSettings, prompt: Prompt, answer: Mapping[str, Any] | None
    ) -> Content | None:
        """What is kept of a call: the request and the answer in OpenAI's shape; None where nothing is."""
        if workspace.keep == "nothing":
            return None
        name = prompt.tenant.workspace
        asked = self.seal(workspace, name, prompt.id, _json(prompt.body))
        if asked is None:
            return None
        answered = self.seal(workspace, name, answer_row(prompt.id), _json(answer)) if answer is not None else None
        return Content(prompt.id, name, prompt.tenant.user, asked[0], asked[1], answered[1] if answered else None)

    def seal(self, workspace: WorkspaceSettings, name: str, row: str, plain: bytes) -> tuple[str | None, bytes] | None:
        """Words of any row as they are to be stored: id of the key, or None for plain, and the bytes; None where they
        are not kept.

        Parameters
        ----------
        name : of the workspace.
        row : the same is needed to read it: the id of a call (its prompt) or of a conversation, `answer_row` of a call,
            `line_row` of a batch.
        """
        if workspace.keep == "plain":
            return None, plain
        if workspace.keep == "nothing":
            return None
        if self.keyring.key_id is None:
            self._tell(name)
            return None
        return self.keyring.seal(plain, row, name)

    def read(self, name: str, row: str, key_id: str | None, stored: bytes) -> bytes:
        """Stored words as they were.

        Raises
        ------
        SettingsError : the key is not in the environment.
        IntegrityFailed : they were changed, or belong to another row.
        """
        return stored if key_id is None else self.keyring.unseal(key_id, stored, row, name)

    def said(self, name: str, call_id: str) -> dict[str, Any] | None:
        """What was said in a call of a workspace: prompt and answer as JSON; None where nothing is kept.

        Raises
        ------
        SettingsError, IntegrityFailed : as `read`.
        """
        with session(self._settings, readonly=True) as opened:
            row = opened.get(LlmContentRow, storable(call_id))
        if row is None or row.workspace != name:
            return None
        prompt = orjson.loads(self.read(name, row.id, row.key_id, row.prompt))
        if row.answer is None:
            return {"prompt": prompt, "answer": None}
        return {"prompt": prompt, "answer": orjson.loads(self.read(name, answer_row(row.id), row.key_id, row.answer))}

    def _tell(self, name: str) -> None:
        now = time.monotonic()
        if now - self._told > _TELL_EVERY_SECONDS:
            self._told = now
            log.error("The workspace %r keeps words encrypted and MERIT_DATA_KEY is not set: nothing is kept.", name)


def answer_row(call_id: str) -> str:
    """The row under which an answer is sealed, so that it is never taken for its prompt."""
    return f"{call_id}/answer"


def line_row(batch_id: str, line: int) -> str:
    """The row under which the answer to one line of a batch is sealed."""
    return f"{batch_id}/{line}"


def _json(value: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(value, default=dict)
    except TypeError:  # half a character
        import json

        return json.dumps(value, default=dict).encode()
