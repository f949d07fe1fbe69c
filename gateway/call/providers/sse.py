"""Reads server-sent events from bytes as they arrive, in whatever pieces the network cuts them.

The grammar is that of the WHATWG's HTML standard, section 9.2: lines end with LF, CRLF or CR, an empty line ends an
event, a line that begins with a colon is a comment. Only `event` and `data` matter here.
"""

from __future__ import annotations

Event = tuple[str, bytes]

MAX_EVENT_BYTES = 1024 * 1024
_BOM = b"\xef\xbb\xbf"


class EventTooLarge(Exception):
    """An event is larger than anybody here keeps in memory."""


class EventParser:
    """Bytes in, events out: (name, data), the name empty where none was given.

    Parameters
    ----------
    max_bytes : most that one event may take.
    """

    __slots__ = ("_begun", "_max_bytes", "_rest", "_skip_lf", "_too_large")

    def __init__(self, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._rest = bytearray()
        self._skip_lf = False
        self._begun = False
        self._too_large = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Events that are whole with this chunk.

        Raises
        ------
        EventTooLarge : more bytes than allowed without the end of an event; the events before it were returned.
        """
        if self._too_large:
            raise EventTooLarge
        if self._skip_lf:
            # The chunk before ended with CR, which has been taken as the end of its line.
            self._skip_lf = False
            if chunk.startswith(b"\n"):
                chunk = chunk[1:]
        if b"\r" in chunk:
            self._skip_lf = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if not chunk:
            return []
        rest = self._rest
        if rest:
            # Searched only where it is new, so that an event that comes byte by byte costs no more than its length.
            if b"\n\n" not in chunk and not (chunk[0] == 10 and rest[-1] == 10):
                if len(rest) + len(chunk) > self._max_bytes:
                    raise EventTooLarge
                rest += chunk
                return []
            chunk = bytes(rest + chunk)
            rest.clear()
        frames = chunk.split(b"\n\n")
        rest += frames.pop()
        events: list[Event] = []
        for frame in frames:
            if len(frame) > self._max_bytes:
                self._too_large = True
                break
            if frame.startswith(b"data: ") and b"\n" not in frame:
                self._begun = True
                events.append(("", frame[6:]))
            elif frame:
                event = self._read(frame)
                if event is not None:
                    events.append(event)
        if len(rest) > self._max_bytes:
            self._too_large = True
        if self._too_large and not events:
            raise EventTooLarge
        return events

    def close(self) -> list[Event]:
        """What is left when the stream has ended without the empty line after its last event."""
        if self._too_large:
            raise EventTooLarge
        frame = bytes(self._rest).rstrip(b"\n")
        self._rest.clear()
        event = self._read(frame) if frame else None
        return [] if event is None else [event]

    def _read(self, frame: bytes) -> Event | None:
        if not self._begun:
            self._begun = True
            frame = frame.removeprefix(_BOM)
        name, data = b"", None
        for line in frame.split(b"\n"):
            field, _, value = line.partition(b":")
            if value.startswith(b" "):
                value = value[1:]
            if field == b"data":
                data = value if data is None else data + b"\n" + value
            elif field == b"event":
                name = value
        return None if data is None else (name.decode("utf-8", "replace"), data)
