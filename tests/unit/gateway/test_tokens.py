"""Offline token counts: exact where that is cheap, close where it is not, and never an error."""

from __future__ import annotations

import base64
import random
import struct
import warnings
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.account import tokens
from gateway.account.tokens import EXACT, count_prompt, count_text

PROSE = (
    "Power grids switch plants on in merit order: the cheapest plant that still meets demand goes first, and every "
    "morning the order is computed again from what was measured. Nobody pays for more than is needed.\n"
)
CODE = "def cost(usage: Usage) -> int:\n    return round(usage.input * 150.0 + usage.output * 600.0)\n\n\n"
CHINESE = "电网按照价格顺序启动发电厂，最便宜且仍能满足需求的电厂最先启动。"

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["type", "text", "content", "image_url", "input_audio", "file", "url", "tool_calls", "name"]
            )
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.fixture(autouse=True)
def _nothing_known() -> None:
    tokens._known.clear()


@cache
def _reference(encoding: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import bpe_openai

        return bpe_openai.get_encoding(encoding)


def _exact(text: str, encoding: str = "o200k_base") -> int:
    return len(_reference(encoding).encode(text, disallowed_special=()))


def _chat(*contents: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content} for content in contents]}


@pytest.mark.parametrize("text", ["hello", PROSE * 10, CODE * 30, CHINESE * 40, "🎉" * 50, " " * 900, "<|endoftext|>"])
def test_counts_are_those_of_the_encoding(text: str) -> None:
    assert len(text) <= EXACT
    assert count_text(text) == _exact(text)


def test_the_other_encoding() -> None:
    assert count_text(CHINESE, "cl100k_base") == _exact(CHINESE, "cl100k_base") != count_text(CHINESE)


@pytest.mark.parametrize("kind", [PROSE, CODE, CHINESE])
@pytest.mark.parametrize("length", [4_500, 9_000, 60_000])
def test_long_texts_of_one_kind_are_within_five_per_cent(kind: str, length: int) -> None:
    words = kind.split(" ") if " " in kind else list(kind)
    glue = " " if " " in kind else ""
    rng = random.Random(length)
    text = glue.join(rng.choice(words) for _ in range(length))[:length]
    assert count_text(text) == pytest.approx(_exact(text), rel=0.05)


def test_long_texts_of_many_kinds_are_right_on_average_and_within_ten_per_cent() -> None:
    rng = random.Random(5)
    ratios = []
    for _ in range(25):
        parts = [rng.choice([PROSE, CODE, CHINESE]) * rng.randint(20, 150) for _ in range(rng.randint(3, 12))]
        text = "\n".join(parts)
        ratios.append(count_text(text) / _exact(text))
    assert sum(ratios) / len(ratios) == pytest.approx(1, abs=0.02)
    assert all(0.9 < ratio < 1.1 for ratio in ratios)


def test_records_of_equal_length_do_not_fool_the_sample() -> None:
    record = '{"id": "0123456789", "note": "' + "a" * 200 + '"}, '
    text = record * 500
    assert count_text(text) == pytest.approx(_exact(text), rel=0.05)


def test_a_conversation_converges_to_the_exact_count_as_its_texts_become_known() -> None:
    body = _chat(*[f"{number}. " + PROSE * 8 for number in range(20)])
    exact = 3 + sum(3 + _exact(message["content"]) for message in body["messages"])
    first = count_prompt(body)
    for _ in range(20):
        last = count_prompt(body)
    assert last == exact
    assert first == pytest.approx(exact, rel=0.05)


def test_texts_are_not_remembered_only_their_hashes() -> None:
    count_text(PROSE * 5)
    assert tokens._known
    assert all(isinstance(one, int) for text_hash, length, _ in tokens._known for one in (text_hash, length))


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_MOST_KNOWN", 5)
    for number in range(50):
        count_text(f"{number}" + PROSE * 5)
    assert len(tokens._known) <= 5


def test_roles_tools_calls_and_schemas_count() -> None:
    plain = count_prompt(_chat("What is the weather in Bern?"))
    assert plain == 3 + 3 + count_text("What is the weather in Bern?")
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    assert count_prompt(_chat("What is the weather in Bern?") | {"tools": [tool]}) > plain + 10
    assert count_prompt(_chat("What is the weather in Bern?") | {"response_format": {"type": "json_object"}}) == plain
    schema = {"type": "json_schema", "json_schema": {"name": "weather", "schema": {"type": "object"}}}
    assert count_prompt(_chat("What is the weather in Bern?") | {"response_format": schema}) > plain
    call = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bern"}'}}
    called = {"messages": [{"role": "assistant", "content": None, "tool_calls": [call]}]}
    assert count_prompt(called) > 3 + 3 + count_text('{"city": "Bern"}')


@pytest.mark.parametrize(
    ("given", "expected"),
    [("hello", 1), (["hello", "hello"], 2), ([1, 2, 3], 3), ([[1, 2], [3]], 3), ([], 1), (None, 1)],
)
def test_embeddings(given: Any, expected: int) -> None:
    assert count_prompt({"input": given}, "embeddings") == expected


def _png(width: int, height: int) -> str:
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + struct.pack(">II", width, height) + b"\x08" * 20
    return "data:image/png;base64," + base64.b64encode(head).decode()


def _jpeg(width: int, height: int) -> str:
    application = b"\xff\xe0" + struct.pack(">H", 16) + b"JFIF\x00" + b"\x00" * 9
    frame = b"\xff\xc0" + struct.pack(">HBHH", 17, 8, height, width) + b"\x00" * 10
    return "data:image/jpeg;base64," + base64.b64encode(b"\xff\xd8" + application + frame).decode()


def _gif(width: int, height: int) -> str:
    return "data:image/gif;base64," + base64.b64encode(b"GIF89a" + struct.pack("<HH", width, height)).decode()


def _webp(width: int, height: int) -> str:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    data = b"RIFF\x00\x00\x00\x00WEBPVP8X" + b"\x00" * 8 + size
    return "data:image/webp;base64," + base64.b64encode(data).decode()


@pytest.mark.parametrize("image", [_png, _jpeg, _gif, _webp])
@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(100, 100, 255), (512, 512, 255), (1024, 1024, 765), (2048, 4096, 1105), (4000, 100, 765)],
)
def test_images_count_by_their_size(image: Any, width: int, height: int, expected: int) -> None:
    part = {"type": "image_url", "image_url": {"url": image(width, height)}}
    assert count_prompt(_chat([part])) == 3 + 3 + expected


@pytest.mark.parametrize(
    ("image_url", "expected"),
    [
        ({"url": "https://example.org/cat.png"}, 765),
        ({"url": "https://example.org/cat.png", "detail": "low"}, 85),
        ({"url": "data:image/png;base64,AAAA"}, 765),
        ({"url": "data:image/png;base64,=!?"}, 765),
        ("https://example.org/cat.png", 765),
        (None, 765),
    ],
)
def test_images_of_unknown_size(image_url: Any, expected: int) -> None:
    assert count_prompt(_chat([{"type": "image_url", "image_url": image_url}])) == 6 + expected


def test_the_bytes_of_an_image_are_not_counted_as_text() -> None:
    image = _png(100, 100) + "A" * 400_000
    assert count_prompt(_chat([{"type": "image_url", "image_url": {"url": image}}])) == 6 + 255


def test_recordings_count_by_their_length() -> None:
    second = b"RIFF\x00\x00\x00\x00WAVEfmt " + struct.pack("<IHHII", 16, 1, 1, 24_000, 48_000) + b"\x00" * 48_000
    part = {"type": "input_audio", "input_audio": {"data": base64.b64encode(second).decode(), "format": "wav"}}
    assert count_prompt(_chat([part])) - 6 == pytest.approx(32, abs=1)


def test_documents_count_by_their_size() -> None:
    def document(kind: str, size: int) -> dict[str, Any]:
        data = f"data:{kind};base64," + base64.b64encode(b"x" * size).decode()
        return {"type": "file", "file": {"filename": "a", "file_data": data}}

    assert count_prompt(_chat([document("text/plain", 4_000)])) - 6 == pytest.approx(1_000, rel=0.01)
    assert count_prompt(_chat([document("application/pdf", 100)])) - 6 == 1_500
    assert count_prompt(_chat([document("application/pdf", 500_000)])) - 6 == pytest.approx(20_000, rel=0.01)


@given(body=st.dictionaries(st.sampled_from(["messages", "tools", "input", "response_format"]), anything))
def test_nothing_raises_and_something_is_counted(body: dict[str, Any]) -> None:
    assert count_prompt(body) >= 1
    assert count_prompt(body, "embeddings") >= 1


@given(messages=st.lists(st.fixed_dictionaries({"role": st.text(max_size=5), "content": anything}), max_size=5))
def test_messages_of_any_content(messages: list[dict[str, Any]]) -> None:
    assert count_prompt({"messages": messages}) >= 1 + 3 * len(messages)


@given(text=st.text(alphabet=st.characters(), max_size=300))
def test_any_text_and_halves_of_characters(text: str) -> None:
    counted = count_text(text)
    assert 1 <= counted <= max(1, len(text.encode("utf-8", "surrogatepass")))
    assert count_text(text + "\ud800") >= 1


@given(first=st.text(max_size=200), second=st.text(max_size=200))
def test_a_longer_conversation_never_counts_less(first: str, second: str) -> None:
    assert count_prompt(_chat(first, second)) > count_prompt(_chat(first))
    assert count_prompt(_chat(first, second)) == count_prompt(_chat(second, first))


def test_lone_surrogates_hide_nothing() -> None:
    part = {"type": "other", "value": "\ud800" + PROSE * 10}
    assert count_prompt(_chat([part])) > _exact(PROSE * 10)
