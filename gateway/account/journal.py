"""An append-only file of lines that outlives the process that wrote them.

A line is copied into a segment that is mapped into memory: when the process is killed, the kernel has it. That takes
no call of the system, and so never lets go of the interpreter: an event loop that does has to wait for it again, for
as long as the thread that writes to the database likes to keep it. Room is made before it is needed, so a full disk is
an error before a line begins, never a torn line. Nothing on the way of a call waits for a disk: a segment is synced
when it is full and when the journal is closed with lines left in it, so a power cut may take what the database had not
committed yet, a kill nothing.

    MERIT_HOME/journal/<id>/alive             locked as long as the process lives
    MERIT_HOME/journal/<id>/00000001.lines    segments, zeros at the end; one is removed when the database has all of it
"""

from __future__ import annotations

import mmap
import os
import shutil
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from store.errors import ServiceUnavailable
from store.locks import file_lock
from store.tables.base import new_id

SEGMENT_BYTES = 16 << 20
# A segment whose lines are all in the database is left for a new one as soon as it has this size.
SPENT_BYTES = 1 << 20
CHUNK_BYTES = 1 << 20
# Room is made in steps of this: some hundred calls.
STEP_BYTES = 256 << 10
_LOCK = "lock"
_ALIVE = "alive"


class Journal:
    """The journal of this process: any thread appends, one thread reads.

    Calls that were opened and not closed are carried over into each new segment, so that the one before can go.

    Attributes
    ----------
    appended, stored : bytes written, and of them those that the reader has confirmed, since the beginning.
    """

    def __init__(self, root: Path) -> None:
        self.appended = 0
        self.stored = 0
        self._held = ExitStack()
        self._lock = threading.Lock()
        self._open: dict[str, bytes] = {}
        root.mkdir(parents=True, exist_ok=True)
        with file_lock(root / _LOCK):
            # Others look for journals of the dead under the same lock: they never see this one without its own.
            self.folder = root / new_id()
            self._held.enter_context(file_lock(self.folder / _ALIVE, timeout=0))
        self._segments: deque[Path] = deque()
        self._sizes: dict[Path, int] = {}
        self._number = 0
        self._segment = self._begin(b"")
        self._size = 0
        self._carried = 0
        self._reading: tuple[Path, int] | None = None
        self._offset = 0
        self._unconfirmed = 0

    @property
    def behind(self) -> int:
        """Bytes that the reader has not confirmed."""
        return self.appended - self.stored

    @property
    def open_calls(self) -> int:
        return len(self._open)

    def append(self, line: bytes, *, opens: str | None = None, closes: str | None = None) -> None:
        """Write a line, or several, each with its line break.

        Parameters
        ----------
        opens, closes : id of the call that the line opens or closes.

        Raises
        ------
        OSError : it could not be written. A call that it closes stays open here.
        """
        with self._lock:
            end = self._size + len(line)
            self._segment.write(self._size, line)
            self.appended += len(line)
            self._size = end
            if opens is not None:
                self._open[opens] = line
            elif closes is not None:
                self._open.pop(closes, None)

    def forget(self, call_id: str) -> None:
        """No longer carry over a call whose end is known elsewhere."""
        with self._lock:
            self._open.pop(call_id, None)

    def read(self) -> bytes:
        """The next lines that have not been confirmed; empty when there are none now."""
        most = CHUNK_BYTES
        while True:
            with self._lock:
                first = self._segments[0]
                last = len(self._segments) == 1
                end = self._size if last else self._sizes[first]
            if self._offset >= end:
                if last:
                    return b""
                self._leave(first)
                continue
            data = os.pread(self._reader(first), min(most, end - self._offset), self._offset)
            whole = data.rfind(b"\n") + 1
            if whole:
                self._unconfirmed = whole
                return data[:whole]
            if most < end - self._offset:
                most *= 2
            elif last:
                return b""
            else:
                self._pass(end - self._offset)

    def confirm(self) -> None:
        """What was read last is in the database."""
        self._pass(self._unconfirmed)
        self._unconfirmed = 0

    def _pass(self, count: int) -> None:
        self._offset += count
        self.stored += count

    def _reader(self, path: Path) -> int:
        if self._reading is None or self._reading[0] != path:
            self._reading = path, os.open(path, os.O_RDONLY)
        return self._reading[1]

    def _leave(self, path: Path) -> None:
        if self._reading is not None:
            os.close(self._reading[1])
            self._reading = None
        self._offset = 0
        with self._lock:
            self._segments.popleft()
            del self._sizes[path]
        path.unlink(missing_ok=True)

    def rotate(self) -> None:
        """Begin a new segment where the current one is full, or large and spent. Called by the reader."""
        with self._lock:
            grown = self._size - self._carried
            if grown < (SPENT_BYTES if self.behind == 0 else SEGMENT_BYTES):
                return
            finished, path, size = self._segment, self._segments[-1], self._size
            head = b"".join(self._open.values())
            try:
                self._segment = self._begin(head)
            except OSError:
                return  # no room for a new one: the old one grows on
            self._sizes[path] = size
            self._size = self._carried = len(head)
            self.appended += len(head)
        finished.close(size)

    def _begin(self, head: bytes) -> Segment:
        self._number += 1
        path = self.folder / f"{self._number:08d}.lines"
        segment = Segment(path)
        try:
            segment.write(0, head)
        except OSError:
            segment.close(0)
            path.unlink(missing_ok=True)
            raise
        self._segments.append(path)
        return segment

    def close(self) -> None:
        """Remove the journal where the database has all of it, else leave it, synced, to the next one who recovers."""
        spent = self.behind == 0 and not self._open
        self._segment.close(self._size)
        if self._reading is not None:
            os.close(self._reading[1])
            self._reading = None
        if spent:
            shutil.rmtree(self.folder, ignore_errors=True)
        self._held.close()


class Segment:
    """A new file that is written through a mapping of it; there is always room for what is being written.

    Raises
    ------
    OSError : it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._map: mmap.mmap | None = None
        self._room = 0

    def write(self, start: int, lines: bytes) -> None:
        """Write whole lines at a place.

        Raises
        ------
        OSError : there is no room for them; nothing was written.
        """
        if start + len(lines) > self._room:
            self._make_room(start + len(lines))
        mapped = self._map
        if mapped is None:
            return  # no line yet
        for line in lines.splitlines(keepends=True) if lines.count(b"\n") > 1 else (lines,):
            # Its end last: what a kill cut off has none.
            last = start + len(line) - 1
            mapped[start:last] = line[:-1]
            mapped[last] = line[-1]
            start = last + 1

    def _make_room(self, least: int) -> None:
        room = -(-least // STEP_BYTES) * STEP_BYTES
        done = self._room
        # Zeros, not a hole: where the disk is full it is now that an error can be told, later it would be a signal.
        while done < room:
            done += os.pwrite(self._fd, bytes(room - done), done)
        mapped = mmap.mmap(self._fd, room)
        if self._map is not None:
            self._map.close()
        self._map, self._room = mapped, room

    def close(self, size: int) -> None:
        """Leave the file with its first `size` bytes, synced."""
        if self._map is not None:
            self._map.close()
        with suppress(OSError):
            os.ftruncate(self._fd, size)
            os.fsync(self._fd)
        os.close(self._fd)


class DeadJournal:
    """A journal whose process is gone, claimed by this one."""

    def __init__(self, folder: Path, held: ExitStack) -> None:
        self.folder = folder
        self._held = held

    def chunks(self) -> Iterator[bytes]:
        """Its whole lines in the order in which they were written; what was cut off within a line is left out."""
        for path in sorted(self.folder.glob("*.lines")):
            with path.open("rb") as file:
                rest = b""
                while data := file.read(CHUNK_BYTES):
                    whole = data.rfind(b"\n") + 1
                    if whole:
                        yield rest + data[:whole]
                        rest = data[whole:]
                    else:
                        rest += data

    def remove(self) -> None:
        """The database has all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self._held.close()

    def release(self) -> None:
        """Leave it to be recovered later."""
        self._held.close()


def dead_journals(root: Path) -> list[DeadJournal]:
    """Journals of processes that are gone, oldest first; nobody else gets them until they are removed or released."""
    found: list[DeadJournal] = []
    if not root.is_dir():
        return found
    with file_lock(root / _LOCK):
        for folder in sorted(path for path in root.iterdir() if path.is_dir()):
            held = ExitStack()
            try:
                held.enter_context(file_lock(folder / _ALIVE, timeout=0))
            except ServiceUnavailable:
                continue  # its process lives
            found.append(DeadJournal(folder, held))
    return found
