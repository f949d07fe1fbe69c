"""The simulated provider as a server: the official clients talk to it, it fails as told, and bills who went away."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import anthropic
import httpcore
import httpx
import openai
import pytest

from serving.simulated_provider import create_app
from serving.simulator_control import control
from store.errors import SettingsError

QUESTION = "Write an article of about 80 words on battery storage. Cover running costs, legal duties and next steps."
ASK: dict[str, Any] = {"model": "medium", "messages": [{"role": "user", "content": QUESTION}]}
WEATHER: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


@pytest.fixture
def client(simulator: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=simulator.openai, api_key="none", max_retries=0, timeout=20) as made:
        yield made


@pytest.fixture
def claude(simulator: Any) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=simulator.url, api_key="none", max_retries=0, timeout=20) as made:
        yield made


def test_the_openai_client_chats_and_streams(client: openai.OpenAI, simulator: Any) -> None:
    whole = client.chat.completions.create(**ASK, extra_headers={"x-merit-call": "first"})
    assert "legal duties" in (whole.choices[0].message.content or "")
    assert whole.usage is not None
    stream = client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert len(chunks) > 40
    charges = simulator.bill()["charges"]
    assert [one["call"] for one in charges] == ["first", None]
    assert {(one["input"], one["output"]) for one in charges} == {
        (whole.usage.prompt_tokens, whole.usage.completion_tokens)
    }


def test_the_openai_client_gets_tools_json_and_models(client: openai.OpenAI) -> None:
    tools: Any = [{"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}]
    messages: list[Any] = [{"role": "user", "content": "What is the weather in Paris today?"}]
    called = client.chat.completions.create(model="large", messages=messages, tools=tools).choices[0]
    assert called.finish_reason == "tool_calls"
    assert called.message.tool_calls
    call: Any = called.message.tool_calls[0]
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    messages += [called.message, {"role": "tool", "tool_call_id": call.id, "content": "Sunny, 24 degrees"}]
    told = client.chat.completions.create(model="large", messages=messages, tools=tools).choices[0]
    assert "24 degrees" in (told.message.content or "")
    schema: Any = {"type": "json_schema", "json_schema": {"name": "place", "schema": WEATHER}}
    written = client.chat.completions.create(model="large", messages=messages[:1], response_format=schema)
    assert json.loads(written.choices[0].message.content or "") == {"city": "Paris"}
    names = {model.id for model in client.models.list()}
    assert names >= {"nano", "small", "medium", "large", "coder", "thinker", "vision", "embed", "local-small"}
    assert client.models.retrieve("nano").owned_by == "simulated"


def test_the_openai_client_gets_vectors(client: openai.OpenAI, simulator: Any) -> None:
    texts = ["How do I reset my password?", "how can I reset the password"]
    # The client asks for base64 by itself, and for numbers where it is told to.
    packed = client.embeddings.create(model="embed", input=texts)
    plain = client.embeddings.create(model="embed", input=texts, encoding_format="float")
    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)
    assert len(client.embeddings.create(model="embed", input="x", dimensions=64).data[0].embedding) == 64
    assert simulator.bill()["by_model"] == {"simulated/embed": simulator.spent()}


def test_the_local_models_are_at_an_address_of_their_own(simulator: Any) -> None:
    with openai.OpenAI(base_url=simulator.local, api_key="none", max_retries=0) as local:
        assert {model.id for model in local.models.list()} == {"small", "large"}
        local.chat.completions.create(model="small", messages=[{"role": "user", "content": "Hi"}])
    assert list(simulator.bill()["by_model"]) == ["simulated-local/small"]


def test_the_anthropic_client_chats_and_streams(claude: anthropic.Anthropic) -> None:
    ask: dict[str, Any] = {"model": "medium", "max_tokens": 1_000, "messages": ASK["messages"]}
    whole = claude.messages.create(**ask)
    assert whole.stop_reason == "end_turn"
    with claude.messages.stream(**ask) as stream:
        said = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert [block.text for block in whole.content if block.type == "text"] == [said]
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert claude.messages.create(**{**ask, "max_tokens": 9}).stop_reason == "max_tokens"


def test_the_anthropic_client_thinks_and_calls_tools(claude: anthropic.Anthropic) -> None:
    tools: Any = [{"name": "get_weather", "description": "The weather of a city", "input_schema": WEATHER}]
    messages: list[Any] = [{"role": "user", "content": "What is the weather in Paris today?"}]
    ask: dict[str, Any] = {"model": "thinker", "max_tokens": 4_000, "tools": tools}
    with claude.messages.stream(**ask, messages=messages) as stream:
        called = stream.get_final_message()
    assert called.stop_reason == "tool_use"
    use: Any = called.content[-1]
    assert (use.name, use.input) == ("get_weather", {"city": "Paris"})
    result = {"type": "tool_result", "tool_use_id": use.id, "content": "Sunny, 24 degrees"}
    messages += [{"role": "assistant", "content": called.content}, {"role": "user", "content": [result]}]
    thinking: Any = {"type": "enabled", "budget_tokens": 2_000}
    with claude.messages.stream(**ask, messages=messages, thinking=thinking) as stream:
        told = stream.get_final_message()
    assert [block.type for block in told.content] == ["thinking", "text"]
    assert "24 degrees" in told.content[1].text  # type: ignore[union-attr]
    # Its own thought is taken back, another model's is not.
    messages += [{"role": "assistant", "content": told.content}, {"role": "user", "content": "Thanks! And tomorrow?"}]
    assert claude.messages.create(**ask, messages=messages)
    with pytest.raises(anthropic.BadRequestError, match="signature"):
        claude.messages.create(**{**ask, "model": "large"}, messages=messages)


def test_gemini_is_spoken_too(simulator: Any) -> None:
    body = {"contents": [{"role": "user", "parts": [{"text": QUESTION}]}]}
    base = f"{simulator.url}/v1beta/models"
    whole = httpx.post(f"{base}/medium:generateContent", json=body).json()
    said = whole["candidates"][0]["content"]["parts"][0]["text"]
    stream = httpx.post(f"{base}/medium:streamGenerateContent?alt=sse", json=body).text
    chunks = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: ")]
    assert "".join(chunk["candidates"][0]["content"]["parts"][0]["text"] for chunk in chunks) == said
    assert chunks[-1]["usageMetadata"] == whole["usageMetadata"]
    assert {one["name"] for one in httpx.get(base).json()["models"]} >= {"models/medium"}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 429, "retry_after": 2}, openai.RateLimitError),
        ({"status": 503}, openai.InternalServerError),
        ({"status": 401}, openai.AuthenticationError),
    ],
)
def test_statuses_come_as_the_client_knows_them(
    client: openai.OpenAI, simulator: Any, fault: dict[str, Any], error: type[openai.APIStatusError]
) -> None:
    simulator.fault("status", calls=1, **fault)
    with pytest.raises(error) as raised:
        client.chat.completions.create(**ASK)
    assert raised.value.response.headers.get("retry-after") == ("2" if fault["status"] == 429 else None)
    assert client.chat.completions.create(**ASK)
    assert simulator.bill()["count"] == 1


def stream_of(simulator: Any, body: dict[str, Any]) -> str:
    """What of a stream arrives."""
    arrived = b""
    with simulator.client.stream("POST", f"{simulator.openai}/chat/completions", json={**body, "stream": True}) as got:
        for part in got.iter_raw():
            arrived += part
    return arrived.decode()


def test_a_stream_closes_in_its_middle(simulator: Any) -> None:
    simulator.fault("close", after_tokens=12)
    with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
        stream_of(simulator, ASK)
    assert 0 < simulator.charged(1)["charges"][0]["output"] <= 12


def test_a_stream_ends_without_an_end(simulator: Any) -> None:
    simulator.fault("truncated", after_tokens=12)
    arrived = stream_of(simulator, ASK)
    assert arrived.count("data: ") > 3
    assert "[DONE]" not in arrived
    assert 'finish_reason":"stop' not in arrived


def test_an_event_is_none(simulator: Any) -> None:
    simulator.fault("malformed", after_tokens=5)
    broken = 0
    for line in stream_of(simulator, ASK).splitlines():
        if line.startswith("data: {"):
            try:
                json.loads(line[6:])
            except ValueError:
                broken += 1
    assert broken == 1


def test_a_stream_stalls_until_the_client_has_enough(simulator: Any) -> None:
    simulator.fault("stall", after_tokens=6)
    with httpx.stream("POST", f"{simulator.openai}/chat/completions", json={**ASK, "stream": True}, timeout=20) as got:
        parts = got.iter_raw()
        assert b"data: " in next(parts)
        # Only from here on is it in a hurry.
        silent = got.extensions["network_stream"]
        with pytest.raises(httpcore.ReadTimeout):
            list(iter(lambda: silent.read(65_536, timeout=1.0), b""))
    assert 0 < simulator.charged(1)["charges"][0]["output"] <= 6


def test_nothing_is_said_at_all(simulator: Any) -> None:
    simulator.fault("hang")
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{simulator.openai}/chat/completions", json=ASK, timeout=httpx.Timeout(30, read=0.3))
    assert simulator.spent() == 0


@pytest.mark.parametrize(
    ("kind", "shown"), [("empty", ""), ("content_type", "<!doctype"), ("truncated", '{"id"'), ("malformed", '{"id"')]
)
def test_whole_answers_are_spoiled(simulator: Any, kind: str, shown: str) -> None:
    simulator.fault(kind)
    answer = httpx.post(f"{simulator.openai}/chat/completions", json=ASK)
    assert answer.status_code == 200
    assert answer.text.startswith(shown)
    with pytest.raises(ValueError):
        answer.json()


def test_who_goes_away_pays_for_what_was_made_by_then(simulator: Any) -> None:
    simulator.adjust("simulated/medium", ttft_ms=0, tokens_per_second=10)
    simulator.speed(1)
    with httpx.Client() as client:
        ask = {**ASK, "stream": True}
        with client.stream("POST", f"{simulator.openai}/chat/completions", json=ask) as got:
            next(got.iter_raw())
    simulator.charged(1)
    simulator.adjust("simulated/medium", tokens_per_second=1e6)
    whole = simulator.client.post(f"{simulator.openai}/chat/completions", json={**ASK, "temperature": 0}).json()
    first, second = simulator.charged(2)["charges"]
    assert (first["whole"], second["whole"]) == (False, True)
    assert first["output"] < second["output"] == whole["usage"]["completion_tokens"]
    assert first["input"] == second["input"]


def test_who_goes_away_before_the_answer_leaves_no_one_waiting(simulator: Any) -> None:
    simulator.adjust("simulated/medium", ttft_ms=60_000)
    simulator.speed(1)
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{simulator.openai}/chat/completions", json=ASK, timeout=httpx.Timeout(30, read=0.3))
    assert simulator.charged(1)["charges"][0]["output"] == 0


def test_delays_are_as_long_as_they_are_said_to_be(simulator: Any) -> None:
    simulator.adjust("simulated/medium", ttft_ms=2_000, tokens_per_second=1e6)
    simulator.speed(10)
    begun = time.monotonic()
    assert httpx.post(f"{simulator.openai}/chat/completions", json=ASK).status_code == 200
    assert time.monotonic() - begun >= 0.19


def test_streams_side_by_side_are_whole_and_in_order(simulator: Any) -> None:
    async def one(client: openai.AsyncOpenAI, number: int) -> str:
        ask = {**ASK, "messages": [{"role": "user", "content": f"{QUESTION} Number {number}."}]}
        stream = await client.chat.completions.create(**ask, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def both() -> tuple[list[str], list[str]]:
        async with openai.AsyncOpenAI(base_url=simulator.openai, api_key="none", max_retries=0) as client:
            together = await asyncio.gather(*(one(client, number) for number in range(64)))
            return together, [await one(client, number) for number in range(64)]

    together, alone = asyncio.run(both())
    assert together == alone
    assert simulator.bill()["count"] == 128


def test_a_piece_is_sent_as_soon_as_it_is_there(simulator: Any) -> None:
    simulator.adjust("simulated/medium", ttft_ms=0, tokens_per_second=5)
    simulator.speed(1)
    with simulator.client.stream(
        "POST", f"{simulator.openai}/chat/completions", json={**ASK, "stream": True, "max_tokens": 12}
    ) as got:
        moments = [time.monotonic() for part in got.iter_raw() if part]
    assert len(moments) > 6
    assert moments[-1] - moments[0] > 1.2


def test_only_this_machine_may_adjust_it() -> None:
    app = create_app({"MERIT_SIMULATOR_SPEED": "0"})
    status, content = control(app.provider, "DELETE", "/simulator/bill", "", b"", "10.1.2.3")
    assert status == 403
    assert "this machine" in content["error"]["message"]
    assert control(app.provider, "DELETE", "/simulator/bill", "", b"", "::1")[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "nothing", None, 404),
        ("PUT", "faults", [{"kind": "explosion"}], 400),
        ("PUT", "models/simulated/nano", {"prize": 1}, 400),
        ("PUT", "models/simulated/huge", {}, 404),
        ("PUT", "settings", {"speed": -1}, 400),
    ],
)
def test_wrong_orders_are_refused(simulator: Any, method: str, path: str, body: Any, status: int) -> None:
    answer = simulator.client.request(method, f"{simulator.url}/simulator/{path}", json=body)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_wrong_settings_are_named() -> None:
    with pytest.raises(SettingsError, match="MERIT_SIMULATOR_SPEED='fast'"):
        create_app({"MERIT_SIMULATOR_SPEED": "fast"})


def test_half_a_request_harms_nobody(simulator: Any) -> None:
    with socket.create_connection(("127.0.0.1", simulator.port), timeout=5) as raw:
        raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{")
    assert httpx.post(f"{simulator.openai}/chat/completions", content=b"{").status_code == 400
    assert httpx.post(f"{simulator.openai}/nowhere", json={}).status_code == 404
    assert httpx.get(f"{simulator.url}/healthz").json() == {"status": "ok"}


def test_chance_needs_a_temperature_and_a_seed_takes_it_back(simulator: Any) -> None:
    def said(**fields: Any) -> str:
        answer = simulator.client.post(f"{simulator.openai}/chat/completions", json={**ASK, **fields}).json()
        return str(answer["choices"][0]["message"]["content"])

    assert len({said() for _ in range(4)}) == 1
    assert len({said(temperature=1) for _ in range(8)}) > 1
    assert len({said(temperature=1, seed=5) for _ in range(4)}) == 1


def test_many_threads_see_one_bill(simulator: Any) -> None:
    def work() -> None:
        with httpx.Client() as client:
            for _ in range(10):
                assert client.post(f"{simulator.openai}/chat/completions", json=ASK).status_code == 200

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bill = simulator.bill()
    assert bill["count"] == 80
    assert bill["total"] == sum(one["cost"] for one in bill["charges"])
    assert len({one["id"] for one in bill["charges"]}) == 80
