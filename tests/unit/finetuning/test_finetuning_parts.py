"""Examples cleaned, thinned, split, written: nothing personal stays, nothing counts twice, nobody is on both sides."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from gateway.improve.finetuning.chat_format import check_enough, epochs_for, line_of, problems_of, write
from gateway.improve.finetuning.duplicates import without_near_duplicates
from gateway.improve.finetuning.examples import Example
from gateway.improve.finetuning.personal import NAME, without_personal_data
from gateway.improve.finetuning.planning import suffix_of
from gateway.improve.finetuning.splitting import FEWEST_GROUPS, split
from gateway.improve.finetuning.tasks import Selection
from store.errors import InvalidValue


def example(number: int = 0, asked: str = "Hello", said: str = "Hi", **given: Any) -> Example:
    messages = ({"role": "user", "content": asked}, {"role": "assistant", "content": said})
    person = given.pop("person", f"u{number}")
    values: dict[str, Any] = {
        "call": f"{number:032x}",
        "at": datetime(2026, 11, 1) + timedelta(minutes=number),
        "workspace": "north",
        "person": person,
        "conversation": None,
        "group": f"north/{person}",
        "domain": "writing",
        "model": "simulated/large",
        "messages": messages,
        "tools": (),
        "score": 1.0,
        "source": "thumb",
    }
    return Example(**{**values, **given})


SECRET = "sk-proj-" + "a1B2c3D4e5F6g7H8i9J0" * 2


def test_personal_data_is_taken_out_of_every_message() -> None:
    asked = (
        "Hello Anna,\nmy name is Jörg van Dyck, write to jorg@example.org or +49 170 1234567. My card is "
        f"4111 1111 1111 1111, my account DE89 3704 0044 0532 0130 00, the server 203.0.113.9, the key {SECRET}."
    )
    said = "Dear Mr. van Dyck, Jörg and Anna may write to jorg@example.org.\n\nKind regards,\nMaria Lopez\n"
    made, removed = without_personal_data(example(asked=asked, said=said, person="jorg77"))
    text = json.dumps([dict(one) for one in made.messages], ensure_ascii=False)
    for personal in ("Anna", "Jörg", "Dyck", "jorg@", "170 12", "4111", "DE89", "203.0", SECRET, "Maria", "Lopez"):
        assert personal not in text
    assert NAME in text
    assert "may write to [e-mail address removed]" in text
    assert {"name", "e-mail address", "telephone number", "card number", "account number", "secret"} <= set(removed)
    assert removed["e-mail address"] == 2


@pytest.mark.parametrize(
    ("personal", "kind"),
    [
        ("078-05-1120", "social security number"),
        ("4111 1111 1111 1111", "card number"),
        ("GB29 NWBK 6016 1331 9268 19", "account number"),
        ("0170-1234567", "telephone number"),
        ("+1 415 555 2671", "telephone number"),
        ("(415) 555-2671", "telephone number"),
    ],
)
def test_numbers_of_a_person_are_known_by_their_shape(personal: str, kind: str) -> None:
    made, removed = without_personal_data(example(asked=f"It is {personal}, and 7.", said="Noted."))
    assert made.messages[0]["content"] == f"It is [{kind} removed], and 7."
    assert removed == {kind: 1}


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Sozialversicherungsnummer: 15 070649 C 103", "social security number"),
        ("my tax id 86095742719", "tax number"),
    ],
)
def test_some_are_known_by_what_stands_before_them(said: str, kind: str) -> None:
    made, removed = without_personal_data(example(asked=said, said="Noted."))
    assert f"[{kind} removed]" in made.messages[0]["content"]
    assert removed == {kind: 1}


@pytest.mark.parametrize(
    "harmless",
    [
        "def seconds(n): return n * 1234567890 + 1700000000  # order 12345678901",
        "uuid 123e4567-e89b-12d3-a456-426614174000, build 10.0.19045, invoice 2024-1234 of 03/04/2026, 94110",
        "Dear Customer,\nthe May forecast is 1,234,567 kWh in 2026-11-30.",
        "Hello World,\nversion 3.11.2 of Python will print 17 * 23 = 391.",
        "Dear Sir or Madam, order 123456789 is on its way. Will it rain in Paris?",
        "Hi there, the team of Support is in room 42.",
    ],
)
def test_what_is_nobodys_stays(harmless: str) -> None:
    made, removed = without_personal_data(example(asked=harmless, said=harmless))
    assert made.messages[0]["content"] == harmless
    assert not removed


def test_the_callers_own_name_and_arguments_of_tools_are_cleaned_too() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "mail", "arguments": '{"to": "ada@example.org"}'}}
    messages = (
        {"role": "user", "content": "Write to ada.lovelace for me.", "name": "ada"},
        {"role": "assistant", "tool_calls": [call]},
    )
    made, _ = without_personal_data(replace(example(person="ada.lovelace"), messages=messages))
    text = json.dumps([dict(one) for one in made.messages])
    assert "ada" not in text
    assert json.loads(made.messages[1]["tool_calls"][0]["function"]["arguments"]) == {"to": "[e-mail address removed]"}


def test_near_duplicates_are_one_and_the_best_stays() -> None:
    words = [f"word{number}" for number in range(60)]
    text = " ".join(words)
    near = " ".join([*words[:59], "another"])
    far = " ".join(words[:30] + [f"new{number}" for number in range(30)])
    given = [example(0, "Explain.", text), example(1, "Explain.", near), example(2, "Explain.", far)]
    kept, left_out = without_near_duplicates(given, 0.8)
    assert ([one.call for one in kept], left_out) == ([given[0].call, given[2].call], 1)
    # Short ones that differ are not the same, and the same ones are.
    short = [example(3, "2 + 2?", "4"), example(4, "2 + 3?", "5"), example(5, "2 + 2?", "4")]
    assert len(without_near_duplicates(short, 0.8)[0]) == 2


def test_a_person_is_on_one_side_alone() -> None:
    examples = [example(number, person=f"p{number % 40}") for number in range(200)]
    learned, held, apart = split(examples, 0.2, seed=1)
    assert "persons" in apart
    assert not {one.group for one in learned} & {one.group for one in held}
    assert len(learned) + len(held) == 200
    assert 40 <= len(held) <= 60
    assert len({one.group for one in held}) >= FEWEST_GROUPS
    assert split(examples, 0.2, seed=1)[1] == held
    assert split(examples, 0.2, seed=2)[1] != held


def test_one_loud_person_is_learned_from_and_few_are_split_by_conversation() -> None:
    loud = [example(number, person="loud") for number in range(100)]
    quiet = [example(100 + number, person=f"q{number}") for number in range(60)]
    _, held, _ = split([*loud, *quiet], 0.2, seed=1)
    assert "north/loud" not in {one.group for one in held}
    few = [example(number, person=f"p{number % 3}", conversation=f"c{number // 4}") for number in range(120)]
    learned, held, apart = split(few, 0.2, seed=1)
    assert "conversations" in apart
    assert not {one.conversation for one in learned} & {one.conversation for one in held}


def message(role: str, content: Any = "x", **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([message("user"), message("assistant")], None),
        (
            [message("system"), message("user"), message("assistant", weight=0), message("user"), message("assistant")],
            None,
        ),
        ([message("user"), message("assistant", None, tool_calls=[CALL])], None),
        (
            [message("user"), message("assistant", None, tool_calls=[CALL]), message("tool", tool_call_id="c1"),
             message("assistant")],
            None,
        ),
        ([message("user")], "two or more"),
        ([message("assistant"), message("user")], "last message"),
        ([message("system"), message("assistant")], "no message is the user's"),
        ([message("judge"), message("user"), message("assistant")], "the role 'judge'"),
        ([message("user", ""), message("assistant")], "has no content"),
        ([message("user", [{"type": "text"}]), message("assistant")], "no text"),
        ([message("user", weight=1), message("assistant")], "the weight 1"),
        ([message("user"), message("assistant", weight=2)], "the weight 2"),
        ([message("user"), message("assistant", weight=0)], "weight 0"),
        ([message("user"), message("tool", tool_call_id="c1"), message("assistant")], "nobody made"),
        ([message("user", mood="good"), message("assistant")], "a field 'mood'"),
        ([message("user"), message("assistant", None, tool_calls=[CALL]), message("assistant")], "is answered"),
    ],
)  # fmt: skip
def test_the_providers_rules_are_kept(messages: list[dict[str, Any]], problem: str | None) -> None:
    found = problems_of({"messages": messages})
    assert (found == []) if problem is None else any(problem in one for one in found), found


def test_a_file_holds_what_fits_and_enough_of_it() -> None:
    examples = [example(number, f"Question {number}", "word " * (10 if number else 500)) for number in range(12)]
    written = write(examples, longest=100)
    assert (len(written.examples), written.too_long) == (11, 1)
    lines = [json.loads(line) for line in written.content.splitlines()]
    assert [problems_of(line) for line in lines] == [[]] * 11
    assert written.tokens == sum(write([one], 100).tokens for one in written.examples)
    check_enough(written)
    with pytest.raises(InvalidValue, match="10 are the fewest"):
        check_enough(write(examples[:9], 10_000))
    broken = replace(examples[0], messages=({"role": "assistant", "content": "Hi"},))
    with pytest.raises(InvalidValue, match="makes no example"):
        write([broken], 100)
    assert set(line_of(replace(examples[0], tools=({"type": "function"},)))) == {"messages", "tools"}


def test_epochs_and_names_are_as_the_provider_has_them() -> None:
    assert [epochs_for(count) for count in (10, 33, 34, 500, 10_000)] == [10, 3, 3, 3, 2]
    assert suffix_of("tag:Support Mails!") == "tag-support-mails"
    assert suffix_of("…") == "tuned"
    assert len(suffix_of("x" * 99)) == 40


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"task": "creativ"}, "task"),
        ({"task": "any", "days": 0}, "days"),
        ({"task": "any", "min_score": 0.2}, "min_score"),
        ({"task": "any", "unjudged": 1.1}, "unjudged"),
        ({"task": "any", "validation": 0.9}, "validation"),
    ],
)
def test_a_selection_that_cannot_be_is_refused(values: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        Selection(**values)
    assert raised.value.field == field


def test_kinds_of_task_are_domains_or_tags() -> None:
    assert Selection(task="creative").domains == {"writing", "translation"}
    assert Selection(task="math").domains == {"math"}
    tagged = Selection(task="tag:support")
    assert (tagged.tag, "math" in tagged.domains) == ("support", True)
