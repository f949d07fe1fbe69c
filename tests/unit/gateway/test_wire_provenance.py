"""A thread that several models took part in is valid for whichever is asked next."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.call.providers.provenance import NO_RESULT, ORPHAN, source_of, strip_foreign
from gateway.call.providers.wire import Provider

USER = {"role": "user", "content": "hi"}


def call(number: Any, name: str = "look") -> dict[str, Any]:
    return {"id": number, "type": "function", "function": {"name": name, "arguments": "{}"}}


def calls(*numbers: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [call(number) for number in numbers], **more}


def result(number: Any, content: Any = "42", **more: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": number, "content": content, **more}


def thought(provider: str, kind: str = "thinking") -> dict[str, Any]:
    return {"provider": provider, "type": kind, "thinking": "hm", "signature": "sig"}


@pytest.mark.parametrize("wire", ["openai", "anthropic", "gemini"])
def test_a_thread_with_nothing_to_change_is_the_very_same(wire: str) -> None:
    thread = [{"role": "system", "content": "s"}, USER, {"role": "assistant", "content": "hello"}, USER]
    assert strip_foreign(thread, wire) is thread


def test_a_whole_tool_loop_goes_to_openai_untouched() -> None:
    thread = [USER, calls("call_1", "call_2"), result("call_2"), result("call_1"), USER]
    assert strip_foreign(thread, "openai") is thread


@pytest.mark.parametrize("target", ["openai", "anthropic", "gemini"])
def test_reasoning_of_another_provider_is_taken_out(target: str) -> None:
    said = {"role": "assistant", "content": "4", "reasoning_content": "hm", "reasoning_blocks": [thought("other")]}
    assert strip_foreign([USER, said], target) == [USER, {"role": "assistant", "content": "4"}]


def test_reasoning_of_its_own_stays_in_the_form_it_needs() -> None:
    said = {"role": "assistant", "content": "4", "reasoning_content": "hm", "reasoning_blocks": [thought("anthropic")]}
    kept = {"role": "assistant", "content": "4", "reasoning_blocks": [thought("anthropic")]}
    assert strip_foreign([said], "anthropic") == [kept]
    mixed = {**said, "reasoning_blocks": [thought("anthropic"), thought("minimax")]}
    assert strip_foreign([mixed], "minimax", wire="anthropic")[0]["reasoning_blocks"] == [thought("minimax")]
    told = {**said, "reasoning_blocks": [{"provider": "deepseek", "type": "reasoning"}]}
    sent = strip_foreign([told], "deepseek")
    assert sent == [{"role": "assistant", "content": "4", "reasoning_content": "hm"}]


def test_reasoning_that_nobody_marked_goes_only_where_it_is_taken() -> None:
    said = {"role": "assistant", "content": "4", "reasoning_content": "hm"}
    assert strip_foreign([said], "deepseek") == [said]
    assert strip_foreign([said], "groq", keep_untagged=False) == [{"role": "assistant", "content": "4"}]


def test_a_strict_provider_sees_only_what_all_know() -> None:
    said = {"role": "assistant", "content": "4", "refusal": None, "annotations": [], "audio": None, "tool_calls": []}
    assert strip_foreign([said], "groq", strict=True) == [{"role": "assistant", "content": "4"}]
    assert strip_foreign([said], "openai") == [{key: said[key] for key in said if key != "tool_calls"}]


def test_a_call_without_a_result_gets_one() -> None:
    thread = strip_foreign([USER, calls("a", "b"), result("a"), USER], "openai")
    assert thread == [USER, calls("a", "b"), result("a"), result("b", NO_RESULT), USER]
    assert strip_foreign([USER, calls("a")], "openai")[-1] == result("a", NO_RESULT)


def test_a_result_without_a_call_becomes_text() -> None:
    thread = strip_foreign([USER, result("gone", "42", name="look"), USER], "openai")
    assert thread == [USER, {"role": "user", "content": f"{ORPHAN} (look):\n42"}, USER]
    late = strip_foreign([USER, calls("a"), USER, result("a", "late")], "openai")
    assert [message["role"] for message in late] == ["user", "assistant", "tool", "user", "user"]
    twice = strip_foreign([calls("a"), result("a", "one"), result("a", "two")], "openai")
    assert [message["role"] for message in twice] == ["assistant", "tool", "user"]


def test_ids_become_valid_and_stay_in_step() -> None:
    thread = strip_foreign([calls("functions.look:0"), result("functions.look:0")], "anthropic")
    made = thread[0]["tool_calls"][0]["id"]
    assert re.fullmatch(r"[A-Za-z0-9_-]+", made)
    assert thread[1]["tool_call_id"] == made
    again = strip_foreign([calls("functions.look:0"), result("functions.look:0")], "anthropic")
    assert again == thread, "the same every time, or no prompt cache would ever hit"


def test_an_id_used_in_two_turns_is_told_apart_for_anthropic() -> None:
    thread = strip_foreign(
        [calls("call_0"), result("call_0", "1"), calls("call_0"), result("call_0", "2")], "anthropic"
    )
    first, second = thread[0]["tool_calls"][0]["id"], thread[2]["tool_calls"][0]["id"]
    assert first == "call_0"
    assert second != first
    assert (thread[1]["tool_call_id"], thread[3]["tool_call_id"]) == (first, second)


def test_an_id_that_is_too_long_is_shortened_where_it_must_be() -> None:
    number = "chatcmpl-tool-" + "a" * 32
    thread = [calls(number), result(number)]
    assert strip_foreign(thread, "vllm") is thread
    short = strip_foreign(thread, "openai", longest_id=40)
    assert len(short[0]["tool_calls"][0]["id"]) <= 40
    assert short[1]["tool_call_id"] == short[0]["tool_calls"][0]["id"]


def test_pictures_and_errors_of_tools_reach_openai_as_it_knows_them() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    thread = [calls("a", "b"), result("a", [{"type": "text", "text": "see"}, picture]), result("b", "x", is_error=True)]
    sent = strip_foreign(thread, "openai")
    assert sent[1] == result("a", "see")
    assert sent[2] == result("b", "Error: x")
    assert sent[3] == {"role": "user", "content": [picture]}
    assert strip_foreign(thread, "anthropic")[1:] == thread[1:]


def test_functions_of_the_older_api_become_tools() -> None:
    asked = {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": "{}"}}
    thread = strip_foreign([USER, asked, {"role": "function", "name": "look", "content": "42"}], "anthropic")
    assert thread[2]["role"] == "tool"
    assert thread[2]["tool_call_id"] == thread[1]["tool_calls"][0]["id"]
    untouched = [USER, asked]
    assert strip_foreign(untouched, "openai") is untouched


def test_the_same_company_is_one_source_under_every_name() -> None:
    def named(name: str, url: str) -> str:
        return source_of(Provider(name, "anthropic", url))

    assert (
        named("claude-eu", "https://api.anthropic.com/v1") == named("work", "https://api.anthropic.com") == "anthropic"
    )
    assert named("minimax", "https://api.minimax.example/anthropic") == "minimax"


IDS = st.sampled_from(["a", "b", "call:1", "", None, "x" * 70])
MESSAGES = st.one_of(
    st.just(USER),
    st.just({"role": "assistant", "content": "ok", "reasoning_content": "hm"}),
    st.builds(lambda numbers: calls(*numbers), st.lists(IDS, min_size=1, max_size=3)),
    st.builds(
        lambda numbers, who: calls(*numbers, reasoning_blocks=[thought(who)]),
        st.lists(IDS, min_size=1, max_size=2),
        st.sampled_from(["anthropic", "gemini", "deepseek"]),
    ),
    st.builds(result, IDS),
    st.builds(lambda number: result(number, "bad", is_error=True), IDS),
    st.just({"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}),
    st.just({"role": "function", "name": "f", "content": "1"}),
    st.just("not a message"),
)


@given(st.lists(MESSAGES, max_size=12), st.sampled_from(["anthropic", "gemini", "openai", "deepseek"]))
def test_no_thread_is_ever_bricked(thread: list[Any], target: str) -> None:
    sent = strip_foreign(thread, target)
    waiting: list[str] = []
    seen: set[str] = set()
    for message in sent:
        if not isinstance(message, dict):
            continue
        if message["role"] == "tool":
            assert message["tool_call_id"] in waiting, "every result follows its call"
            waiting.remove(message["tool_call_id"])
            continue
        assert not waiting, "every call has its result before anything else"
        waiting = [one["id"] for one in message.get("tool_calls") or ()]
        assert all(isinstance(number, str) and number for number in waiting)
        if target == "anthropic":
            assert all(re.fullmatch(r"[A-Za-z0-9_-]+", number) for number in waiting)
            assert not seen & set(waiting), "no id twice in a thread"
            assert len(set(waiting)) == len(waiting)
            seen |= set(waiting)
        assert all(block["provider"] == target for block in message.get("reasoning_blocks") or ())
    assert not waiting
    assert strip_foreign(sent, target) == sent, "doing it again changes nothing"
