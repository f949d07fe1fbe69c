"""What a provider's error means: its status, its body in any of the known shapes, and how long it asks to wait."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from gateway.call.providers.redaction import redact, redact_json, secrets_of
from gateway.call.providers.wire import FailureKind, Provider, ProviderFailure

MAX_ERROR_BYTES = 64 * 1024
# Nobody waits longer for one provider; a date far off is a provider's clock.
MAX_RETRY_AFTER_S = 3600.0

_TOO_LONG_CODES = frozenset(
    {
        "context_length_exceeded", "string_above_max_length", "request_too_large", "context_window_exceeded",
        "exceed_context_size_error", "model_max_prompt_tokens_exceeded",
    }
)  # fmt: skip
# How OpenAI, Anthropic, Gemini, vLLM, SGLang, TGI, llama.cpp and their kin say it.
_TOO_LONG = re.compile(
    r"maximum context length|context[_ ]length[_ ]exceeded|prompt is too long|input is too long|context window"
    r"|context length is only|exceed\w* (?:the |its )?(?:model'?s? )?(?:available )?(?:maximum )?context"
    r"|token count[^.]{0,40} exceeds the maximum number of tokens|exceeds the maximum number of tokens"
    r"|longer than the model'?s context|`?inputs`? (?:tokens )?\+ `?max_new_tokens`? must be"
    r"|input length[^.]{0,40}exceeds|reduce the length of (?:the )?(?:messages|prompt|input)|too many tokens in",
    re.IGNORECASE,
)
_TOKENS_A_MINUTE = re.compile(r"request too large for model|tokens per minute \(TPM\): limit \d+, requested", re.I)
_NO_SUCH_MODEL = re.compile(
    r"model[^.]{0,120}(?:does not exist|not found|is not available|has been decommissioned|not a valid model)"
    r"|(?:no such|unknown|invalid) model|not a valid model id",
    re.IGNORECASE,
)
_OUT_OF_CREDIT = frozenset(
    {
        "insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "billing_error",
        "insufficient_credits", "account_deactivated", "access_terminated",
    }
)  # fmt: skip

# Words that providers use as `type`, `code` or `status` of an error, in a stream with no HTTP status of its own.
_KINDS: Mapping[str, FailureKind] = {
    "rate_limit_error": "overloaded",
    "rate_limit_exceeded": "overloaded",
    "rate_limited": "overloaded",
    "too_many_requests": "overloaded",
    "tokens": "overloaded",
    "requests": "overloaded",
    "overloaded_error": "overloaded",
    "overloaded": "overloaded",
    "engine_overloaded": "overloaded",
    "engine_overloaded_error": "overloaded",
    "resource_exhausted": "overloaded",
    "unavailable": "overloaded",
    "server_error": "server",
    "internal_server_error": "server",
    "internal_error": "server",
    "internal": "server",
    "api_error": "server",
    "service_unavailable": "server",
    "upstream_error": "server",
    "timeout_error": "timeout",
    "timeout": "timeout",
    "request_timeout": "timeout",
    "deadline_exceeded": "timeout",
    "authentication_error": "credentials",
    "invalid_api_key": "credentials",
    "permission_error": "credentials",
    "permission_denied": "credentials",
    "unauthenticated": "credentials",
    "unauthorized": "credentials",
    "not_found_error": "unknown_model",
    "model_not_found": "unknown_model",
    "not_found": "unknown_model",
    "model_decommissioned": "unknown_model",
    "invalid_request_error": "refused",
    "invalid_argument": "refused",
    "failed_precondition": "refused",
    "badrequesterror": "refused",
    "bad_request": "refused",
    "content_filter": "refused",
    "validation": "refused",
}


@dataclass(frozen=True, slots=True)
class ErrorTold:
    """What an error body says, whichever provider wrote it.

    Attributes
    ----------
    words : its type, code, status and reasons, in lower case.
    number : an HTTP status that stands in the body itself.
    """

    message: str = ""
    words: tuple[str, ...] = ()
    number: int | None = None
    retry_after: float | None = None
    flagged: bool = False


def read_error(body: Any) -> ErrorTold:
    """Find message, words and wait in an error of any known shape.

    Known are `{"error": {"message", "type", "code"}}` (OpenAI and most), `{"type": "error", "error": {…}}`
    (Anthropic), `{"error": {"code", "status", "details"}}`, also in a list (Gemini), `{"object": "error", "message"}`
    (vLLM, Mistral), `{"error": "…", "error_type"}` (TGI) and `{"detail": …}`.
    """
    if isinstance(body, list):
        body = body[0] if body else {}
    if not isinstance(body, Mapping):
        return ErrorTold(message=body if isinstance(body, str) else "")
    inner = body.get("error")
    error: Mapping[str, Any] = inner if isinstance(inner, Mapping) else body
    message: Any = inner if isinstance(inner, str) else error.get("message", body.get("message", body.get("detail")))
    if isinstance(message, Mapping):
        message = message.get("detail", message.get("message", message))
    words = [error.get(name) for name in ("type", "code", "status", "error_type")] + [body.get("error_type")]
    number = next((word for word in words if isinstance(word, int) and not isinstance(word, bool)), None)
    if number is None:
        number = next(
            (int(word) for word in words if isinstance(word, str) and word.isdecimal() and len(word) == 3), None
        )
    retry_after: float | None = None
    details = error.get("details")
    for detail in details[:20] if isinstance(details, list) else ():
        if isinstance(detail, Mapping):
            words.append(detail.get("reason"))
            retry_after = _seconds(detail.get("retryDelay")) or retry_after
    metadata = error.get("metadata")
    flagged = isinstance(metadata, Mapping) and bool(metadata.get("reasons"))
    text = message if isinstance(message, str) else orjson.dumps(message, default=str).decode() if message else ""
    return ErrorTold(
        message=text[:4_000],
        words=tuple(word.lower() for word in words if isinstance(word, str) and len(word) <= 100),
        number=number,
        retry_after=retry_after,
        flagged=flagged,
    )


def kind_of(status: int | None, told: ErrorTold) -> FailureKind:
    """The kind of failure that a status and what was told amount to."""
    words = told.words
    if status is None:
        status = told.number if told.number is not None and 400 <= told.number < 600 else None
    readable = status is None or 400 <= status <= 500
    if any(word in _TOO_LONG_CODES for word in words) or (readable and _TOO_LONG.search(told.message)):
        return "too_long"
    if any(word in _OUT_OF_CREDIT for word in words):
        return "credentials"
    if status is None:
        return next((_KINDS[word] for word in words if word in _KINDS), "server")
    if status in (429, 413) and _TOKENS_A_MINUTE.search(told.message):
        # The account's limit lies below this very prompt: waiting does not help, another model does.
        return "too_long"
    if status in (401, 402, 403):
        return "refused" if told.flagged else "credentials"
    if status == 404:
        return "unknown_model"
    if status == 408:
        return "timeout"
    if status in (429, 498, 529):
        return "overloaded"
    if status == 499:
        return "closed"
    if status in (409, 425):
        return "server"
    if status >= 500:
        overloaded = status == 503 and ("unavailable" in words or "overload" in told.message.lower())
        return "overloaded" if overloaded else "server"
    if 300 <= status < 400:
        return "malformed"
    if status in (400, 422):
        if "api_key_invalid" in words or "invalid_api_key" in words:
            return "credentials"
        if any(_KINDS.get(word) == "unknown_model" for word in words) or _NO_SUCH_MODEL.search(told.message):
            return "unknown_model"
    return "refused"


def failure_from_status(provider: Provider, status: int, headers: Mapping[str, str], raw: bytes) -> ProviderFailure:
    """The failure that an answer with a status other than 200 is."""
    try:
        body = orjson.loads(raw) if raw else None
    except orjson.JSONDecodeError:
        body = None
    told = read_error(body)
    if not told.message and body is None and raw:
        # A page of a proxy in between, perhaps: its first words help more than none.
        told = ErrorTold(message=re.sub(r"<[^>]*>|\s+", " ", raw[:4_000].decode("utf-8", "replace")).strip())
    kind = kind_of(status, told)
    return ProviderFailure(
        kind,
        _sentence(provider, f"answered {status}", told),
        status=status,
        retry_after=retry_after(headers) or told.retry_after,
        body=_shown(provider, body, told),
    )


def failure_in_answer(provider: Provider, body: Any) -> ProviderFailure:
    """The failure that an error object within an answer or a stream of status 200 is."""
    told = read_error(body)
    status = told.number if told.number is not None and 400 <= told.number < 600 else None
    return ProviderFailure(
        kind_of(None, told),
        _sentence(provider, "sent an error instead of an answer", told),
        status=status,
        retry_after=told.retry_after,
        body=_shown(provider, body, told),
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a provider asks to wait, from `retry-after-ms` (OpenAI) or `Retry-After` in either of its forms."""
    milliseconds = headers.get("retry-after-ms")
    if milliseconds is not None:
        seconds = _number(milliseconds)
        if seconds is not None:
            return min(seconds / 1000.0, MAX_RETRY_AFTER_S)
    said = headers.get("retry-after")
    if said is None:
        return None
    seconds = _number(said)
    if seconds is None:
        try:
            seconds = max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
        except (ValueError, TypeError, OverflowError):
            return None
    return min(seconds, MAX_RETRY_AFTER_S)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0.0 <= number < float("inf") else None


def _seconds(delay: Any) -> float | None:
    """Seconds of a protobuf duration such as "34.07s"."""
    number = _number(delay[:-1]) if isinstance(delay, str) and delay.endswith("s") else None
    return None if number is None else min(number, MAX_RETRY_AFTER_S)


def _sentence(provider: Provider, what: str, told: ErrorTold) -> str:
    said = redact(told.message, secrets_of(provider))[:500].strip().rstrip(".")
    return f"{provider.name} {what}: {said}." if said else f"{provider.name} {what}."


def _shown(provider: Provider, body: Any, told: ErrorTold) -> dict[str, Any]:
    secrets = secrets_of(provider)
    shown = redact_json(body, secrets)
    if isinstance(shown, dict) and shown and len(orjson.dumps(shown, default=str)) <= 16 * 1024:
        return shown
    return {"error": {"message": redact(told.message, secrets) or "The provider gave no reason."}}
