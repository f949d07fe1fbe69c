from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import EmptyData, InvalidValue
from store.registry import folder_sha256
from store.registry.artifacts import verified_copy

_NAMES = st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=3).map("/".join)
_FILES = st.dictionaries(_NAMES, st.binary(max_size=20), min_size=1, max_size=5)


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / (name + ".bin")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


@given(one=_FILES, other=_FILES)
def test_equal_exactly_for_equal_folders(tmp_path_factory: pytest.TempPathFactory, one: dict, other: dict) -> None:
    root = tmp_path_factory.mktemp("folders")
    first = folder_sha256(write(root / "one", one))
    second = folder_sha256(write(root / "other", dict(reversed(other.items()))))
    assert (first == second) == (one == other)
    shutil.rmtree(root)


def test_boundaries_between_files_count(tmp_path: Path) -> None:
    digests = {
        folder_sha256(write(tmp_path / "a", {"x": b"ab", "y": b"c"})),
        folder_sha256(write(tmp_path / "b", {"x": b"a", "y": b"bc"})),
        folder_sha256(write(tmp_path / "c", {"xa": b"b", "y": b"c"})),
        folder_sha256(write(tmp_path / "d", {"x/y": b"abc"})),
        folder_sha256(write(tmp_path / "e", {"y/x": b"abc"})),
    }
    assert len(digests) == 5


def test_times_and_permissions_do_not_count(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", {"x": b"1"})
    before = folder_sha256(folder)
    os.utime(folder / "x.bin", (1, 1))
    (folder / "x.bin").chmod(0o600)
    assert folder_sha256(folder) == before


def test_nothing_and_links_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EmptyData, match="none"):
        folder_sha256(tmp_path / "none")
    folder = write(tmp_path / "a", {"x": b"1"})
    (folder / "link").symlink_to("/etc/hostname")
    with pytest.raises(InvalidValue, match="link"):
        folder_sha256(folder)


def test_a_copy_is_downloaded_once_and_mended_when_touched(tmp_path: Path) -> None:
    source = write(tmp_path / "source" / "model", {"x": b"1", "deep/y": b"2"})
    sha256 = folder_sha256(source)
    downloads = []

    def download(target: Path) -> None:
        downloads.append(target)
        shutil.copytree(source, target / "model")

    place = tmp_path / "cache" / "m" / "1"
    folder, found = verified_copy(place, sha256, download)
    assert (folder, found) == (place / "model", sha256)
    assert verified_copy(place, sha256, download)[0] == folder
    assert len(downloads) == 1
    # Touched but equal: hashed again, kept.
    os.utime(place / "model" / "x.bin", (1, 1))
    assert verified_copy(place, sha256, download)[0] == folder
    assert len(downloads) == 1
    # Same length, other content: fetched again.
    (place / "model" / "x.bin").write_bytes(b"9")
    assert verified_copy(place, sha256, download)[0] == folder
    assert (place / "model" / "x.bin").read_bytes() == b"1"
    assert len(downloads) == 2
    (place / "model" / "extra.bin").write_bytes(b"9")
    assert verified_copy(place, sha256, download)[0] == folder
    assert not (place / "model" / "extra.bin").exists()
    assert [path.name for path in place.parent.iterdir()] == ["1"]


def test_a_wrong_download_is_not_kept(tmp_path: Path) -> None:
    place = tmp_path / "cache" / "1"
    folder, found = verified_copy(place, "0" * 64, lambda target: shutil.copytree(_one(tmp_path), target / "model"))
    assert folder is None
    assert found == folder_sha256(_one(tmp_path))
    assert list(place.parent.iterdir()) == []


def _one(tmp_path: Path) -> Path:
    return write(tmp_path / "one", {"x": b"1"})
