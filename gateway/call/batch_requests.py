"""The requests of a batch: one JSON object a line, all checked before the first is made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.prompt import Kind

# Where a request of a batch may be addressed to, and what kind of prompt that is.
ENDPOINTS: dict[str, Kind] = {"/v1/chat/completions": "chat", "/v1/embeddings": "embeddings"}
LONGEST_CUSTOM_ID = 256
MOST_ERRORS = 100
_BOM = b"\xef\xbb\xbf"
_FIELDS = frozenset({"custom_id", "method", "url", "body"})


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes
    ----------
    line : its number in the file, from 1.
    body : as it would be posted to the endpoint.
    bytes : of the line.
    """

    line: int
    custom_id: str
    body: dict[str, Any]
    bytes: int


@dataclass(frozen=True, slots=True)
class LineError:
    """What is wrong with a line, or with the whole file where `line` is None."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None

    def explain(self) -> dict[str, Any]:
        """As OpenAI lists the errors of a batch."""
        return {"code": self.code, "line": self.line, "message": self.message, "param": self.param}


@dataclass(frozen=True, slots=True)
class Checked:
    """What checking a file found: how many requests it holds, and the first of what is wrong with it."""

    total: int
    errors: tuple[LineError, ...]


def requests(lines: Iterable[bytes | None], endpoint: str) -> Iterator[Request | LineError]:
    """The requests of a file, and what is wrong with lines that hold none; empty lines count as lines alone."""
    for number, line in enumerate(lines, 1):
        if line is None:
            yield LineError("line_too_long", "This line is longer than a request may be.", number)
            continue
        text = line.removeprefix(_BOM) if number == 1 else line
        if text and not text.isspace():
            yield request(text, number, endpoint)


def request(text: bytes, line: int, endpoint: str) -> Request | LineError:
    """One line. What its body says is checked when it is asked, as far as one request alone can be wrong."""

    def wrong(code: str, message: str, param: str | None = None) -> LineError:
        return LineError(code, message, line, param)

    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return wrong("invalid_json_line", f"This line is not parseable as valid JSON: {error}.")
    if not isinstance(given, dict):
        return wrong("invalid_json_line", "This line is not a JSON object.")
    for name in ("custom_id", "method", "url", "body"):
        if given.get(name) is None:
            return wrong("missing_required_parameter", f"Missing required parameter: '{name}'.", name)
    if unknown := sorted(given.keys() - _FIELDS):
        return wrong("unknown_parameter", f"Unknown parameter: '{unknown[0][:100]}'.", unknown[0][:100])
    custom_id, body = given["custom_id"], given["body"]
    if not isinstance(custom_id, str) or not 0 < len(custom_id) <= LONGEST_CUSTOM_ID or "\x00" in custom_id:
        return wrong("invalid_custom_id", f"custom_id is not a text of 1 to {LONGEST_CUSTOM_ID} characters.",
                     "custom_id")  # fmt: skip
    if given["method"] != "POST":
        return wrong("invalid_method", "The method of a request in a batch is POST.", "method")
    if given["url"] != endpoint:
        return wrong("mismatched_endpoint", f"The url does not match the endpoint of the batch, {endpoint}.", "url")
    if not isinstance(body, dict):
        return wrong("invalid_body", "body is not a JSON object.", "body")
    model = body.get("model")
    if not isinstance(model, str) or not model:
        return wrong("missing_required_parameter", "Missing required parameter: 'body.model'.", "body.model")
    if body.get("stream"):
        return wrong("invalid_stream", "Nobody reads along with a batch: answers are not streamed.", "body.stream")
    return Request(line, custom_id, body, len(text))


def check(lines: Iterable[bytes | None], endpoint: str, most: int) -> Checked:
    """Check a whole file.

    Parameters
    ----------
    most : requests that a batch may hold.
    """
    errors: list[LineError] = []
    first: dict[str, int] = {}
    total = 0
    for found in requests(lines, endpoint):
        if isinstance(found, LineError):
            errors.append(found)
        else:
            total += 1
            before = first.setdefault(found.custom_id, found.line)
            if before != found.line:
                told = (
                    "The custom_id of this request is a duplicate of that in line "
                    f"{before}; it must be unique in a batch."
                )
                errors.append(LineError("duplicate_custom_id", told, found.line, "custom_id"))
        if len(errors) >= MOST_ERRORS:
            break
        if total > most:
            told = f"The file holds more than {most:,} requests; the limit of this server is MERIT_MAX_BATCH_LINES."
            errors.append(LineError("too_many_requests", told))
            break
    if not total and not errors:
        errors.append(LineError("empty_file", "The file holds no request."))
    return Checked(total, tuple(errors))
