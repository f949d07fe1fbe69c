"""Folders as artifacts: one digest over a folder, and local copies that are checked against it."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from store.errors import EmptyData, InvalidValue

_STAMP = "verified.json"


def folder_sha256(folder: Path | str) -> str:
    """Hex SHA-256 over the relative paths, sizes and contents of every file below `folder`.

    The same on every machine: independent of time stamps, of permissions and of the order files were written in.

    Raises
    ------
    EmptyData : the folder does not exist or holds no file.
    InvalidValue : it holds a link, whose target is not part of the folder.
    """
    total = hashlib.sha256()
    for relative, path in _files(Path(folder)):
        name = relative.encode()
        total.update(f"{len(name)}:".encode() + name + f"{path.stat().st_size}:".encode())
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                total.update(block)
    return total.hexdigest()


def _files(folder: Path) -> list[tuple[str, Path]]:
    found = []
    for path in folder.rglob("*"):
        if path.is_symlink():
            raise InvalidValue(
                f"{path} is a link; a model's folder must hold its own files.", remedy="Copy the file it points to."
            )
        if path.is_file():
            found.append((path.relative_to(folder).as_posix(), path))
    if not found:
        raise EmptyData(
            f"The folder {folder} holds no file.", remedy="Save the model into it first.", value=str(folder)
        )
    return sorted(found)


def verified_copy(place: Path, sha256: str, download: Callable[[Path], None]) -> tuple[Path | None, str]:
    """A local copy at `place/model` whose digest is `sha256`, and the digest that was found.

    A copy that was verified before is checked by sizes and modification times and hashed again only where these
    changed. A new one is downloaded beside and moved into place whole, so that nobody ever sees half of it.

    Returns
    -------
    The folder, or None where even a fresh download has another digest (and is not kept).
    """
    folder = place / "model"
    if folder.is_dir():
        if _stamp_of(place) == [sha256, *_fingerprint(folder)]:
            return folder, sha256
        if _digest(folder) == sha256:
            _write_stamp(place, sha256)
            return folder, sha256
        shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".download-", dir=place.parent))
    try:
        download(scratch)
        found = _digest(scratch / "model")
        if found != sha256:
            return None, found
        _write_stamp(scratch, sha256)
        try:
            scratch.rename(place)
        except OSError:
            # Somebody else was faster: theirs is as good, if it is complete.
            if _digest(folder) != sha256:
                raise
        return folder, sha256
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _digest(folder: Path) -> str:
    try:
        return folder_sha256(folder)
    except (EmptyData, InvalidValue):
        return "nothing"


def _fingerprint(folder: Path) -> list[list[str | int]]:
    try:
        return [[name, path.stat().st_size, path.stat().st_mtime_ns] for name, path in _files(folder)]
    except (EmptyData, InvalidValue):
        return []


def _write_stamp(place: Path, sha256: str) -> None:
    (place / _STAMP).write_text(json.dumps([sha256, *_fingerprint(place / "model")]))


def _stamp_of(place: Path) -> object:
    try:
        return json.loads((place / _STAMP).read_text())
    except (OSError, ValueError):
        return None
