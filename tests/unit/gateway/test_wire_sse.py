"""Server-sent events come out the same however the network cuts them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.call.providers.sse import Event, EventParser, EventTooLarge


def parse(raw: bytes, cuts: list[int] | None = None, max_bytes: int = 1024 * 1024) -> list[Event]:
    parser = EventParser(max_bytes)
    events: list[Event] = []
    places = [0, *sorted(cuts or []), len(raw)]
    for start, end in itertools.pairwise(places):
        events.extend(parser.feed(raw[start:end]))
    return events + parser.close()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"data: a\n\n", [("", b"a")]),
        (b"data:a\n\n", [("", b"a")]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [("", b"a"), ("", b"b")]),
        (b"data: a\r\rdata: b\r\r", [("", b"a"), ("", b"b")]),
        (b"event: ping\ndata: {}\n\n", [("ping", b"{}")]),
        (b"data: {}\nevent: ping\n\n", [("ping", b"{}")]),
        (b"data: one\ndata: two\n\n", [("", b"one\ntwo")]),
        (b": OPENROUTER PROCESSING\n\ndata: a\n\n", [("", b"a")]),
        (b": comment\ndata: a\n\n", [("", b"a")]),
        (b"\n\n\n\ndata: a\n\n\n\n", [("", b"a")]),
        (b"event: lonely\n\ndata: a\n\n", [("", b"a")]),
        (b"id: 7\nretry: 10\ndata: a\n\n", [("", b"a")]),
        (b"data\n\n", [("", b"")]),
        (b"data:  two spaces\n\n", [("", b" two spaces")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("", b"a")]),
        (b"data: a\n\ndata: [DONE]", [("", b"a"), ("", b"[DONE]")]),
        (b"data: a\n\ndata: [DONE]\n", [("", b"a"), ("", b"[DONE]")]),
        ("data: \u00e4\u20ac\U0001f600\n\n".encode(), [("", "\u00e4\u20ac\U0001f600".encode())]),
        (b"", []),
    ],
)
def test_events_are_read_as_the_standard_says(raw: bytes, expected: list[Event]) -> None:
    assert parse(raw) == expected
    assert parse(raw, list(range(len(raw)))) == expected, "byte by byte"


LINES = st.sampled_from(
    ['data: {"a":1}', "data: \u00e4\u20ac", "data:", "event: x", ": note", "", "", "id: 1", "data: [DONE]", "nonsense"]
)


@given(
    st.lists(LINES, max_size=25),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.data(),
)
def test_any_cut_of_the_bytes_gives_the_same_events(lines: list[str], ending: str, data: st.DataObject) -> None:
    raw = "".join(line + ending for line in lines).encode()
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=12))
    assert parse(raw, cuts) == parse(raw)


def test_an_event_without_end_is_refused_before_it_fills_the_memory() -> None:
    parser = EventParser(max_bytes=1000)
    assert not any(parser.feed(b"x" * 100) for _ in range(10))
    with pytest.raises(EventTooLarge):
        parser.feed(b"x")


def test_events_before_one_that_is_too_large_are_kept() -> None:
    parser = EventParser(max_bytes=100)
    assert parser.feed(b"data: a\n\ndata: " + b"x" * 200 + b"\n\n") == [("", b"a")]
    with pytest.raises(EventTooLarge):
        parser.feed(b"data: b\n\n")
    with pytest.raises(EventTooLarge):
        parser.close()
