"""Gemini's answers, whole and in streams, in OpenAI's shape."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from gateway.call.providers.anthropic_answer import openai_usage, tool_call
from gateway.call.providers.failures import failure_in_answer
from gateway.call.providers.gemini_request import SIGNATURE
from gateway.call.providers.wire import Piece, Provider, ProviderFailure
from gateway.usage import Usage

FINISH_REASONS: Mapping[str, str] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    **dict.fromkeys(
        (
            "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "MODEL_ARMOR", "ESCALATION",
            "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "PUP_LIMITED_DISABLED",
        ),
        "content_filter",
    ),
}  # fmt: skip
# The model itself went wrong; another try may not.
_FAILED = frozenset({"MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL"})
_MOST = 10**9


def read_gemini_usage(told: Any) -> Usage | None:
    """Tokens as Gemini tells them: cached ones are within the prompt's, thoughts are not within the candidates'."""
    if not isinstance(told, Mapping):
        return None
    given = _count(told, "promptTokenCount") + _count(told, "toolUsePromptTokenCount")
    made, thought = _count(told, "candidatesTokenCount"), _count(told, "thoughtsTokenCount")
    if "candidatesTokenCount" not in told and "totalTokenCount" in told:
        made = max(0, _count(told, "totalTokenCount") - given - thought)
    cached = _count(told, "cachedContentTokenCount")
    audio_input = _of_audio(told.get("promptTokensDetails")) + _of_audio(told.get("toolUsePromptTokensDetails"))
    return Usage(
        input=max(given, cached),
        cached=cached,
        output=made + thought,
        reasoning=thought,
        audio_input=min(audio_input, given),
        audio_output=min(_of_audio(told.get("candidatesTokensDetails")), made),
    )


def from_gemini_answer(
    provider: Provider, body: Mapping[str, Any], model: str, source: str = "gemini"
) -> tuple[dict[str, Any], Usage | None]:
    """An answer in OpenAI's shape, and its usage.

    Raises
    ------
    ProviderFailure : the answer holds nothing, or is not one.
    """
    usage = read_gemini_usage(body.get("usageMetadata"))
    candidates = body.get("candidates")
    blocked = _blocked(body)
    if not isinstance(candidates, list) or not candidates:
        if blocked is None:
            raise _empty(provider, body)
        candidates = [{"finishReason": "SAFETY"}]
    choices = []
    for number, candidate in enumerate(candidates):
        delta, calls = read_parts(candidate, source)
        for call in delta.get("tool_calls", ()):
            del call["index"]
        message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": blocked, **delta}
        reason = finish_reason(provider, candidate, called=calls > 0, empty=not delta)
        choices.append({"index": number, "message": message, "logprobs": None, "finish_reason": reason or "stop"})
    answer = {
        "id": f"chatcmpl-{body.get('responseId') or uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.get("modelVersion") or model,
        "choices": choices,
    }
    if usage is not None:
        answer["usage"] = openai_usage(usage)
    return answer, usage


def read_parts(candidate: Any, source: str, calls: int = 0) -> tuple[dict[str, Any], int]:
    """A candidate's parts as a message or a delta, and how many calls of tools there are by now.

    Parameters
    ----------
    calls : how many came before, in a stream.
    """
    content = candidate.get("content") if isinstance(candidate, Mapping) else None
    parts = content.get("parts") if isinstance(content, Mapping) else None
    texts: list[str] = []
    thoughts: list[str] = []
    asked: list[dict[str, Any]] = []
    signatures: list[dict[str, Any]] = []
    pictures: list[dict[str, Any]] = []
    for part in parts if isinstance(parts, list) else ():
        if not isinstance(part, Mapping):
            continue
        called = part.get("functionCall")
        number: str | None = None
        if isinstance(called, Mapping):
            number = str(called.get("id") or f"call_{uuid.uuid4().hex[:24]}")
            arguments = orjson.dumps(called.get("args") or {}).decode()
            asked.append({"index": calls, **tool_call(number, called.get("name"), arguments)})
            calls += 1
        elif isinstance(part.get("text"), str):
            (thoughts if part.get("thought") is True else texts).append(part["text"])
        elif isinstance(part.get("inlineData"), Mapping):
            data = part["inlineData"]
            url = f"data:{data.get('mimeType')};base64,{data.get('data')}"
            pictures.append({"type": "image_url", "image_url": {"url": url}})
        elif isinstance(part.get("executableCode"), Mapping):
            code = part["executableCode"]
            texts.append(f"\n```{str(code.get('language', '')).lower()}\n{code.get('code', '')}\n```\n")
        elif isinstance(part.get("codeExecutionResult"), Mapping):
            texts.append(f"\n```\n{part['codeExecutionResult'].get('output', '')}\n```\n")
        if part.get("thoughtSignature"):
            kept = {"provider": source, "type": SIGNATURE, "signature": part["thoughtSignature"]}
            signatures.append(kept if number is None else {**kept, "tool_call_id": number})
    delta: dict[str, Any] = {}
    if texts:
        delta["content"] = "".join(texts)
    if thoughts:
        delta["reasoning_content"] = "".join(thoughts)
        if not signatures:
            signatures.append({"provider": source, "type": "reasoning"})
    if asked:
        delta["tool_calls"] = asked
    if signatures:
        delta["reasoning_blocks"] = signatures
    if pictures:
        delta["images"] = pictures
    return delta, calls


def finish_reason(provider: Provider, candidate: Any, *, called: bool, empty: bool) -> str | None:
    """OpenAI's word for why a candidate ended; None while it has not.

    Raises
    ------
    ProviderFailure : "malformed", when it ended because the model made something that cannot be read.
    """
    reason = candidate.get("finishReason") if isinstance(candidate, Mapping) else None
    if not isinstance(reason, str) or reason == "FINISH_REASON_UNSPECIFIED":
        return None
    if reason in _FAILED and empty and not called:
        raise ProviderFailure("malformed", f"{provider.name} ended the answer with {reason}.", status=200)
    finished = FINISH_REASONS.get(reason, "stop")
    return "tool_calls" if called and finished == "stop" else finished


class GeminiDecoder:
    """Chunks as they come; the stream ends with the connection, and is whole once a finish reason came."""

    __slots__ = (
        "_calls", "_created", "_finished", "_id", "_model", "_provider", "_said", "_source", "_usage", "_wanted",
        "ended",
    )  # fmt: skip

    def __init__(self, provider: Provider, model: str, source: str, wanted: bool) -> None:
        self.ended = False
        self._provider = provider
        self._source = source
        self._wanted = wanted
        self._id = f"chatcmpl-{uuid.uuid4().hex}"
        self._model = model
        self._created = int(time.time())
        self._calls: dict[int, int] = {}
        self._said: set[int] = set()
        self._finished = False
        self._usage: Usage | None = None

    def event(self, name: str, data: bytes) -> Sequence[Piece]:
        if not data:
            return ()
        try:
            body = orjson.loads(data)
        except orjson.JSONDecodeError:
            raise ProviderFailure("malformed", f"{self._provider.name} sent a chunk that is not JSON.") from None
        if name == "error" or not isinstance(body, dict) or "error" in body:
            raise failure_in_answer(self._provider, body)
        told = read_gemini_usage(body.get("usageMetadata"))
        if told is not None:
            self._usage = told
        if isinstance(body.get("responseId"), str):
            self._id = f"chatcmpl-{body['responseId']}"
        candidates = body.get("candidates")
        if not isinstance(candidates, list) or not candidates:
            blocked = _blocked(body)
            if blocked is None:
                return (Piece(None, told),) if told is not None else ()
            self._finished = True
            return (self._piece(0, {"role": "assistant", "refusal": blocked}, "content_filter", told),)
        return [self._candidate(candidate, told) for candidate in candidates]

    def finish(self) -> Sequence[Piece]:
        if not self._finished:
            raise ProviderFailure("closed", f"{self._provider.name} ended the stream before the answer was finished.")
        if not self._wanted or self._usage is None:
            return ()
        piece = self._piece(0, {}, None, self._usage)
        assert piece.chunk is not None
        piece.chunk["choices"] = []
        piece.chunk["usage"] = openai_usage(self._usage)
        return (piece,)

    def _candidate(self, candidate: Any, told: Usage | None) -> Piece:
        index = candidate.get("index") if isinstance(candidate, Mapping) else 0
        index = index if isinstance(index, int) else 0
        before = self._calls.get(index, 0)
        delta, calls = read_parts(candidate, self._source, before)
        self._calls[index] = calls
        reason = finish_reason(self._provider, candidate, called=calls > 0, empty=not delta and index not in self._said)
        if index not in self._said:
            self._said.add(index)
            delta = {"role": "assistant", "content": "", **delta}
        self._finished = self._finished or reason is not None
        return self._piece(index, delta, reason, told)

    def _piece(self, index: int, delta: dict[str, Any], reason: str | None, usage: Usage | None) -> Piece:
        return Piece(
            {
                "id": self._id,
                "object": "chat.completion.chunk",
                "created": self._created,
                "model": self._model,
                "choices": [{"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}],
            },
            usage,
        )


def _blocked(body: Mapping[str, Any]) -> str | None:
    """Why the prompt itself was blocked, as a refusal."""
    feedback = body.get("promptFeedback")
    reason = feedback.get("blockReason") if isinstance(feedback, Mapping) else None
    return f"The prompt was blocked: {reason}." if isinstance(reason, str) else None


def _empty(provider: Provider, body: Mapping[str, Any]) -> ProviderFailure:
    if body.get("error"):
        return failure_in_answer(provider, body)
    return ProviderFailure("malformed", f"{provider.name} answered without `candidates`.", status=200)


def _count(told: Mapping[str, Any], name: str) -> int:
    value = told.get(name)
    return min(max(0, value), _MOST) if isinstance(value, int) and not isinstance(value, bool) else 0


def _of_audio(details: Any) -> int:
    listed = details if isinstance(details, list) else ()
    return sum(
        _count(detail, "tokenCount")
        for detail in listed
        if isinstance(detail, Mapping) and detail.get("modality") == "AUDIO"
    )
