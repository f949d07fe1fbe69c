"""Files at rest: as they came, or sealed in pieces, so that one of any size is written and read in little memory.

A file begins with a line, `merit 1 plain` or `merit 1 KEY`. Sealed pieces follow each other, each after its length in
four bytes. A piece is sealed together with the file's id, its own number and whether it is the last: pieces that were
moved, left out, added or taken from another file do not open.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gateway.account.encryption import Keyring
from store.errors import IntegrityFailed

PIECE = 1 << 18
# What sealing adds to a piece: a nonce and a tag.
_MOST_SEALED = PIECE + 28
_PLAIN = b"plain"
_FIRST = b"merit 1 "


class Writer:
    """A file while it is written. It is at its place as a whole or not at all.

    Calls block for as long as the disk does; each may be made from another thread, one after the other.

    Parameters
    ----------
    path : where it will be; its folder exists.
    row : what the pieces are sealed for: the file's id.
    workspace : whose it is.
    keyring : seals it; None: it is written as it comes.

    Attributes
    ----------
    bytes : written so far, as they came.
    """

    def __init__(self, path: Path, row: str, workspace: str, keyring: Keyring | None) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.{os.urandom(4).hex()}.part")
        self._row, self._workspace, self._keyring = row, workspace, keyring
        self._digest = hashlib.sha256()
        self._waiting = bytearray()
        self._number = 0
        self.bytes = 0
        # Nobody else on this machine reads what applications send.
        self._file = os.fdopen(os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        key_id = keyring.key_id if keyring is not None else None
        self._file.write(_FIRST + (key_id.encode() if key_id is not None else _PLAIN) + b"\n")

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._digest.update(data)
        self.bytes += len(data)
        if self._keyring is None:
            self._file.write(data)
            return
        self._waiting += data
        # The last piece is known as such: one is kept back.
        while len(self._waiting) > PIECE:
            self._seal(bytes(self._waiting[:PIECE]), last=False)
            del self._waiting[:PIECE]

    def finish(self) -> str:
        """Put the file at its place, safe from a loss of power; the SHA-256 of what was written."""
        try:
            if self._keyring is not None:
                self._seal(bytes(self._waiting), last=True)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._part.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except BaseException:
            self.abandon()
            raise
        return self._digest.hexdigest()

    def abandon(self) -> None:
        """Leave nothing behind. After `finish` it does nothing."""
        self._file.close()
        self._part.unlink(missing_ok=True)

    def _seal(self, piece: bytes, *, last: bool) -> None:
        assert self._keyring is not None
        _, sealed = self._keyring.seal(piece, _piece_row(self._row, self._number, last), self._workspace)
        self._number += 1
        self._file.write(len(sealed).to_bytes(4, "big") + sealed)


def read(path: Path, row: str, workspace: str, keyring: Keyring) -> Iterator[bytes]:
    """What was written, in pieces.

    Raises
    ------
    FileNotFoundError : there is no such file.
    SettingsError : the key that sealed it is not in the environment.
    IntegrityFailed : it was changed, cut off, or is another's.
    """
    with path.open("rb") as file:
        key_id = _key_id(file, row)
        if key_id is None:
            while piece := file.read(PIECE):
                yield piece
            return
        number, sealed = 0, _sealed(file, row)
        while sealed is not None:
            following = _sealed(file, row)
            yield keyring.unseal(key_id, sealed, _piece_row(row, number, following is None), workspace)
            number, sealed = number + 1, following
        if number == 0:
            raise _changed(row)


def sealed_with(path: Path, row: str) -> str | None:
    """Id of the key that a file is sealed with; None for one that is plain.

    Raises
    ------
    FileNotFoundError, IntegrityFailed : as `read`.
    """
    with path.open("rb") as file:
        return _key_id(file, row)


def _key_id(file: BinaryIO, row: str) -> str | None:
    first = file.readline(len(_FIRST) + 32)
    if not first.startswith(_FIRST) or not first.endswith(b"\n"):
        raise _changed(row)
    name = first[len(_FIRST) : -1]
    return None if name == _PLAIN else name.decode("ascii", "replace")


def _sealed(file: BinaryIO, row: str) -> bytes | None:
    head = file.read(4)
    if not head:
        return None
    length = int.from_bytes(head, "big")
    if len(head) < 4 or length > _MOST_SEALED:
        raise _changed(row)
    sealed = file.read(length)
    if len(sealed) < length:
        raise _changed(row)
    return sealed


def _piece_row(row: str, number: int, last: bool) -> str:
    return f"{row}/{number}/last" if last else f"{row}/{number}"


def _changed(row: str) -> IntegrityFailed:
    return IntegrityFailed(
        f"The file {row!r} was changed or cut off.",
        remedy="Restore it from a backup, or upload it again.",
        field="file_id",
        value=row,
    )
