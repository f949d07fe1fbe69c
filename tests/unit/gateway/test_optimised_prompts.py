"""Prompts made shorter: what goes, what moves, and what stays byte for byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.account.tokens import count_prompt
from gateway.choose.catalogue import Model, Price
from gateway.improve.prompts.history import compacted
from gateway.improve.prompts.optimise import Options, optimise, optimise_text
from gateway.improve.prompts.ordering import stable_first
from gateway.improve.prompts.segments import protected, segments

RULES = "You are the assistant of an energy company. Never promise a date that is not on record."

# What must stay, as people write it; the second word of each never stands in prose.
words = st.text("abcdefgh", min_size=2, max_size=7)
prose = st.lists(words, min_size=3, max_size=14).map(lambda ws: " ".join(ws).capitalize() + ".")
blanks = st.sampled_from([" ", "  ", "   ", "\n", "\n\n", " \n\n\n\n", "  \n"])
# Fences within fences, and signs of line ends that are none, would be no block of theirs.
_NOT = "\ue000\ue001`~\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
odd = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters=_NOT), max_size=30)
data = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6, allow_nan=False) | odd,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
fenced = odd.map(lambda code: f"```python\ndef f():\n\n\n    return  1  # {code}\n\n```")
inline = st.text("abc  =+()'\"", min_size=1, max_size=15).filter(str.strip).map(lambda code: f"`x {code} y`")
quoted = st.tuples(st.sampled_from(["“”", "«»", '""', "「」"]), st.text("abc   .\n", max_size=20)).map(
    lambda pair: f"{pair[0][0]}{pair[1]}{pair[0][1]}"
)
as_json = st.tuples(st.dictionaries(words, data, min_size=1, max_size=3), st.sampled_from([None, 2])).map(
    lambda pair: json.dumps(pair[0], indent=pair[1], ensure_ascii=False)
)
numbers = st.floats(0, 1e9, allow_nan=False).map(lambda value: f"€{value:,.2f}") | st.dates().map(str)
addresses = words.map(lambda word: f"https://example.org/{word}?q={word}&n=1")
tables = st.lists(st.tuples(words, words), min_size=2, max_size=4).map(
    lambda rows: "\n".join(f"| {one}   |  {two} |" for one, two in rows)
)
csv = st.lists(st.tuples(words, words, words), min_size=2, max_size=4).map(
    lambda rows: "\n".join(f"{one},  {two},{three}  " for one, two, three in rows)
)
markup = words.map(lambda word: f"<doc id='{word}'>\n\n\n  {word}   {word}  \n</doc>")
blocks = fenced | as_json | tables | csv | markup
spans = inline | quoted | numbers | addresses


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, list[str]]:
    """A text, and the pieces in it that must stay."""
    pieces: list[str] = []
    made: list[str] = []
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.integers(0, 3))
        if kind == 0:
            piece = draw(blocks)
            pieces.append(piece)
            made.append(f"\n\n{piece}\n\n")
        elif kind == 1:
            piece = draw(spans)
            pieces.append(piece)
            made.append(f"{draw(words)} {piece} {draw(words)}{draw(blanks)}")
        else:
            # Sentences are drawn from few, so that some stand there twice.
            made.append(draw(st.sampled_from([RULES, "Be polite and brief at all times."]) | prose) + draw(blanks))
    return "".join(made), pieces


@settings(max_examples=150, deadline=None)
@given(texts(), st.sampled_from(["system", "user", "assistant"]), st.booleans())
def test_code_quotes_and_data_stay_byte_for_byte(given_: tuple[str, list[str]], role: str, compact: bool) -> None:
    text, pieces = given_
    body = {"model": "auto", "messages": [{"role": role, "content": text}, {"role": "user", "content": "Go on"}]}
    found = optimise(body, Options(history=1 if compact else None))
    left = found.body["messages"][0]["content"]
    for piece in pieces:
        assert left.count(piece) >= pieces.count(piece), (piece, left)
    # Nothing that counts as kept is lost, altered or new; order may move whole paragraphs of instructions.
    assert sorted(protected(left)) == sorted(protected(text))
    assert found.tokens_after <= found.tokens_before
    assert found.tokens_before - found.tokens_after == pytest.approx(sum(one.tokens for one in found.changes), abs=4)
    assert optimise(found.body).tokens_after <= found.tokens_after


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_pieces_joined_are_the_text_whatever_it_is(text: str) -> None:
    assert "".join(piece.text for piece in segments(text)) == text
    shorter, found = optimise_text(text)
    assert found.tokens_after <= found.tokens_before
    # Words stay words: nothing but blanks, and sentences that stood before, can go.
    assert set(shorter.split()) <= set(text.split())


def test_blanks_that_mean_nothing_go() -> None:
    text, found = optimise_text("\n\nBe   polite and    brief.   \n\n\n\n\nNever guess what   a contract says.   \n\n")
    assert text == "Be polite and brief.\n\nNever guess what a contract says."
    assert [one.what for one in found.changes] == ["blanks"]
    assert found.tokens_before - found.tokens_after == found.changes[0].tokens > 0


def test_lists_code_without_a_fence_and_columns_keep_their_blanks() -> None:
    for text in (
        "- first\n  - second\n  - third",
        "name   amount\nAda       12\nGrace      7",
        "if x:\n    a = 1\n\n\n    b  =  2",
        "Rate of  $a  +  b$ here",
        "> a  quoted   line",
    ):
        assert optimise_text(text)[0] == text


def test_what_stands_before_goes_and_the_change_says_where() -> None:
    body = {
        "messages": [
            {"role": "system", "content": f"{RULES} Be polite and brief.\n{RULES}"},
            {"role": "user", "content": "Hello"},
            {"role": "system", "content": f"Be polite and brief. Answer in Dutch.\n\n{RULES}"},
        ]
    }
    found = optimise(body)
    assert found.body["messages"][0]["content"] == f"{RULES} Be polite and brief."
    assert found.body["messages"][2]["content"] == "Answer in Dutch."
    assert [(one.what, one.message) for one in found.changes] == [("repeats", 0), ("repeats", 2)]
    assert "in message 1" in found.changes[1].words
    assert found.tokens_after == count_prompt(found.body)


def test_what_users_repeat_stays_unless_it_is_a_whole_passage() -> None:
    chorus = "The cat sat on the mat. The cat sat on the mat. The cat sat on the mat."
    context = " ".join(f"The {word} of the plant is checked by the operator in the morning." for word in
                       ("boiler", "turbine", "stack", "pump", "valve", "gauge"))  # fmt: skip
    body = {
        "messages": [
            {"role": "user", "content": chorus},
            {"role": "user", "content": f"{context}\n\nWhat is checked first?"},
            {"role": "assistant", "content": "The boiler."},
            {"role": "user", "content": f"{context}\n\nAnd what is checked last?"},
        ]
    }
    found = optimise(body)
    assert found.body["messages"][0]["content"] == chorus
    assert found.body["messages"][3]["content"] == "And what is checked last?"
    assert found.changes[0].message == 3


def test_a_question_asked_again_word_for_word_is_never_emptied() -> None:
    question = "Please tell me in your own words what the operator of the plant checks in the morning. " * 4
    body = {"messages": [{"role": "user", "content": question}, {"role": "user", "content": question}]}
    assert optimise(body).body["messages"][1]["content"].strip() == question.strip()


def test_repeated_passages_with_data_go_only_where_it_is_asked_for() -> None:
    rule = "Meters older than 12 years are read by hand."
    text = f"{rule} Be polite and brief.\n{rule}"
    assert optimise_text(text)[0] == text
    shorter, _ = optimise_text(text, Options(repeated_data=True))
    assert shorter == f"{rule} Be polite and brief."


def test_old_answers_are_compacted_only_where_it_is_asked_for() -> None:
    answer = (
        "Heat pumps save energy. They are quiet and they need little room in most houses. Many people like them a lot. "
        "The unit costs €12,400 with fitting. Nobody knows what electricity will cost in ten years, of course. "
        "Use `mode = eco` at night. There is much more that could be said of it. Ask an installer."
    )
    body = {"messages": [{"role": "user", "content": "Tell me"}, {"role": "assistant", "content": answer},
                         {"role": "user", "content": "And now?"}]}  # fmt: skip
    assert optimise(body).body == body
    found = optimise(body, Options(history=1))
    left = found.body["messages"][1]["content"]
    kept = ["Heat pumps save energy.", "The unit costs €12,400 with fitting.", "Use `mode = eco` at night."]
    assert left == " … ".join([*kept, "Ask an installer."])
    assert found.changes[0].what == "history"
    assert optimise(body, Options(history=2)).body == body
    assert compacted("Short.") == "Short."


def test_what_changes_moves_behind_what_is_the_same() -> None:
    text = f"Today is 2026-11-30 09:15.\n\n{RULES}\n\n```\na\n\n\nb\n```"
    ordered, moved = stable_first(text)
    assert ordered == f"{RULES}\n\n```\na\n\n\nb\n```\n\nToday is 2026-11-30 09:15."
    assert moved == ["Today is 2026-11-30 09:15."]
    _, found = optimise_text(text)
    assert found.stable_before == 0
    assert found.stable_after > 20
    assert found.changes[-1].what == "order"
    assert optimise_text(text, Options(order=False))[0] == text
    assert stable_first(f"{RULES}\n\nThe time matters: be brief.") == (f"{RULES}\n\nThe time matters: be brief.", [])


def test_what_is_no_text_of_a_message_stays() -> None:
    tool = {"role": "tool", "tool_call_id": "1", "content": "a   b\n\n\n\nc"}
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    body: dict[str, Any] = {
        "model": "auto",
        "temperature": 0.2,
        "tools": [{"type": "function", "function": {"name": "f", "description": "a   b"}}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "What   is   this?"}, image]},
            tool,
            "not a message",
        ],
    }
    found = optimise(body).body
    assert found["messages"][0]["content"] == [{"type": "text", "text": "What is this?"}, image]
    assert found["messages"][1:] == [tool, "not a message"]
    assert {name: found[name] for name in ("model", "temperature", "tools")} == {
        name: body[name] for name in ("model", "temperature", "tools")
    }
    assert optimise({"messages": 7}).body == {"messages": 7}


def test_costs_are_told_for_each_model_and_with_the_cache_of_its_provider() -> None:
    models = [
        Model("a/large", "a", "large", price=Price(3_000, 15_000, cached=300)),
        Model("b/small", "b", "small", price=Price(100, 400)),
        Model("c/embed", "c", "embed", kind="embeddings", price=Price(20, 0)),
    ]
    _, found = optimise_text(f"{RULES}\n\n{RULES}")
    rows = found.costs(models)
    assert [row["model"] for row in rows] == ["a/large", "b/small"]
    assert rows[0]["before"] == pytest.approx(found.tokens_before * 3e-6)
    assert rows[0]["after"] == pytest.approx(found.tokens_after * 3e-6)
    assert rows[0]["after_cached"] < rows[0]["after"]
    assert rows[1]["after_cached"] == rows[1]["after"]  # it charges the same for what it knows
