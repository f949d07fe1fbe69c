"""Upstreams that are slow, cut off, overloaded or wrong: another model answers as long as nothing was said, afterwards
an error is, nothing is told twice, and what it cost is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

LONG = "Describe the sea in twenty sentences, each about another thing that lives in it."
# Asked first, and who may stand in for it.
MEDIUM: dict[str, Any] = {
    "model": "simulated/medium",
    "max_tokens": 400,
    "merit": {
        "fallbacks": True,
        "providers": ["simulated", "claude"],
        "exclude": ["simulated/small", "nano", "large", "thinker", "vision"],
    },
}


# A provider of its own, about whose models nothing is known but what is said here.
LEISURELY = """
[providers.leisurely]
kind = "openai"
base_url = "http://127.0.0.1:{port}/v1"
local = true
models = ["medium", "small"]
probe = false

[models."leisurely/medium"]
price = {{ input = 0.8, output = 3.2 }}
context = 200_000
latency_ms = 5_000

[models."leisurely/small"]
price = {{ input = 0.8, output = 3.2 }}
context = 200_000
latency_ms = 1
tokens_per_second = 100_000
"""


@pytest.fixture(scope="module", autouse=True)
def leisurely(shared_gateway: Any, providers_toml: Callable[..., str]) -> Iterator[None]:
    """A gateway with one more provider."""
    shared_gateway.configure(providers_toml(sections=LEISURELY.format(port=shared_gateway.simulator.port)))
    yield
    shared_gateway.configure(providers_toml())


@pytest.fixture
def patience(fault: str, gateway: Any, providers_toml: Callable[..., str]) -> Iterator[None]:
    """A gateway that waits for a second rather than a minute, where a fault is told by that alone."""
    if fault not in ("hang", "stall"):
        yield
        return
    before = (gateway.settings.root / "providers.toml").read_text()
    gateway.configure(providers_toml(timeout_s=1.5, first_byte_s=1.2, stall_s=0.8))
    yield
    gateway.configure(before)


# What goes wrong → what the gateway makes of it, whole and streamed.
BEFORE: dict[str, tuple[dict[str, Any], str, str]] = {
    "500": ({"kind": "status", "status": 500}, "server", "server"),
    "503": ({"kind": "status", "status": 503}, "server", "server"),
    "429": ({"kind": "status", "status": 429}, "overloaded", "overloaded"),
    "429 with Retry-After": ({"kind": "status", "status": 429, "retry_after": 600}, "overloaded", "overloaded"),
    "401": ({"kind": "status", "status": 401}, "credentials", "credentials"),
    "404": ({"kind": "status", "status": 404}, "unknown_model", "unknown_model"),
    "hang": ({"kind": "hang"}, "timeout", "timeout"),
    "stall": ({"kind": "stall", "after_tokens": 0}, "timeout", "stalled"),
    "close": ({"kind": "close", "after_tokens": 0}, "closed", "closed"),
    "malformed": ({"kind": "malformed", "after_tokens": 0}, "malformed", "malformed"),
    "truncated": ({"kind": "truncated", "after_tokens": 0}, "malformed", "closed"),
    "empty": ({"kind": "empty"}, "malformed", "closed"),
    "a page": ({"kind": "content_type"}, "malformed", "closed"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("fault", BEFORE)
@pytest.mark.usefixtures("patience")
def test_before_the_first_word_another_model_takes_over(fault: str, stream: bool, gateway: Any, simulator: Any) -> None:
    planted, whole, streamed = BEFORE[fault]
    asker = gateway.asker()
    budget = gateway.budget(asker, 1.0)
    expected = {
        model: asker.answer(LONG, **{**MEDIUM, "model": model})["choices"][0]["message"]["content"]
        for model in ("claude/small", "simulated/coder")
    }
    simulator.fault(**planted, model="simulated/medium")
    if stream:
        heard = asker.hear(LONG, **MEDIUM)
        text, headers = heard.text, heard.headers
        assert heard.done
        assert heard.error is None
    else:
        answer = asker.chat(LONG, **MEDIUM)
        assert answer.status_code == 200, answer.text
        text, headers = answer.json()["choices"][0]["message"]["content"], answer.headers
    assert text == expected[headers["x-merit-model"]]
    assert headers["x-merit-attempts"] == "2"
    told = gateway.run(headers["x-merit-id"])
    assert [one.get("failure") for one in told["attempts"]] == [streamed if stream else whole, None]
    assert told["attempts"][0]["model"] == "simulated/medium"
    standing = gateway.standing(budget)
    assert standing["reserved"] == 0
    assert round(standing["spent"] * 1e9) == gateway.spent(asker.workspace)
    # What was spent for an answer that nobody saw is guessed: of a stream that it read the prompt, else half to twice.
    bill = simulator.bill()
    unseen = bill["by_model"].get("simulated/medium", 0)
    guessed = gateway.spent(asker.workspace) - (bill["total"] - unseen)
    if planted["kind"] == "status":
        assert guessed == unseen == 0
    else:
        assert guessed == round(told["attempts"][0]["cost"] * 1e9) > 0
        assert stream or not unseen or unseen / 3 < guessed < 3 * unseen


AFTER: dict[str, tuple[dict[str, Any], str]] = {
    "stall": ({"kind": "stall"}, "stalled"),
    "close": ({"kind": "close"}, "closed"),
    "malformed": ({"kind": "malformed"}, "malformed"),
    "truncated": ({"kind": "truncated"}, "closed"),
}


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        *(("simulated/large", fault) for fault in AFTER),
        *(
            (model, fault)
            for model in ("claude/large", "gemini/large")
            for fault in ("close", "malformed", "truncated")
        ),
    ],
)
@pytest.mark.usefixtures("patience")
def test_after_the_first_word_an_error_ends_the_stream_and_nothing_is_repeated(
    fault: str, model: str, gateway: Any, simulator: Any
) -> None:
    planted, kind = AFTER[fault]
    asker = gateway.asker()
    budget = gateway.budget(asker, 1.0)
    ask = {**MEDIUM, "model": model, "merit": {"fallbacks": True}}
    whole = asker.answer(LONG, **ask)["choices"][0]["message"]["content"]
    simulator.fault(**planted, model="simulated/large", after_tokens=12)
    spent = simulator.spent()
    heard = asker.hear(LONG, **ask)
    bill = simulator.charged(2)
    assert heard.text
    assert whole.startswith(heard.text)
    assert len(heard.text) < len(whole)
    assert heard.error is not None
    assert not heard.done
    assert heard.error["type"] == "api_error"
    assert model in heard.error["message"]
    told = gateway.run(heard.headers["x-merit-id"])
    assert (told["outcome"], told["error"]) == ("broken", kind)
    assert [one["failure"] for one in told["attempts"]] == [kind]
    # Nobody told what it used: it is counted, and close to what the provider charges.
    assert told["tokens"]["estimated"]
    if fault != "malformed":  # where the provider goes on, as far as it knows
        charged = bill["total"] - spent
        assert abs(round(told["cost"] * 1e9) - charged) < 0.2 * charged
    assert gateway.standing(budget)["reserved"] == 0


@pytest.mark.parametrize("fault", ["stall", "close"])
@pytest.mark.usefixtures("patience")
def test_anthropics_clients_hear_of_it_in_their_own_format(fault: str, gateway: Any, simulator: Any) -> None:
    asker = gateway.asker()
    simulator.fault(fault, model="simulated/large", after_tokens=12)
    body = {"model": "claude/large", "max_tokens": 400, "messages": [{"role": "user", "content": LONG}], "stream": True}
    answer = asker.api.post("/v1/messages", json=body)
    assert answer.status_code == 200
    events = [event.split("\n") for event in answer.text.split("\n\n") if event]
    names = [name.removeprefix("event: ") for name, _ in events]
    assert names[0] == "message_start"
    assert names[-1] == "error"
    assert "message_stop" not in names
    told = json.loads(events[-1][1].removeprefix("data: "))
    assert told["type"] == "error"
    assert told["error"]["type"] == "api_error"


@pytest.mark.parametrize("usage", ["early", "late", "twice", "wrong-choices", "never"])
@pytest.mark.parametrize("model", ["simulated/large", "claude/large", "gemini/large"])
def test_usage_is_right_whenever_it_is_told(model: str, usage: str, gateway: Any, simulator: Any) -> None:
    asker = gateway.asker()
    gateway.budget(asker, 1.0)
    simulator.fault("usage", usage=usage, model="simulated/large")
    heard = asker.hear(LONG, model=model, max_tokens=400, stream_options={"include_usage": True})
    assert heard.done
    charge = simulator.bill()["charges"][-1]
    shown = heard.frames[-1]
    told = gateway.run(heard.headers["x-merit-id"])
    # After the end of OpenAI's format it is too late.
    untold = usage == "never" or (usage == "late" and model == "simulated/large")
    assert told["tokens"]["estimated"] == shown["merit"]["usage_estimated"] == untold
    assert [frame for frame in heard.frames if not frame.get("choices")] == [shown]
    if untold:
        assert told["tokens"]["output"] == pytest.approx(charge["output"], abs=2)
        assert told["tokens"]["input"] == pytest.approx(charge["input"], abs=2)
    else:
        assert (shown["usage"]["prompt_tokens"], shown["usage"]["completion_tokens"]) == (
            charge["input"], charge["output"],
        )  # fmt: skip
        assert gateway.spent(asker.workspace) == simulator.spent()


def test_no_more_than_three_attempts_are_made(gateway: Any, simulator: Any) -> None:
    asker = gateway.asker()
    simulator.fault("status", status=500, calls=100)
    answer = asker.chat(LONG, model="auto")
    assert answer.status_code == 502
    told = answer.json()
    assert len({one["model"] for one in told["attempts"]}) == 3
    assert told["error"]["type"] == "api_error"
    assert _struck(simulator, 100) == 3
    assert gateway.spent(asker.workspace) == simulator.spent() == 0


def test_what_is_wrong_with_the_request_itself_is_told_at_once(gateway: Any, simulator: Any) -> None:
    asker = gateway.asker()
    simulator.fault("status", status=400, calls=100)
    answer = asker.chat(LONG, model="auto")
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert _struck(simulator, 100) == 1


def test_a_model_that_says_when_to_come_back_is_waited_for(gateway: Any, simulator: Any) -> None:
    asker = gateway.asker()
    simulator.fault("status", status=429, retry_after=0.4, calls=1, model="simulated/medium")
    answer = asker.chat(model="simulated/medium")
    assert answer.status_code == 200, answer.text
    first, second = gateway.run(answer.headers["x-merit-id"])["attempts"]
    assert (first["failure"], second.get("failure")) == ("overloaded", None)
    assert second["started_ms"] - first["started_ms"] >= 400


def test_a_model_that_says_nothing_is_asked_again(gateway: Any, simulator: Any) -> None:
    asker = gateway.asker()
    simulator.fault("status", status=429, calls=2, model="simulated/medium")
    answer = asker.chat(model="simulated/medium")
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-merit-attempts"] == "3"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_who_would_have_to_wait_for_too_long_is_told_for_how_long(stream: bool, gateway: Any, simulator: Any) -> None:
    asker = gateway.asker()
    simulator.fault("status", status=429, retry_after=50, calls=100, model="simulated/medium")
    for calls in (1, 1):
        # The second one is not even asked: it was told to keep away.
        answer = asker.chat(model="simulated/medium", stream=stream)
        assert answer.status_code == 429, answer.text
        assert 45 <= int(answer.headers["retry-after"]) <= 50
        assert answer.json()["error"]["type"] == "rate_limit_error"
        assert _struck(simulator, 100) == calls


def test_a_circuit_opens_is_seen_and_recovers(gateway: Any, simulator: Any) -> None:
    asker = gateway.asker()
    before = gateway.metric("merit_llm_breaker_opened_total", circuit="simulated/medium")
    simulator.fault("status", status=500, calls=100, model="simulated/medium")
    for _ in range(2):
        assert asker.chat(model="simulated/medium").status_code == 502
    assert _struck(simulator, 100) == 5
    health = gateway.health("simulated/medium")
    assert health["breaker"]["state"] == "open"
    assert "circuit open" in health["unavailable"]
    assert gateway.metric("merit_llm_breaker_state", circuit="simulated/medium", state="open") == 1
    assert gateway.metric("merit_llm_breaker_opened_total", circuit="simulated/medium") == before + 1
    # Nobody asks it now: who wants it alone is told when, others get another one.
    answer = asker.chat(model="simulated/medium")
    assert answer.status_code == 503
    assert 1 <= int(answer.headers["retry-after"]) <= 5
    assert asker.chat(**MEDIUM).headers["x-merit-model"] != "simulated/medium"
    assert _struck(simulator, 100) == 5
    # A probe beside the traffic finds the provider alive: the next call is let through to see.
    gateway.told(gateway.admin.post("/v1/llm/providers/simulated/probe"))
    assert asker.chat(model="simulated/medium").status_code in (502, 503)
    assert _struck(simulator, 100) == 6
    assert gateway.health("simulated/medium")["breaker"]["state"] == "open"
    simulator.faults()
    gateway.told(gateway.admin.post("/v1/llm/providers/simulated/probe"))
    assert asker.chat(model="simulated/medium").status_code == 200
    assert gateway.health("simulated/medium")["breaker"]["state"] == "closed"
    assert gateway.metric("merit_llm_breaker_state", circuit="simulated/medium", state="closed") == 1


def test_a_deadline_is_kept_and_told(gateway: Any, simulator: Any) -> None:
    asker = gateway.asker()
    budget = gateway.budget(asker, 1.0)
    simulator.fault("hang")
    for model in ("simulated/medium", "auto", "ensemble/jury"):
        for stream in (False, True):
            # The provider itself would be given longer, and three of them three times as long.
            answer = asker.chat(model=model, stream=stream, merit={"timeout_s": 0.3})
            assert answer.status_code in (504, 502 if "ensemble" in model else 504), answer.text
    assert asker.chat(model="simulated/medium", merit={"timeout_s": 0.3}).elapsed.total_seconds() < 15
    assert gateway.standing(budget)["reserved"] == 0


def test_that_somebody_is_in_a_hurry_says_nothing_about_a_model(gateway: Any, simulator: Any) -> None:
    asker = gateway.asker()
    simulator.fault("hang")
    # It is believed to take seconds, and was given less; another one is not, and was given enough.
    for _ in range(6):
        assert asker.chat(model="leisurely/medium", merit={"timeout_s": 0.1}).status_code == 504
    assert gateway.health("leisurely/medium")["breaker"]["state"] == "closed"
    for _ in range(6):
        asker.chat(model="leisurely/small", merit={"timeout_s": 0.5})
    assert gateway.health("leisurely/small")["breaker"]["state"] == "open"
    simulator.faults()
    assert asker.chat(model="leisurely/medium").status_code == 200


def _struck(simulator: Any, planted: int) -> int:
    """How many requests a fault that was planted for so many has struck."""
    (fault,) = simulator._call("GET", "faults")["faults"]
    return planted - int(fault["calls"])
