"""Errors of every provider mean one of a few things, and never show a key."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.call.providers.failures import failure_from_status, failure_in_answer, retry_after
from gateway.call.providers.redaction import REDACTED, redact
from gateway.call.providers.wire import FailureKind, Provider

KEY = "sk-proj-9f8e7d6c5b4a39281706"
PROVIDER = Provider("acme", "openai", "https://api.acme.example/v1", key=KEY, headers={"X-Org": "org-verysecret-1"})


def openai(message: str, kind: str = "invalid_request_error", code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def anthropic(kind: str, message: str = "No.") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}


def gemini(code: int, status: str, message: str = "No.", **more: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, **more}}


API_KEY_INVALID = {"details": [{"reason": "API_KEY_INVALID"}]}
GEMINI_LONG = "The input token count (2845475) exceeds the maximum number of tokens allowed (1048576)."
TGI_LONG = "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096"
GROQ_LONG = "Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 7000"
VLLM_LONG = "This model's maximum context length is 200 tokens. However, your request has 203 input tokens."
CASES: list[tuple[int, Any, FailureKind]] = [
    (429, openai("Rate limit reached", "requests", "rate_limit_exceeded"), "overloaded"),
    (429, openai("You exceeded your current quota", "insufficient_quota", "insufficient_quota"), "credentials"),
    (429, anthropic("rate_limit_error"), "overloaded"),
    (529, anthropic("overloaded_error"), "overloaded"),
    (429, gemini(429, "RESOURCE_EXHAUSTED"), "overloaded"),
    (503, gemini(503, "UNAVAILABLE", "The model is overloaded."), "overloaded"),
    (503, None, "server"),
    (500, openai("The server had an error", "server_error"), "server"),
    (502, b"<html><body>Bad gateway</body></html>", "server"),
    (408, None, "timeout"),
    (409, openai("Conflict"), "server"),
    (401, openai("Incorrect API key provided", code="invalid_api_key"), "credentials"),
    (403, anthropic("permission_error"), "credentials"),
    (402, openai("Insufficient credits"), "credentials"),
    (403, {"error": {"message": "flagged", "code": 403, "metadata": {"reasons": ["violence"]}}}, "refused"),
    (400, gemini(400, "INVALID_ARGUMENT", "API key not valid.", **API_KEY_INVALID), "credentials"),
    (404, openai("The model `gpt-9` does not exist", code="model_not_found"), "unknown_model"),
    (404, anthropic("not_found_error", "model: claude-9"), "unknown_model"),
    (400, openai("The model `x` has been decommissioned", code="model_decommissioned"), "unknown_model"),
    (400, {"error": {"message": "acme/x is not a valid model ID", "code": 400}}, "unknown_model"),
    (400, openai("This model's maximum context length is 8192 tokens.", code="context_length_exceeded"), "too_long"),
    (400, openai("too long", code="context_length_exceeded"), "too_long"),
    (400, anthropic("invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"), "too_long"),
    (413, anthropic("request_too_large", "Request exceeds the maximum size"), "too_long"),
    (400, gemini(400, "INVALID_ARGUMENT", GEMINI_LONG), "too_long"),
    (400, {"object": "error", "message": VLLM_LONG, "type": "BadRequestError", "code": 400}, "too_long"),
    (400, {"error": {"message": VLLM_LONG, "type": "BadRequestError", "code": 400}}, "too_long"),
    (422, {"error": TGI_LONG, "error_type": "validation"}, "too_long"),
    (413, openai(GROQ_LONG, "tokens", "rate_limit_exceeded"), "too_long"),
    (400, openai("Unsupported value: 'temperature'"), "refused"),
    (422, {"detail": [{"loc": ["body"], "msg": "extra"}]}, "refused"),
    (413, None, "refused"),
    (405, None, "refused"),
    (302, b"", "malformed"),
    (499, None, "closed"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "kind"), CASES)
def test_a_status_and_a_body_mean_one_kind_of_failure(status: int, body: Any, kind: FailureKind) -> None:
    raw = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
    failure = failure_from_status(PROVIDER, status, {}, raw)
    assert failure.kind == kind
    assert failure.status == status
    assert failure.message.startswith("acme ")
    assert failure.body


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (openai("Rate limited", "rate_limit_error"), "overloaded"),
        (anthropic("overloaded_error"), "overloaded"),
        (anthropic("api_error"), "server"),
        (anthropic("timeout_error"), "timeout"),
        (anthropic("invalid_request_error", "prompt is too long"), "too_long"),
        (anthropic("authentication_error"), "credentials"),
        ({"error": {"code": 502, "message": "Provider returned error"}}, "server"),
        ({"error": {"code": "429", "message": "slow down"}}, "overloaded"),
        ({"error": {"code": "server_error", "message": "Provider disconnected"}, "choices": []}, "server"),
        ({"error": "something broke"}, "server"),
        ([gemini(503, "UNAVAILABLE")], "overloaded"),
        (openai("You exceeded your quota", "insufficient_quota"), "credentials"),
        (None, "server"),
    ],
)
def test_an_error_within_a_stream_means_the_same_without_a_status(body: Any, kind: FailureKind) -> None:
    assert failure_in_answer(PROVIDER, body).kind == kind


def test_a_wait_is_read_in_every_form_it_is_given() -> None:
    assert retry_after({"retry-after": "7"}) == 7.0
    assert retry_after({"retry-after": "0.5"}) == 0.5
    assert retry_after({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert retry_after({"retry-after": "999999"}) == 3600.0
    soon = (datetime.now(UTC) + timedelta(seconds=30)).replace(microsecond=0)
    before = time.time()
    waited = retry_after({"retry-after": format_datetime(soon, usegmt=True)})
    assert waited is not None
    assert soon.timestamp() - time.time() <= waited <= soon.timestamp() - before
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    for nonsense in ("soon", "", "-3", "nan", "inf", "Wed, 99 Xyz"):
        assert retry_after({"retry-after": nonsense}) is None
    assert retry_after({}) is None


def test_gemini_says_how_long_to_wait_in_the_body() -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}]
    raw = orjson.dumps(gemini(429, "RESOURCE_EXHAUSTED", details=details))
    assert failure_from_status(PROVIDER, 429, {}, raw).retry_after == 34.5


@pytest.mark.parametrize(
    "text",
    [
        f"Incorrect API key provided: {KEY}.",
        "Incorrect API key provided: sk-proj-9f8e***1706",
        "Authorization: Bearer abcdef123456789",
        "GET /v1beta/models?key=AIzaSyD-1234567890abcdef failed",
        "proxy http://user:hunter22@proxy.example:8080 failed",
        "key gsk_abcdefghijklmnop refused",
        "org-verysecret-1 is over its limit",
    ],
)
def test_what_looks_like_a_key_is_taken_out(text: str) -> None:
    failure = failure_from_status(PROVIDER, 401, {}, orjson.dumps(openai(text)))
    shown = failure.message + str(failure) + str(failure.body)
    assert REDACTED in shown
    secrets = (KEY, "9f8e", "abcdef123456", "AIzaSy", "hunter22", "gsk_abc", "verysecret")
    assert not any(secret in shown for secret in secrets)


FIELDS = st.sampled_from(["error", "message", "type", "code", "status", "details", "metadata", "detail", "x"])
BODIES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(FIELDS, inner),
    max_leaves=20,
)


@given(BODIES, st.integers(300, 599))
def test_no_body_whatever_it_holds_breaks_the_reading(body: Any, status: int) -> None:
    planted = orjson.dumps([body, KEY]) if isinstance(body, list) else orjson.dumps(body)
    failure = failure_from_status(PROVIDER, status, {}, planted)
    assert KEY not in f"{failure} {failure.body}"
    failure_in_answer(PROVIDER, body)


@pytest.mark.parametrize("before", range(380, 520, 7))
def test_cutting_a_text_short_never_leaves_half_a_key(before: int) -> None:
    odd = Provider("acme", "openai", "https://api.acme.example/v1", key="0123456789abcdefghij")
    for raw in (b"x" * before + b"0123456789abcdefghij", orjson.dumps(openai("x" * before + "0123456789abcdefghij"))):
        failure = failure_from_status(odd, 500, {}, raw)
        assert "01234" not in f"{failure} {failure.body}"


def test_a_long_error_is_shortened() -> None:
    failure = failure_from_status(PROVIDER, 400, {}, orjson.dumps(openai("x" * 50_000)))
    assert len(failure.message) < 600
    assert len(orjson.dumps(failure.body)) < 16_384
    assert redact("a" * 10_000).endswith("…")
