"""Files that applications upload and that batches write: bytes under `MERIT_HOME/files`, and a row each.

Somebody asked for a file to be kept, so it is, in a workspace that keeps nothing of its calls, too: until its caller's
own date, or for as many days as the workspace keeps words. It lies encrypted where the workspace keeps words encrypted,
and where it keeps none and there is a key. Several gateways share the folder.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from gateway.account import sealed_files
from gateway.account.encryption import Keyring, no_key
from gateway.account.workspace_settings import WorkspaceSettings
from gateway.prompt import Tenant
from store import llm_files
from store.errors import InvalidValue, UnknownEntity
from store.llm_files import StoredFile
from store.settings import Settings
from store.tables.base import new_id, utc_now

PURPOSES = ("assistants", "batch", "evals", "fine-tune", "user_data", "vision")
FEWEST_SECONDS, MOST_SECONDS = 3600, 2_592_000
LONGEST_NAME = 256
# Bytes without a row after so long belong to nobody: whoever wrote them died before the row was there.
_ORPHAN_SECONDS = 86_400.0
_PORTION = 500


class Upload:
    """A file while it comes in; `finish` or `abandon` it. Used from one thread after the other."""

    def __init__(
        self, writer: sealed_files.Writer, file_id: str, tenant: Tenant, days: int | None, most_bytes: int | None
    ) -> None:
        self._writer = writer
        self._id = file_id
        self._tenant = tenant
        self._days = days
        self._most_bytes = most_bytes

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """
        Raises
        ------
        InvalidValue : it is larger than files may be.
        """
        if self._most_bytes is not None and self._writer.bytes + len(data) > self._most_bytes:
            raise InvalidValue(
                f"The file has more than {self._most_bytes:,} bytes.",
                remedy="Send it in parts, or raise MERIT_MAX_FILE_BYTES on the server.",
                field="file",
            )
        self._writer.write(data)

    def finish(self, filename: str, purpose: str, seconds: int | None = None, user: str | None = None) -> StoredFile:
        """Put the bytes at their place; the row that is to be added.

        Parameters
        ----------
        seconds : after which it expires; None: as long as the workspace keeps words.
        """
        digest = self._writer.finish()
        now = utc_now()
        span = timedelta(seconds=seconds) if seconds is not None else None
        if span is None and self._days is not None:
            span = timedelta(days=self._days)
        return StoredFile(
            id=self._id,
            workspace=self._tenant.workspace,
            key_name=self._tenant.key_name,
            user=user,
            filename=filename,
            purpose=purpose,
            bytes=self._writer.bytes,
            sha256=digest,
            created_at=now,
            expires_at=None if span is None else now + span,
        )

    def abandon(self) -> None:
        """Leave nothing behind; what is finished stays."""
        self._writer.abandon()


class Files:
    """Files of all workspaces.

    Parameters
    ----------
    workspace_of : what is set for a workspace.
    """

    def __init__(self, settings: Settings, workspace_of: Callable[[str], WorkspaceSettings], keyring: Keyring) -> None:
        self._settings = settings
        self._workspace_of = workspace_of
        self._keyring = keyring

    def begin(self, tenant: Tenant, *, bounded: bool = True) -> Upload:
        """A new file of a tenant's workspace.

        Parameters
        ----------
        bounded : by the largest size of an upload; what a batch writes is as large as its answers are.

        Raises
        ------
        SettingsError : it is to be encrypted, and there is no key.
        """
        workspace = self._workspace_of(tenant.workspace)
        file_id = f"file-{new_id()}"
        writer = sealed_files.Writer(self._path(file_id), file_id, tenant.workspace, self.sealing(tenant.workspace))
        most = self._settings.max_file_bytes if bounded else None
        return Upload(writer, file_id, tenant, workspace.contents_days, most)

    def sealing(self, workspace: str) -> Keyring | None:
        """What seals that which a workspace asked to have kept; None: it is kept plain.

        Raises
        ------
        SettingsError : it is to be encrypted, and there is no key.
        """
        keep = self._workspace_of(workspace).keep
        if keep == "encrypted" and self._keyring.key_id is None:
            raise no_key()
        return None if keep == "plain" or self._keyring.key_id is None else self._keyring

    def register(self, file: StoredFile) -> None:
        """Keep the row of a finished upload.

        Raises
        ------
        InvalidValue : the workspace has too many bytes; those of the file are gone.
        """
        try:
            llm_files.add(self._settings, file, self._settings.max_files_bytes)
        except BaseException:
            self.discard(file.id)
            raise

    def read(self, file: StoredFile) -> Iterator[bytes]:
        """What a file holds, in pieces.

        Raises
        ------
        UnknownEntity : its bytes are gone.
        SettingsError, IntegrityFailed : they cannot be read.
        """
        try:
            yield from sealed_files.read(self._path(file.id), file.id, file.workspace, self._keyring)
        except FileNotFoundError:
            raise llm_files.unknown(file.id) from None

    def lines(self, file: StoredFile, longest: int) -> Iterator[bytes | None]:
        """Lines without their ends; None for one with more than `longest` bytes. Raises as `read` does."""
        waiting, skipping = b"", False
        for piece in self.read(file):
            *whole, waiting = (waiting + piece).split(b"\n")
            for line in whole:
                yield None if skipping or len(line) > longest else line
                skipping = False
            if len(waiting) > longest:
                waiting, skipping = b"", True
        if waiting or skipping:
            yield None if skipping else waiting

    def delete(self, file_id: str, *, workspace: str | None = None, key_name: str | None = None) -> None:
        """Remove a file that may be seen.

        Raises
        ------
        UnknownEntity : there is none of that id, there.
        StateConflict : a batch reads it.
        """
        llm_files.delete(self._settings, file_id, workspace=workspace, key_name=key_name)
        self.discard(file_id)

    def discard(self, file_id: str) -> None:
        """Remove bytes that have no row."""
        self._path(file_id).unlink(missing_ok=True)

    def sweep(self) -> int:
        """Remove what has expired, and what has lain for a day without a row; how many files that were."""
        removed = llm_files.remove_expired(self._settings)
        for file_id in removed:
            self.discard(file_id)
        old = time.time() - _ORPHAN_SECONDS
        aged: list[str] = []
        for entry in os.scandir(self._folder()):
            with suppress(FileNotFoundError):  # another gateway removes them, too
                if entry.stat().st_mtime < old:
                    aged.append(entry.name)
        count = len(removed)
        for start in range(0, len(aged), _PORTION):
            portion = aged[start : start + _PORTION]
            for orphan in set(portion) - llm_files.known(self._settings, portion):
                self.discard(orphan)
                count += 1
        return count

    def reseal(self, file: StoredFile) -> bool:
        """Encrypt a file anew with the key in use; whether it was encrypted with another.

        Raises
        ------
        SettingsError, IntegrityFailed : it cannot be read.
        """
        path = self._path(file.id)
        try:
            if sealed_files.sealed_with(path, file.id) in (None, self._keyring.key_id):
                return False
            self._replace(file, self.read(file), self._keyring)
        except (FileNotFoundError, UnknownEntity):
            return False
        return True

    def rewrite(self, file: StoredFile, change: Callable[[bytes], bytes | None]) -> tuple[int, str] | None:
        """Change lines of a file, which stays as secret as it is.

        Parameters
        ----------
        change : gives what becomes of a line; None: it goes.

        Returns
        -------
        Bytes and SHA-256 of what it holds now; None when nothing changed.

        Raises
        ------
        UnknownEntity, SettingsError, IntegrityFailed : it cannot be read.
        """
        if all(line is None or change(line) == line for line in self.lines(file, sys.maxsize)):
            return None
        key_id = sealed_files.sealed_with(self._path(file.id), file.id)
        kept = (change(line) for line in self.lines(file, sys.maxsize) if line is not None)
        whole = (line + b"\n" for line in kept if line is not None)
        return self._replace(file, whole, None if key_id is None else self._keyring)

    def _replace(self, file: StoredFile, pieces: Iterable[bytes], keyring: Keyring | None) -> tuple[int, str]:
        writer = sealed_files.Writer(self._path(file.id), file.id, file.workspace, keyring)
        try:
            for piece in pieces:
                writer.write(piece)
            return writer.bytes, writer.finish()
        finally:
            writer.abandon()

    def _path(self, file_id: str) -> Path:
        return self._folder() / file_id

    def _folder(self) -> Path:
        folder = self._settings.root / "files"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder
