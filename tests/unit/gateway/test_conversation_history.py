"""What was said, in turns: continued by what is new, shortened by whole turns, calls and results never parted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.call.history import awaited, call_ids, count_messages, fit, head_length, joined, turns
from store.errors import InvalidValue

Messages = list[dict[str, Any]]


def user(text: str = "go on") -> dict[str, Any]:
    return {"role": "user", "content": text}


def says(text: str = "well") -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def calls(*ids: str) -> dict[str, Any]:
    made = [{"id": one, "type": "function", "function": {"name": "look", "arguments": "{}"}} for one in ids]
    return {"role": "assistant", "content": None, "tool_calls": made}


def result(of: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": of, "content": "found"}


SYSTEM = {"role": "system", "content": "Be brief."}
LONG: Messages = [
    SYSTEM, user("one"), says(), user("two"), calls("a", "b"), result("a"), result("b"), says(), user("three"), says(),
]  # fmt: skip


@st.composite
def histories(draw: st.DrawFn) -> Messages:
    """Histories as clients make them: several results, several users in a row, calls without a result, odd places."""
    said: Messages = [SYSTEM] * draw(st.integers(0, 2))
    if draw(st.booleans()):
        said.append(says("hello"))
    # Some local models count their calls from 0 in every turn.
    reused = draw(st.booleans())
    number = 0
    for _ in range(draw(st.integers(0, 5))):
        said += [user("x" * draw(st.integers(0, 30)))] * draw(st.integers(1, 2))
        if draw(st.integers(0, 9)) == 0:
            said.append({"role": "system", "content": "From now on in French."})
        for _ in range(draw(st.integers(0, 3))):
            ids = [f"c{place if reused else number + place}" for place in range(draw(st.integers(1, 3)))]
            number += len(ids)
            said.append(calls(*ids))
            answered = draw(st.permutations(ids))[: draw(st.integers(0, len(ids)))]
            said += [result(one) for one in (ids if draw(st.booleans()) else answered)]
        if draw(st.booleans()):
            said.append(says("y" * draw(st.integers(0, 30))))
    return said


def length(messages: Sequence[Any]) -> int:
    return sum(10 + len(one.get("content") or "") for one in messages)


def pairs(messages: Sequence[Any]) -> list[tuple[int, int]]:
    """Each result with the last call of its id before it, as places of the objects."""
    found = []
    for at, message in enumerate(messages):
        if message["role"] == "tool":
            before = [place for place in range(at) if message["tool_call_id"] in call_ids(messages[place])]
            if before:
                found.append((id(messages[before[-1]]), id(message)))
    return found


def test_turns_begin_where_a_user_speaks_after_an_answer() -> None:
    assert turns(LONG) == [1, 3, 8]
    assert turns([SYSTEM]) == []
    assert turns([says("hello"), user(), user(), says()]) == [0, 1]
    assert turns([user(), user(), calls("a"), result("a"), says()]) == [0]
    assert turns([user(), says(), {"role": "developer", "content": "x"}, user(), says()]) == [0, 2]
    # A result that comes after the user has spoken again still has its call beside it.
    assert turns([user(), calls("a"), user("wait"), result("a"), says(), user()]) == [0, 5]


def test_a_tool_is_awaited_until_its_last_result() -> None:
    assert awaited([user(), calls("a", "b")]) == {"a", "b"}
    assert awaited([user(), calls("a", "b"), result("a")]) == {"b"}
    assert awaited([user(), calls("a"), result("a")]) == set()
    assert awaited([user(), calls("a"), user("never mind")]) == set()
    assert awaited([user(), says()]) == set()
    assert awaited([]) == set()


def test_too_long_loses_its_oldest_turns_whole() -> None:
    assert fit(LONG, length(LONG), length) == LONG
    assert fit(LONG, length(LONG) - 1, length) == [SYSTEM, *LONG[3:]]
    assert fit(LONG, length([SYSTEM, *LONG[3:]]) - 1, length) == [SYSTEM, *LONG[8:]]
    # The last turn and the instructions stay, whatever there is room for.
    assert fit(LONG, 0, length) == [SYSTEM, *LONG[8:]]
    assert fit([SYSTEM, user("x" * 500)], 3, length) == [SYSTEM, user("x" * 500)]
    assert fit([], 0, length) == []


def test_tokens_are_counted_as_everywhere() -> None:
    assert fit(LONG, count_messages(LONG)) == LONG
    assert fit(LONG, count_messages(LONG) // 2) == [SYSTEM, *LONG[8:]]
    assert count_messages([SYSTEM]) + count_messages([user()]) == count_messages([SYSTEM, user()])


@given(histories(), st.integers(0, 600))
def test_pairs_are_never_split_and_nothing_is_reordered(messages: Messages, tokens: int) -> None:
    # Each its own object, so that places can be compared.
    messages = [dict(one) for one in messages]
    kept = fit(messages, tokens, length)
    head = head_length(messages)
    assert kept[:head] == messages[:head]
    assert [id(one) for one in kept[head:]] == [id(one) for one in messages[len(messages) - len(kept) + head :]]
    there = {id(one) for one in kept}
    for call, answer in pairs(messages):
        assert (call in there) == (answer in there)
    begins = turns(messages)
    if length(kept) > tokens and begins:
        assert [id(one) for one in kept[head:]] == [id(one) for one in messages[begins[-1] :]]
    elif len(kept) < len(messages):
        dropped = len(messages) - len(kept) + head
        longer = messages[max(begin for begin in begins if begin < dropped) :]
        assert length([*messages[:head], *longer]) > tokens


@given(histories())
def test_turns_part_a_history_completely(messages: Messages) -> None:
    begins = turns(messages)
    assert begins == sorted(set(begins))
    assert not begins or begins[0] == head_length(messages)
    assert bool(begins) == (head_length(messages) < len(messages))


def test_what_is_new_follows_what_was_said() -> None:
    assert joined(LONG, [user("four")]) == [*LONG, user("four")]
    other = {"role": "developer", "content": "Be long."}
    assert joined(LONG, [other, user("four")]) == [other, *LONG[1:], user("four")]
    assert joined([], [SYSTEM, user()]) == [SYSTEM, user()]
    waiting = [user(), calls("a", "b")]
    assert joined(waiting, [result("b"), result("a")])[-1] == result("a")
    assert joined(waiting, [user("never mind")])[-1] == user("never mind")
    assert joined([user(), says()], [user(), calls("n"), result("n")])[-1] == result("n")


@pytest.mark.parametrize(
    "history, new, says_",
    [
        (LONG, [], "messages is empty"),
        (LONG, ["hello"], r"messages\[0\] is str, not a message"),
        (LONG, [user(), {"content": "x"}], r"messages\[1\] has the role None"),
        (LONG, [{"role": "robot", "content": "x"}], "the role 'robot'"),
        (LONG, [result("a")], r"the tool call 'a', which nobody waits for\. No call waits"),
        ([user(), calls("a")], [result("z")], r"'z', which nobody waits for\. Calls that wait for a result: a\."),
        ([user(), calls("a")], [result("a"), result("a")], "No call waits"),
    ],
)
def test_what_does_not_continue_it_is_refused(history: Messages, new: list[Any], says_: str) -> None:
    with pytest.raises(InvalidValue, match=says_) as caught:
        joined(history, new)
    assert caught.value.field is not None
    assert caught.value.field.startswith("messages")
