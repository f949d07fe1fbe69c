"""What comes out of a batch: a file of answers and one of what was not answered, both in the order of the input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.account.contents import line_row
from gateway.account.encryption import Keyring
from gateway.account.files import Files, Upload
from gateway.call.batch_requests import Request, requests
from gateway.prompt import Tenant
from store import llm_batches, llm_files
from store.llm_batches import Batch, Line
from store.llm_files import StoredFile
from store.settings import Settings

PURPOSE = "batch_output"
_UNANSWERED = {
    "batch_expired": "This request was not answered before the batch expired.",
    "batch_cancelled": "This request was not made: the batch was cancelled.",
}


@dataclass(frozen=True, slots=True)
class Written:
    """The files of a batch; None where there is nothing in one.

    Attributes
    ----------
    failed : requests without an answer.
    usage : tokens of all answers.
    """

    output: StoredFile | None = None
    errors: StoredFile | None = None
    failed: int = 0
    usage: dict[str, int] = field(default_factory=dict)


class BatchFiles:
    """Reads what batches are to do, and writes what came of it. Blocks: not for the event loop."""

    def __init__(self, settings: Settings, files: Files, keyring: Keyring) -> None:
        self._settings = settings
        self._files = files
        self._keyring = keyring

    def lines(self, batch: Batch) -> Iterator[bytes | None]:
        """Lines of the input, None for one that is too long.

        Raises
        ------
        UnknownEntity : the file is gone.
        SettingsError, IntegrityFailed : it cannot be read.
        """
        file = llm_files.get(self._settings, batch.input_file, expired=True)
        return self._files.lines(file, self._settings.max_body_bytes)

    def requests(self, batch: Batch) -> Iterator[Request]:
        """Requests of an input that was checked; raises as `lines` does."""
        return (one for one in requests(self.lines(batch), batch.endpoint) if isinstance(one, Request))

    def can_keep(self, batch: Batch) -> None:
        """
        Raises
        ------
        SettingsError : answers are to be encrypted, and there is no key.
        """
        self._files.sealing(batch.workspace)

    def seal(self, batch: Batch, line: int, answer: bytes) -> tuple[str | None, bytes]:
        """An answer as its workspace wants it kept until the files are written: id of the key, and the bytes.

        Raises
        ------
        SettingsError : it is to be encrypted, and there is no key.
        """
        keyring = self._files.sealing(batch.workspace)
        return (None, answer) if keyring is None else keyring.seal(answer, line_row(batch.id, line), batch.workspace)

    def write(self, batch: Batch, unanswered: str | None) -> Written:
        """Write both files; their rows are the caller's to add.

        Parameters
        ----------
        unanswered : code of what is said of requests that were never answered; None: all were.

        Raises
        ------
        SettingsError, IntegrityFailed : an answer cannot be read, or a file not be sealed.
        """
        tenant = Tenant(**batch.tenant)
        uploads: dict[bool, Upload] = {}
        written: list[StoredFile] = []
        usage: dict[str, int] = {}
        failed = 0
        try:
            for answered, text in self._results(batch, unanswered):
                if answered not in uploads:
                    uploads[answered] = self._files.begin(tenant, bounded=False)
                uploads[answered].write(text + b"\n")
                if answered:
                    _add(usage, text)
                else:
                    failed += 1
            found: dict[bool, StoredFile | None] = {True: None, False: None}
            for answered, upload in uploads.items():
                name = f"{batch.id}_{'output' if answered else 'error'}.jsonl"
                found[answered] = upload.finish(name, PURPOSE, batch.details.get("output_seconds"), tenant.user)
                written += [file] if (file := found[answered]) is not None else []
        except BaseException:
            for upload in uploads.values():
                upload.abandon()
            self.discard(*written)
            raise
        return Written(found[True], found[False], failed, usage)

    def discard(self, *written: StoredFile | None) -> None:
        """Remove files that got no row."""
        for file in written:
            if file is not None:
                self._files.discard(file.id)

    def _results(self, batch: Batch, unanswered: str | None) -> Iterator[tuple[bool, bytes]]:
        """Whether each request was answered, and its line of the file, in the order of the input."""
        # Of somebody who was erased meanwhile, the number alone is left.
        stored = (line for line in llm_batches.lines(self._settings, batch.id) if line.answer)
        if unanswered is None:
            for line in stored:
                yield line.answered, self._opened(batch, line)
            return
        error = {"code": unanswered, "message": _UNANSWERED[unanswered]}
        following = next(stored, None)
        for request in self.requests(batch):
            if following is not None and following.line == request.line:
                yield following.answered, self._opened(batch, following)
                following = next(stored, None)
            else:
                yield False, result(request.custom_id, None, None, error)

    def _opened(self, batch: Batch, line: Line) -> bytes:
        if line.key_id is None:
            return line.answer
        return self._keyring.unseal(line.key_id, line.answer, line_row(batch.id, line.line), batch.workspace)


def result(
    custom_id: str, call_id: str | None, response: dict[str, Any] | None, error: dict[str, Any] | None = None
) -> bytes:
    """A line of a batch's output, in OpenAI's shape."""
    shown = {
        "id": f"batch_req_{call_id}" if call_id is not None else None,
        "custom_id": custom_id,
        "response": response,
        "error": error,
    }
    return orjson.dumps(shown, default=dict)


def response(status: int, call_id: str | None, body: dict[str, Any]) -> dict[str, Any]:
    """What a request would have been answered over HTTP."""
    return {"status_code": status, "request_id": call_id, "body": body}


def _add(usage: dict[str, int], text: bytes) -> None:
    """Count the tokens of an answer: those of every kind, and of the kinds within them."""
    with suppress(orjson.JSONDecodeError, TypeError, KeyError, AttributeError):
        told = orjson.loads(text)["response"]["body"]["usage"]
        counts = dict(told)
        for part in ("prompt_tokens_details", "completion_tokens_details"):
            counts |= told.get(part) or {}
        for name, count in counts.items():
            if isinstance(count, int) and not isinstance(count, bool):
                usage[name] = usage.get(name, 0) + count
