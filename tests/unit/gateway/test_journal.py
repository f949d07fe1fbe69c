"""The journal: what was appended is read once and in order, and what a killed process leaves holds all that counts."""

from __future__ import annotations

import errno
import resource
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.account import journal as journals
from gateway.account.journal import Journal, dead_journals


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def drain(journal: Journal) -> list[bytes]:
    found = []
    while data := journal.read():
        found += data.splitlines()
        journal.confirm()
    return found


def left(journal: Journal) -> list[bytes]:
    """What a new process would find if this one were killed now."""
    return [line for path in sorted(journal.folder.glob("*.lines")) for line in path.read_bytes().split(b"\n")[:-1]]


def test_lines_are_read_once_and_in_order(root: Path) -> None:
    journal = Journal(root)
    sent = [b"line %d" % number for number in range(1000)]
    for line in sent:
        journal.append(line + b"\n")
    assert drain(journal) == sent
    assert journal.behind == 0
    assert drain(journal) == []
    journal.close()
    assert not journal.folder.exists()


def test_what_is_read_and_not_confirmed_is_read_again(root: Path) -> None:
    journal = Journal(root)
    journal.append(b"a\nb\n")
    assert journal.read() == journal.read() == b"a\nb\n"
    assert journal.behind == 4
    journal.confirm()
    assert journal.read() == b""
    journal.close()


def test_a_line_longer_than_what_is_read_at_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "CHUNK_BYTES", 64)
    journal = Journal(root)
    sent = [b"x" * 1000, b"short", b"y" * 500]
    for line in sent:
        journal.append(line + b"\n")
    assert drain(journal) == sent
    journal.close()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("open"), st.integers(0, 9)),
        st.tuples(st.just("close"), st.integers(0, 9)),
        st.just(("read", 0)),
        st.just(("rotate", 0)),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(steps)
def test_a_kill_at_any_moment_leaves_open_calls_and_unstored_lines(taken: list[tuple[str, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(journals, "SEGMENT_BYTES", 40)
        patch.setattr(journals, "SPENT_BYTES", 20)
        journal = Journal(Path(folder))
        opened: set[int] = set()
        ends: list[bytes] = []
        stored: list[bytes] = []
        for step, (kind, call) in enumerate(taken):
            if kind == "open":
                journal.append(b"O %d\n" % call, opens=str(call))
                opened.add(call)
            elif kind == "close":
                line = b"C %d.%d" % (call, step)
                journal.append(line + b"\n", closes=str(call))
                opened.discard(call)
                ends.append(line)
            elif kind == "read":
                stored += [line for line in journal.read().splitlines() if line[:1] == b"C"]
                journal.confirm()
            else:
                journal.rotate()
            there = left(journal)
            # The database has what was confirmed, in order; the files have the rest, and every call still open.
            assert stored == ends[: len(stored)]
            assert set(ends[len(stored) :]) <= set(there)
            for one in opened:
                assert b"O %d" % one in there
        stored += [line for line in drain(journal) if line[:1] == b"C"]
        assert stored == ends
        journal.close()
        assert journal.folder.exists() == bool(opened)


def test_spent_segments_go(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "SEGMENT_BYTES", 1000)
    journal = Journal(root)
    journal.append(b"O long\n", opens="long")
    for number in range(500):
        journal.append(b"%d" % number * 10 + b"\n")
        journal.rotate()
        assert journal.read()
        journal.confirm()
    journal.read()
    assert len(list(journal.folder.glob("*.lines"))) <= 2
    assert b"O long" in left(journal)
    journal.close()


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """A disk that is full at some point, as far as this process can tell."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_refuses_lines_whole_and_takes_them_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "STEP_BYTES", 4)
    journal = Journal(root)
    journal.append(b"C before\n")
    with files_no_larger_than(16):
        for line in (b"C torn is this one\n", b"C not written\n"):
            with pytest.raises(OSError) as full:
                journal.append(line, closes="torn")
            assert full.value.errno == errno.EFBIG
        assert drain(journal) == [b"C before"]
        assert journal.behind == 0
        journal.append(b"C 1\n")  # where there is room for it
    journal.append(b"C after\n")
    assert drain(journal) == [b"C 1", b"C after"]
    journal.close()


def test_a_call_whose_end_could_not_be_written_stays_open(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "STEP_BYTES", 1)
    journal = Journal(root)
    journal.append(b"O 1\n", opens="1")
    with files_no_larger_than(4), pytest.raises(OSError):
        journal.append(b"C 1\n", closes="1")
    assert journal.open_calls == 1
    journal.forget("1")
    assert journal.open_calls == 0
    journal.close()


def test_lines_are_there_beyond_any_step(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "STEP_BYTES", 64)
    journal = Journal(root)
    sent = [b"C %d " % number + b"x" * (number % 150) for number in range(300)]
    for first, second in zip(sent[::2], sent[1::2], strict=True):
        journal.append(first + b"\n" + second + b"\n")
    # Zeros follow while it is open, and nothing once it is closed.
    assert left(journal) == sent
    journal.append(b"O 1\n", opens="1")
    journal.close()
    (path,) = journal.folder.glob("*.lines")
    assert path.read_bytes() == b"".join(line + b"\n" for line in sent) + b"O 1\n"


def test_journals_of_the_living_are_left_alone(root: Path) -> None:
    living = Journal(root)
    living.append(b"O 1\n", opens="1")
    assert dead_journals(root) == []
    living.close()
    (dead,) = dead_journals(root)
    # Claimed: nobody else gets it.
    assert dead_journals(root) == []
    assert b"".join(dead.chunks()) == b"O 1\n"
    dead.release()
    (again,) = dead_journals(root)
    again.remove()
    assert dead_journals(root) == []
    assert not living.folder.exists()


@pytest.mark.parametrize("chunk", [4, 7, 1 << 20])
def test_the_torn_end_of_a_dead_journal_is_left_out(root: Path, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "CHUNK_BYTES", chunk)
    journal = Journal(root)
    journal.append(b"O 1\n", opens="1")
    journal.append(b"C a long line\n")
    journal._segment.write(journal._size, b"C 1 and then the po\n")
    journal._segment._map[journal._size + 19] = 0  # type: ignore[index]  # its end, which is written last
    journal._size += 40  # as a process leaves it that is killed: with zeros at the end
    journal.close()
    (dead,) = dead_journals(root)
    assert b"".join(dead.chunks()) == b"O 1\nC a long line\n"
    dead.remove()


def test_no_journals_at_all(root: Path) -> None:
    assert dead_journals(root) == []
    root.mkdir()
    assert dead_journals(root) == []
    shutil.rmtree(root)
