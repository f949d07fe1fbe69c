"""The official clients of OpenAI and Anthropic against a running gateway: an application changes its base URL alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import anthropic
import openai
import pytest
from pydantic import BaseModel

ASK: Any = [{"role": "user", "content": "What is 17 * 23?"}]
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL: Any = {
    "type": "function",
    "function": {"name": "get_weather", "description": "The weather of a city", "parameters": WEATHER},
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
# Limits that leave one model, whatever is measured meanwhile.
ONE = {"capabilities": ["vision"], "providers": ["claude"], "max_cost": 0.05}
CHATS = ("simulated/medium", "claude/large", "gemini/large", "auto")


@dataclass
class Clients:
    asker: Any
    openai: openai.OpenAI
    anthropic: anthropic.Anthropic
    url: str

    def openai_async(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=self.asker.secret, max_retries=0)

    def anthropic_async(self) -> anthropic.AsyncAnthropic:
        return anthropic.AsyncAnthropic(base_url=self.url, api_key=self.asker.secret, max_retries=0)


@pytest.fixture
def clients(gateway: Any) -> Iterator[Clients]:
    asker = gateway.asker()
    with (
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=asker.secret, max_retries=0) as of_openai,
        anthropic.Anthropic(base_url=gateway.url, api_key=asker.secret, max_retries=0) as of_anthropic,
    ):
        yield Clients(asker, of_openai, of_anthropic, gateway.url)


@pytest.mark.parametrize("model", CHATS)
def test_openai_whole_and_streamed_say_the_same(clients: Clients, model: str, gateway: Any, simulator: Any) -> None:
    fields: Any = {"model": model, "messages": ASK, "max_tokens": 200, "seed": 1}
    if model == "auto":
        fields["extra_body"] = {"merit": ONE}
    whole = clients.openai.chat.completions.create(**fields)
    text = whole.choices[0].message.content
    assert text
    assert whole.choices[0].finish_reason == "stop"
    assert whole.usage is not None
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    merit = (whole.model_extra or {})["merit"]
    stream = clients.openai.chat.completions.create(**fields, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
    assert len(chunks) > 4
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert chunks[0].model_extra is not None
    assert chunks[0].model_extra["merit"]["model"] == merit["model"]
    assert all(chunk.usage is None for chunk in chunks[:-1])
    # Who did not ask for the usage gets no chunk without choices.
    assert all(chunk.choices for chunk in clients.openai.chat.completions.create(**fields, stream=True))
    raw = clients.openai.chat.completions.with_raw_response.create(**fields)
    assert raw.headers["x-merit-model"] == merit["model"]
    assert raw.headers["x-merit-id"] != merit["id"]
    assert gateway.spent(clients.asker.workspace) == simulator.spent()


def test_openai_asynchronously(clients: Clients, simulator: Any) -> None:
    async def ask() -> tuple[str | None, str]:
        async with clients.openai_async() as client:
            whole, stream = await asyncio.gather(
                client.chat.completions.create(model="simulated/small", messages=ASK),
                client.chat.completions.create(model="simulated/small", messages=ASK, stream=True),
            )
            return whole.choices[0].message.content, "".join(
                [chunk.choices[0].delta.content or "" async for chunk in stream]
            )

    whole, streamed = asyncio.run(ask())
    assert whole == streamed != ""


@pytest.mark.parametrize("model", ["simulated/large", "claude/large", "gemini/large"])
def test_openai_tools(clients: Clients, model: str, simulator: Any) -> None:
    messages: Any = [{"role": "user", "content": "What is the weather in Oslo? Use get_weather."}]
    first = clients.openai.chat.completions.create(model=model, messages=messages, tools=[TOOL], max_tokens=500)
    assert first.choices[0].finish_reason == "tool_calls"
    assert first.choices[0].message.tool_calls
    call: Any = first.choices[0].message.tool_calls[0]
    assert call.function.name == "get_weather"
    assert "city" in json.loads(call.function.arguments)
    # The same in pieces, put together by the client itself.
    with clients.openai.chat.completions.stream(
        model=model, messages=messages, tools=[TOOL], max_tokens=500
    ) as streamed:
        final = streamed.get_final_completion()
    assert final.choices[0].message.tool_calls
    streamed_call: Any = final.choices[0].message.tool_calls[0]
    assert streamed_call.function.arguments == call.function.arguments
    messages += [
        first.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "4 degrees and rain"},
    ]
    last = clients.openai.chat.completions.create(model=model, messages=messages, tools=[TOOL], max_tokens=500)
    assert "4 degrees and rain" in (last.choices[0].message.content or "")


class Sum(BaseModel):
    left: int
    right: int
    answer: int


@pytest.mark.parametrize("model", ["simulated/large", "gemini/large"])
def test_openai_json(clients: Clients, model: str, simulator: Any) -> None:
    asked: Any = [{"role": "user", "content": "What is 17 * 23? Answer in JSON."}]
    if model == "simulated/large":
        mode = clients.openai.chat.completions.create(
            model=model, messages=asked, response_format={"type": "json_object"}, max_tokens=500
        )
        assert isinstance(json.loads(mode.choices[0].message.content or ""), dict)
    parsed = clients.openai.chat.completions.parse(model=model, messages=asked, response_format=Sum, max_tokens=500)
    assert isinstance(parsed.choices[0].message.parsed, Sum)


def test_openai_embeddings(clients: Clients, gateway: Any, simulator: Any) -> None:
    texts = ["a river", "a mountain"]
    # The client asks for base64 unless told otherwise, and reads it.
    packed = clients.openai.embeddings.create(model="auto", input=texts)
    plain = clients.openai.embeddings.create(model="simulated/embed", input=texts, encoding_format="float")
    assert [one.index for one in packed.data] == [0, 1]
    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)
    short = clients.openai.embeddings.create(model="auto", input=texts, dimensions=8, encoding_format="float")
    assert [len(one.embedding) for one in short.data] == [8, 8]
    assert packed.usage.prompt_tokens > 0
    assert gateway.spent(clients.asker.workspace) == simulator.spent() > 0


@pytest.mark.parametrize("model", ["simulated/large", "claude/large", "gemini/large", "auto"])
def test_openai_images_go_through(clients: Clients, model: str, simulator: Any) -> None:
    def content(url: str) -> Any:
        parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
        return [{"role": "user", "content": parts}]

    seen = clients.openai.chat.completions.create(
        model=model, messages=content(f"data:image/png;base64,{PIXEL}"), max_tokens=100
    )
    assert seen.choices[0].message.content
    # The provider counted a picture.
    assert simulator.bill()["charges"][-1]["input"] > 256
    with pytest.raises(openai.UnprocessableEntityError, match="vision"):
        clients.openai.chat.completions.create(
            model="simulated/nano", messages=content(f"data:image/png;base64,{PIXEL}"), max_tokens=100
        )


def test_openai_models(clients: Clients) -> None:
    listed = {model.id for model in clients.openai.models.list()}
    assert {"auto", "ensemble/majority", "simulated/small", "claude/large"} <= listed
    assert clients.openai.models.retrieve("simulated/small").id == "simulated/small"


def test_openai_unknown_fields_pass_and_misspelt_ones_of_ours_do_not(clients: Clients, simulator: Any) -> None:
    fields: Any = {"model": "simulated/small", "messages": ASK}
    assert clients.openai.chat.completions.create(**fields, extra_body={"some_new_option": 3}).choices
    with pytest.raises(openai.UnprocessableEntityError, match="max_costs"):
        clients.openai.chat.completions.create(**fields, extra_body={"merit": {"max_costs": 1}})


def test_openai_errors_are_of_the_right_class(clients: Clients, gateway: Any, simulator: Any) -> None:
    create = clients.openai.chat.completions.create
    with pytest.raises(openai.NotFoundError) as unknown:
        create(model="simulated/smal", messages=ASK)
    assert unknown.value.code == "unknown_llm"
    assert unknown.value.type == "model_not_found"
    assert "simulated/small" in str(unknown.value)
    with (
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="merit_wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.chat.completions.create(model="auto", messages=ASK)
    with pytest.raises(openai.UnprocessableEntityError) as none:
        create(model="simulated/small", messages=ASK, extra_body={"merit": {"max_cost": 0.0000001}})
    assert "too dear" in str(none.value)
    simulator.fault("status", status=400, calls=1)
    with pytest.raises(openai.BadRequestError, match="refuses the request"):
        create(model="simulated/small", messages=ASK)
    simulator.fault("status", status=500)
    with pytest.raises(openai.InternalServerError):
        create(model="simulated/small", messages=ASK, extra_body={"merit": {"fallbacks": False}})
    simulator.faults()
    gateway.calm()
    gateway.budget(clients.asker, 1e-9)
    with pytest.raises(openai.APIStatusError) as broke:
        create(model="simulated/small", messages=ASK)
    assert broke.value.status_code == 402
    assert broke.value.type == "insufficient_quota"
    with pytest.raises(openai.APIStatusError) as broke:
        create(model="simulated/small", messages=ASK, stream=True)
    assert broke.value.status_code == 402


def test_openai_waits_as_long_as_it_is_told_to(gateway: Any, simulator: Any) -> None:
    asker = gateway.asker()
    simulator.fault("status", status=429, retry_after=2, calls=1, model="simulated/small")
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=asker.secret, max_retries=1) as client:
        # The gateway has no time to wait itself; the client comes back when it was told to.
        body = {"merit": {"timeout_s": 1.5}}
        answer = client.chat.completions.with_raw_response.create(
            model="simulated/small", messages=ASK, extra_body=body
        )
    assert answer.retries_taken == 1
    first, second = gateway.runs(asker.workspace)[::-1]
    assert (first["outcome"], second["outcome"]) == ("failed", "ok")
    asked = [line["at"] for line in (first, second)]
    assert asked[0] < asked[1]


def test_openai_is_told_its_rate(gateway: Any, simulator: Any) -> None:
    asker = gateway.asker(requests_per_minute=2)
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=asker.secret, max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(model="simulated/small", messages=ASK)
        assert raw.headers["x-ratelimit-remaining-requests"] == "1"
        client.chat.completions.create(model="simulated/small", messages=ASK)
        with pytest.raises(openai.RateLimitError) as limited:
            client.chat.completions.create(model="simulated/small", messages=ASK)
    assert 1 <= int(limited.value.response.headers["retry-after"]) <= 61
    assert simulator.bill()["count"] == 2


@pytest.mark.parametrize("model", CHATS)
def test_anthropic_whole_and_streamed_say_the_same(clients: Clients, model: str, gateway: Any, simulator: Any) -> None:
    fields: Any = {"model": model, "max_tokens": 200, "messages": ASK, "system": "Be exact."}
    if model == "auto":
        fields["extra_body"] = {"merit": ONE}
    whole = clients.anthropic.messages.create(**fields)
    assert whole.content[0].type == "text"
    assert whole.stop_reason == "end_turn"
    assert whole.usage.output_tokens > 0
    with clients.anthropic.messages.stream(**fields) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == whole.content[0].text
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens == whole.usage.output_tokens
    counted = clients.anthropic.messages.count_tokens(model=model, messages=ASK, system="Be exact.")
    assert counted.input_tokens == pytest.approx(whole.usage.input_tokens, abs=6)
    assert gateway.spent(clients.asker.workspace) == simulator.spent()


def test_anthropic_asynchronously(clients: Clients, simulator: Any) -> None:
    async def ask() -> tuple[str, str]:
        async with clients.anthropic_async() as client:
            fields: Any = {"model": "claude/small", "max_tokens": 200, "messages": ASK}
            whole = await client.messages.create(**fields)
            async with client.messages.stream(**fields) as stream:
                streamed = "".join([text async for text in stream.text_stream])
            return whole.content[0].text, streamed

    whole, streamed = asyncio.run(ask())
    assert whole == streamed != ""


@pytest.mark.parametrize("model", ["claude/large", "simulated/large", "gemini/large"])
def test_anthropic_tools_and_pictures(clients: Clients, model: str, simulator: Any) -> None:
    tool: Any = {"name": "get_weather", "description": "The weather of a city", "input_schema": WEATHER}
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    asked = {"type": "text", "text": "What is the weather in Oslo? Use get_weather."}
    messages: Any = [{"role": "user", "content": [picture, asked]}]
    first = clients.anthropic.messages.create(model=model, max_tokens=500, messages=messages, tools=[tool])
    assert first.stop_reason == "tool_use"
    call = next(block for block in first.content if block.type == "tool_use")
    assert call.name == "get_weather"
    assert simulator.bill()["charges"][-1]["input"] > 256
    with clients.anthropic.messages.stream(model=model, max_tokens=500, messages=messages, tools=[tool]) as stream:
        final = stream.get_final_message()
    assert [block.input for block in final.content if block.type == "tool_use"] == [call.input]
    messages += [
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in first.content]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "4 degrees"}]},
    ]
    last = clients.anthropic.messages.create(model=model, max_tokens=500, messages=messages, tools=[tool])
    assert last.stop_reason == "end_turn"
    assert any(block.type == "text" and "4 degrees" in block.text for block in last.content)


def test_anthropic_errors_are_of_the_right_class(clients: Clients, gateway: Any, simulator: Any) -> None:
    fields: Any = {"max_tokens": 100, "messages": ASK}
    with pytest.raises(anthropic.NotFoundError, match="claude/larg"):
        clients.anthropic.messages.create(model="claude/larg", **fields)
    with (
        anthropic.Anthropic(base_url=gateway.url, api_key="merit_wrong", max_retries=0) as stranger,
        pytest.raises(anthropic.AuthenticationError),
    ):
        stranger.messages.create(model="claude/large", **fields)
    with pytest.raises(anthropic.APIStatusError) as missing:
        clients.anthropic.messages.create(model="claude/large", max_tokens=100, messages=[])
    assert missing.value.status_code == 422
    simulator.fault("status", status=429, retry_after=50)
    with pytest.raises(anthropic.RateLimitError) as limited:
        clients.anthropic.messages.create(model="claude/large", **fields)
    assert 45 <= int(limited.value.response.headers["retry-after"]) <= 50
    simulator.faults()
    gateway.calm()
    gateway.budget(clients.asker, 1e-9)
    for stream in (False, True):
        with pytest.raises(anthropic.APIStatusError) as broke:
            clients.anthropic.messages.create(model="claude/large", stream=stream, **fields)
        assert broke.value.status_code == 402
        assert broke.value.body["type"] == "error"  # type: ignore[index,call-overload]
