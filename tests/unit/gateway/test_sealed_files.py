"""Files at rest: what was written is read, in whatever pieces it came; what was touched does not open."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from gateway.account import sealed_files
from gateway.account.encryption import Keyring
from gateway.account.sealed_files import Writer, read, sealed_with
from store.errors import IntegrityFailed, SettingsError
from store.settings import Settings

PIECE = 16
KEYS = [base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2)]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed_files, "PIECE", PIECE)


def keyring(*keys: str) -> Keyring:
    return Keyring(Settings(data_key=SecretStr(",".join(keys)) if keys else None))


def write(path: Path, parts: list[bytes], keys: Keyring | None, row: str = "file-1", workspace: str = "w") -> str:
    writer = Writer(path, row, workspace, keys)
    for part in parts:
        writer.write(part)
    assert writer.bytes == sum(map(len, parts))
    return writer.finish()


@given(st.lists(st.binary(max_size=3 * PIECE), max_size=6), st.booleans())
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], sealed: bool) -> None:
    folder = tmp_path_factory.mktemp("files")
    path = folder / "file-1"
    digest = write(path, parts, keyring(KEYS[0]) if sealed else None)
    assert digest == hashlib.sha256(b"".join(parts)).hexdigest()
    assert b"".join(read(path, "file-1", "w", keyring(KEYS[1], KEYS[0]))) == b"".join(parts)
    assert [one.name for one in folder.iterdir()] == ["file-1"]
    assert path.stat().st_mode & 0o077 == 0
    assert sealed_with(path, "file-1") == (keyring(KEYS[0]).key_id if sealed else None)


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_sealed_words_are_nowhere_plain(tmp_path: Path, size: int) -> None:
    words = os.urandom(size)
    write(tmp_path / "f", [words], keyring(KEYS[0]))
    stored = (tmp_path / "f").read_bytes()
    for start in range(0, max(0, size - 4), 4):
        assert words[start : start + 4] not in stored


def test_a_file_cut_off_anywhere_does_not_open(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write(path, [bytes(range(3 * PIECE))], keyring(KEYS[0]), row="f")
    stored = path.read_bytes()
    for length in range(len(stored)):
        path.write_bytes(stored[:length])
        with pytest.raises(IntegrityFailed):
            list(read(path, "f", "w", keyring(KEYS[0])))


def test_a_changed_byte_does_not_open(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write(path, [bytes(range(2 * PIECE + 1))], keyring(KEYS[0]), row="f")
    stored = path.read_bytes()
    for place in range(len(stored)):
        path.write_bytes(stored[:place] + bytes([stored[place] ^ 1]) + stored[place + 1 :])
        with pytest.raises((IntegrityFailed, SettingsError)):
            list(read(path, "f", "w", keyring(KEYS[0])))


def test_pieces_open_only_where_they_belong(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write(path, [bytes(4 * PIECE)], keyring(KEYS[0]), row="f")
    stored = path.read_bytes()
    first = stored.index(b"\n") + 1
    size = 4 + 28 + PIECE
    pieces = [stored[first + number * size : first + (number + 1) * size] for number in range(4)]
    assert b"".join(pieces) == stored[first:]
    for order in ([1, 0, 2, 3], [0, 1, 3], [0, 1, 2, 3, 3], [0, 0, 1, 2, 3], [3], []):
        path.write_bytes(stored[:first] + b"".join(pieces[one] for one in order))
        with pytest.raises(IntegrityFailed):
            list(read(path, "f", "w", keyring(KEYS[0])))
    path.write_bytes(stored)
    assert b"".join(read(path, "f", "w", keyring(KEYS[0]))) == bytes(4 * PIECE)
    for row, workspace in (("g", "w"), ("f", "other")):
        with pytest.raises(IntegrityFailed):
            list(read(path, row, workspace, keyring(KEYS[0])))
    with pytest.raises(SettingsError, match="MERIT_DATA_KEY"):
        list(read(path, "f", "w", keyring(KEYS[1])))


def test_what_is_abandoned_leaves_nothing(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "f", "f", "w", None)
    writer.write(b"x")
    writer.abandon()
    assert list(tmp_path.iterdir()) == []
    finished = Writer(tmp_path / "f", "f", "w", None)
    finished.finish()
    finished.abandon()
    assert [one.name for one in tmp_path.iterdir()] == ["f"]
