"""The lines of a batch: what is wrong with which, and that nothing that a file may hold breaks the check."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.call.batch_requests import MOST_ERRORS, LineError, Request, check, requests

CHAT = "/v1/chat/completions"


def line(custom_id: Any = "a", **changes: Any) -> bytes:
    """A line that fits but for `changes`; None leaves a field out."""
    whole = {
        "custom_id": custom_id,
        "method": "POST",
        "url": CHAT,
        "body": {"model": "auto", "messages": [{"role": "user", "content": "Hi"}]},
    } | changes
    return orjson.dumps({name: value for name, value in whole.items() if value is not None})


def test_lines_that_fit_keep_their_numbers_and_bodies() -> None:
    text = [b"\xef\xbb\xbf" + line("a"), b"", b"  \r", line("b") + b"\r", line("c", body={"model": "m", "x": 1})]
    found = list(requests(text, CHAT))
    assert [(one.line, one.custom_id) for one in found if isinstance(one, Request)] == [(1, "a"), (4, "b"), (5, "c")]
    assert isinstance(found[2], Request)
    assert found[2].body == {"model": "m", "x": 1}
    assert check(text, CHAT, 3).errors == ()
    assert check(text, CHAT, 3).total == 3


@pytest.mark.parametrize(
    ("text", "code", "param"),
    [
        (b'{"custom_id": "a"', "invalid_json_line", None),
        (b"[1]", "invalid_json_line", None),
        (b"\xff\xfe", "invalid_json_line", None),
        (line(None), "missing_required_parameter", "custom_id"),
        (line(method=None), "missing_required_parameter", "method"),
        (line(url=None), "missing_required_parameter", "url"),
        (line(body=None), "missing_required_parameter", "body"),
        (line(body={"messages": []}), "missing_required_parameter", "body.model"),
        (line(body={"model": 3}), "missing_required_parameter", "body.model"),
        (line(body=[]), "invalid_body", "body"),
        (line(body={"model": "m", "stream": True}), "invalid_stream", "body.stream"),
        (line(7), "invalid_custom_id", "custom_id"),
        (line(""), "invalid_custom_id", "custom_id"),
        (line("x" * 257), "invalid_custom_id", "custom_id"),
        (line("a\x00"), "invalid_custom_id", "custom_id"),
        (line(method="GET"), "invalid_method", "method"),
        (line(url="/v1/embeddings"), "mismatched_endpoint", "url"),
        (line(url="http://127.0.0.1/v1/chat/completions"), "mismatched_endpoint", "url"),
        (line(priority=3), "unknown_parameter", "priority"),
        (None, "line_too_long", None),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: bytes | None, code: str, param: str | None) -> None:
    found = check([line("first"), b"", text, line("last")], CHAT, 10)
    assert [(one.code, one.line, one.param) for one in found.errors] == [(code, 3, param)]


def test_a_custom_id_is_there_once() -> None:
    found = check([line("a"), line("b"), line("a"), line("a")], CHAT, 10)
    assert [(one.code, one.line) for one in found.errors] == [("duplicate_custom_id", 3), ("duplicate_custom_id", 4)]
    assert "line 1" in found.errors[0].message


def test_a_file_without_a_request_and_one_with_too_many() -> None:
    assert [one.code for one in check([b"", b" "], CHAT, 10).errors] == ["empty_file"]
    many = [line(str(number)) for number in range(11)]
    assert check(many[:10], CHAT, 10).errors == ()
    (error,) = check(many, CHAT, 10).errors
    assert (error.code, error.line) == ("too_many_requests", None)


def test_no_more_errors_are_told_than_anybody_reads() -> None:
    assert len(check([b"{"] * 10_000, CHAT, 50_000).errors) == MOST_ERRORS


@given(st.lists(st.binary(max_size=60) | st.just(line()) | st.none(), max_size=8))
def test_whatever_a_line_holds_is_a_request_or_told(texts: list[bytes | None]) -> None:
    for found in requests(texts, CHAT):
        assert 1 <= found.line <= len(texts) if found.line is not None else False
        if isinstance(found, LineError):
            assert found.code
            assert found.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(("custom_id", "method", "url", "body", "x"), JSON)))
def test_whatever_json_a_line_holds_is_a_request_or_told(fields: dict[str, Any]) -> None:
    try:
        text = orjson.dumps(fields)
    except TypeError:  # an integer beyond 64 bits, half a character
        return
    (found,) = requests([text], CHAT)
    assert isinstance(found, LineError)
