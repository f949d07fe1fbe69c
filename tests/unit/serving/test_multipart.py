"""Forms with files: read alike however they arrive, and no form that is not sound passes."""

from __future__ import annotations

import itertools
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.multipart import End, Head, Multipart
from store.errors import InvalidValue

BOUNDARY = b"X-b"
TYPE = b"multipart/form-data; boundary=X-b"


def form(*parts: tuple[bytes, bytes], boundary: bytes = BOUNDARY) -> bytes:
    """(head, content) of each part."""
    said = b"".join(b"--" + boundary + b"\r\n" + head + b"\r\n\r\n" + content + b"\r\n" for head, content in parts)
    return said + b"--" + boundary + b"--\r\n"


def named(name: bytes) -> bytes:
    return b'Content-Disposition: form-data; name="' + name + b'"'


def parse(pieces: list[bytes], content_type: bytes = TYPE) -> list[tuple[str, str | None, bytes]]:
    """(name, filename, content) of every part."""
    reader = Multipart(content_type)
    found: list[tuple[str, str | None, bytes]] = []
    for piece in pieces:
        for event in reader.feed(piece):
            if isinstance(event, Head):
                found.append((event.name, event.filename, b""))
            elif not isinstance(event, End):
                name, filename, before = found[-1]
                found[-1] = name, filename, before + event
    reader.finish()
    return found


CONTENT = st.one_of(
    st.binary(max_size=40),
    # What looks like a boundary and is none.
    st.lists(st.sampled_from([b"\r", b"\n", b"-", b"--X-", b"\r\n--X-", b"\r\n--X", b"--X-b", b"x"]), max_size=8).map(
        b"".join
    ),
).filter(lambda content: b"\r\n--X-b" not in b"\r\n" + content)


@given(st.lists(CONTENT, max_size=4), st.lists(st.integers(0, 400), max_size=12))
def test_a_form_is_read_alike_however_it_arrives(contents: list[bytes], cuts: list[int]) -> None:
    whole = b"preamble\r\n" * (len(cuts) % 2) + form(*((named(b"f%d" % n), one) for n, one in enumerate(contents)))
    places = sorted({0, len(whole), *(cut % (len(whole) + 1) for cut in cuts)})
    pieces = [whole[start:end] for start, end in itertools.pairwise(places)]
    assert parse(pieces) == [(f"f{number}", None, content) for number, content in enumerate(contents)]
    assert parse([bytes([byte]) for byte in whole]) == parse([whole])


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=4))
def test_whatever_arrives_is_read_or_refused(data: bytes, cuts: list[int]) -> None:
    whole = b"--X-b\r\n" + data
    places = sorted({0, len(whole), *(cut % (len(whole) + 1) for cut in cuts)})
    with suppress(InvalidValue):
        parse([whole[start:end] for start, end in itertools.pairwise(places)])


def test_a_form_cut_off_anywhere_is_refused() -> None:
    whole = form((named(b"file"), b"words"))
    for length in range(len(whole) - 2):
        with pytest.raises(InvalidValue, match=r"cut off|beside"):
            parse([whole[:length]])


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b'Content-Disposition: form-data; name="a"; filename="b.jsonl"', ("a", "b.jsonl")),
        (b"content-disposition:form-data;name=a;filename=b", ("a", "b")),
        (b'Content-Type: text/plain\r\nContent-Disposition: form-data; filename="b"; name="a"', ("a", "b")),
        (b'Content-Disposition: form-data; name="a"; filename="q\\"\\\\.txt"', ("a", 'q"\\.txt')),
        (b'Content-Disposition: form-data; name="a"; filename="q%22.txt"', ("a", 'q".txt')),
        ('Content-Disposition: form-data; name="a"; filename="ü.txt"'.encode(), ("a", "ü.txt")),
        (b'Content-Disposition: form-data; name="a"; filename="x"; filename*=UTF-8\'\'%C3%BC', ("a", "ü")),
        (b'Content-Disposition: form-data; name="expires_after[seconds]"', ("expires_after[seconds]", None)),
        (b'Content-Disposition: form-data; name="a"; filename=""', ("a", "")),
    ],
)
def test_names_are_understood(head: bytes, expected: tuple[str, str | None]) -> None:
    assert [one[:2] for one in parse([form((head, b"x"))])] == [expected]


@pytest.mark.parametrize(
    "content_type",
    [b"", b"application/json", b"multipart/form-data", b"multipart/mixed; boundary=a",
     b"multipart/form-data; boundary=" + b"x" * 71],
)  # fmt: skip
def test_another_type_is_refused(content_type: bytes) -> None:
    with pytest.raises(InvalidValue) as caught:
        Multipart(content_type)
    assert caught.value.field == "Content-Type"


def test_a_quoted_boundary_is_one() -> None:
    assert parse([form((named(b"a"), b"1"), boundary=b"a b")], b'multipart/form-data; boundary="a b"') == [
        ("a", None, b"1")
    ]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"--X-b\r\n\r\n\r\nwords\r\n--X-b--", "no name"),
        (b"--X-b\r\nContent-Disposition: attachment; name=a\r\n\r\nwords\r\n--X-b--", "no name"),
        (b"--X-b\r\nA: " + b"x" * 20_000, "too long"),
        (b"--X-bad\r\n", "beside"),
        (form(*[(named(b"a"), b"")] * 65), "more than 64"),
    ],
)
def test_what_is_not_sound_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(InvalidValue, match=reason):
        parse([body])


def test_little_is_kept_of_a_large_file() -> None:
    reader = Multipart(TYPE)
    list(reader.feed(form((named(b"file"), b""))[:-13]))
    list(reader.feed(b"--X-b\r\n" + named(b"file") + b"\r\n\r\n"))
    for _ in range(100):
        assert sum(len(one) for one in reader.feed(b"\r" * 65_536) if isinstance(one, bytes)) > 65_000
        assert len(reader._waiting) < 100
