"""Forms with files (`multipart/form-data`, RFC 7578), read as they arrive, in little memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from store.errors import InvalidValue

MOST_PARTS = 64
_LONGEST_HEAD = 16_384
_BOUNDARY = re.compile(rb"""boundary=(?:"([^"\r\n]{1,70})"|([^\s;"]{1,70})(?=[\s;]|$))""", re.IGNORECASE)
_PARAMETER = re.compile(r""";\s*([\w!#$&+.^`|~*-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]*))""")


@dataclass(frozen=True, slots=True)
class Head:
    """A part begins.

    Attributes
    ----------
    filename : None for a field.
    """

    name: str
    filename: str | None


@dataclass(frozen=True, slots=True)
class End:
    """A part has ended."""


class Multipart:
    """Reads a form: `feed` it what arrives, and `finish`.

    Parameters
    ----------
    content_type : of the request.
    """

    def __init__(self, content_type: bytes) -> None:
        """
        Raises
        ------
        InvalidValue : the request is no such form.
        """
        found = _BOUNDARY.search(content_type)
        if not content_type.lower().lstrip().startswith(b"multipart/form-data") or found is None:
            raise InvalidValue(
                "The body is not a form with a file.",
                remedy="Send `multipart/form-data`, as clients of OpenAI's API do for files.",
                field="Content-Type",
                value=content_type[:100].decode("latin-1"),
            )
        # Before the first delimiter there is no line to end.
        self._waiting = bytearray(b"\r\n")
        self._delimiter = b"\r\n--" + (found[1] or found[2])
        self._state = "preamble"
        self._parts = 0

    def feed(self, data: bytes) -> Iterator[Head | bytes | End]:
        """What is known after some more bytes: beginnings of parts, pieces of what they hold, their ends.

        Raises
        ------
        InvalidValue : the form is malformed.
        """
        self._waiting += data
        while True:
            if self._state in ("preamble", "body"):
                place = self._waiting.find(self._delimiter)
                # A delimiter may have arrived in part.
                known = place if place >= 0 else max(0, len(self._waiting) - len(self._delimiter) + 1)
                if known:
                    piece = bytes(self._waiting[:known])
                    del self._waiting[:known]
                    if self._state == "body":
                        yield piece
                if place < 0:
                    return
                del self._waiting[: len(self._delimiter)]
                if self._state == "body":
                    yield End()
                self._state = "delimiter"
            elif self._state == "delimiter":
                if len(self._waiting) < 2:
                    return
                if self._waiting.startswith(b"--"):
                    self._state = "end"
                    continue
                line = self._waiting.find(b"\r\n")
                if line < 0 and len(self._waiting) < _LONGEST_HEAD:
                    return
                if line < 0 or self._waiting[:line].strip(b" \t"):
                    raise _malformed("there is something beside a boundary")
                del self._waiting[:line]
                self._state = "head"
            elif self._state == "head":
                end = self._waiting.find(b"\r\n\r\n")
                if end > _LONGEST_HEAD or (end < 0 and len(self._waiting) > _LONGEST_HEAD):
                    raise _malformed("the head of a part is too long")
                if end < 0:
                    return
                head = bytes(self._waiting[:end])
                del self._waiting[: end + 4]
                self._parts += 1
                if self._parts > MOST_PARTS:
                    raise _malformed(f"it has more than {MOST_PARTS} parts")
                self._state = "body"
                yield _head(head)
            else:
                self._waiting.clear()
                return

    def finish(self) -> None:
        """
        Raises
        ------
        InvalidValue : the form is not whole.
        """
        if self._state != "end":
            raise _malformed("it is cut off")


def _head(head: bytes) -> Head:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() != b"content-disposition":
            continue
        text = value.decode("utf-8", "replace").strip()
        if not text.lower().startswith("form-data"):
            break
        given = {found[1].lower(): _unquoted(found[2], found[3]) for found in _PARAMETER.finditer(text)}
        filename = given.get("filename")
        if (extended := given.get("filename*", "")).lower().startswith("utf-8'"):
            filename = unquote(extended.split("'", 2)[-1], errors="replace")
        if given.get("name"):
            return Head(given["name"], filename)
    raise _malformed("a part has no name")


def _unquoted(quoted: str | None, token: str | None) -> str:
    if quoted is None:
        return token or ""
    # Browsers write a quotation mark as %22, others as \".
    return re.sub(r'\\(["\\])', r"\1", quoted).replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


def _malformed(reason: str) -> InvalidValue:
    return InvalidValue(
        f"The form is malformed: {reason}.", remedy="Have a client library write `multipart/form-data`.", field="body"
    )
