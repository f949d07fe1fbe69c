"""A request in OpenAI's shape as Gemini's generateContent has it."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import orjson

from gateway.call.providers.anthropic_blocks import data_uri
from gateway.call.providers.gemini_schema import gemini_schema
from gateway.call.providers.openai_request import (
    JSON_ONLY,
    LEFT_OUT,
    arguments_of,
    asked_choice,
    asked_limit,
    asked_messages,
    asked_schema,
    asked_stops,
    asked_tools,
    objects,
    refused,
)
from gateway.call.providers.provenance import strip_foreign, text_of

Part = dict[str, Any]

SIGNATURE = "thought_signature"
# Documented by Google for calls that another model made, or nobody: the check of their signature is skipped.
NO_SIGNATURE = "skip_thought_signature_validator"
_UNCHECKED = re.compile(r"(?:^|/)(?:gemini-[12](?:\D|$)|gemma|learnlm)")
_BUDGETS = {"none": 0, "minimal": 512, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 32_768}
_LEVELS = {"none": "minimal", "minimal": "minimal", "low": "low", "medium": "medium", "high": "high", "xhigh": "high"}
_SAME = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "n": "candidateCount",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
_MAX_STOPS = 5
_AUDIO = {"mp3": "audio/mp3", "wav": "audio/wav"}
# Tools of one application are the same in every call of it; cleaning them is not.
_cleaned: dict[bytes, list[dict[str, Any]]] = {}
_MOST_CLEANED = 256


def to_gemini_request(body: Mapping[str, Any], model: str, source: str = "gemini") -> dict[str, Any]:
    """The request to send.

    Parameters
    ----------
    source : whose signatures may stay in the thread.

    Raises
    ------
    ProviderFailure : "refused", for what the format cannot say.
    """
    system, contents = _thread(strip_foreign(asked_messages(body), source, wire="gemini"), model)
    request: dict[str, Any] = {"contents": contents}
    if system:
        request["systemInstruction"] = {"parts": system}
    settings = _settings(body, model)
    tools = asked_tools(body)
    if tools and "responseMimeType" in settings and _UNCHECKED.search(model) is not None:
        # Before Gemini 3, answers in JSON and tools exclude each other.
        del settings["responseMimeType"]
        schema = settings.pop("responseSchema", None)
        said = JSON_ONLY if schema is None else f"{JSON_ONLY} Its schema:\n{orjson.dumps(schema).decode()}"
        request.setdefault("systemInstruction", {"parts": []})["parts"].append({"text": said})
    if settings:
        request["generationConfig"] = settings
    if tools:
        request["tools"] = _tools(tools)
        choice = _choice(*asked_choice(body))
        if choice is not None:
            request["toolConfig"] = {"functionCallingConfig": choice}
    for name, key in (("safety_settings", "safetySettings"), ("cached_content", "cachedContent")):
        if name in body:
            request[key] = body[name]
    return request


def _thread(messages: Sequence[Any], model: str) -> tuple[list[Part], list[dict[str, Any]]]:
    """System parts, and turns that alternate between user and model."""
    system: list[Part] = []
    turns: list[dict[str, Any]] = []
    names: dict[Any, Any] = {}
    unchecked = _UNCHECKED.search(model) is not None
    for message in messages:
        role = message.get("role")
        if role in ("system", "developer"):
            system.extend(_parts(message.get("content")))
        elif role == "assistant":
            _add(turns, "model", _said(message, names, unchecked))
        elif role == "tool":
            _add(turns, "user", _result(message, names))
        else:
            _add(turns, "user", _parts(message.get("content")))
    if not turns:
        # Instructions alone are refused.
        return [], [{"role": "user", "parts": system}]
    if turns[0]["role"] == "model":
        turns.insert(0, {"role": "user", "parts": [{"text": LEFT_OUT}]})
    return system, turns


def _add(turns: list[dict[str, Any]], role: str, parts: list[Part]) -> None:
    if not parts:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["parts"].extend(parts)
    else:
        turns.append({"role": role, "parts": parts})


def _said(message: Mapping[str, Any], names: dict[Any, Any], unchecked: bool) -> list[Part]:
    """A model's turn. Signatures stand on the very part that they came with."""
    kept = [block for block in objects(message.get("reasoning_blocks")) if block.get("type") == SIGNATURE]
    signatures = {block.get("tool_call_id"): block.get("signature") for block in kept}
    parts = _parts(message.get("content") or message.get("refusal"))
    if parts and None in signatures:
        parts[-1]["thoughtSignature"] = signatures[None]
    for number, call in enumerate(objects(message.get("tool_calls"))):
        function = call.get("function")
        function = function if isinstance(function, Mapping) else {}
        names[call.get("id")] = function.get("name")
        asked = {"name": function.get("name"), "args": arguments_of(function.get("arguments")), "id": call.get("id")}
        part: Part = {"functionCall": asked}
        signature = signatures.get(call.get("id"))
        if signature:
            part["thoughtSignature"] = signature
        elif number == 0 and not unchecked:
            # Of calls that were made together, the first one carries the signature.
            part["thoughtSignature"] = NO_SIGNATURE
        parts.append(part)
    return parts


def _result(message: Mapping[str, Any], names: Mapping[Any, Any]) -> list[Part]:
    content, number = message.get("content"), message.get("tool_call_id")
    text = text_of(content)
    response: Any = None
    if message.get("is_error") is True:
        response = {"error": text}
    elif text.lstrip().startswith("{"):
        try:
            response = orjson.loads(text)
        except orjson.JSONDecodeError:
            response = None
    if not isinstance(response, dict):
        response = {"output": text}
    name = names.get(number) or message.get("name") or "unknown"
    parts: list[Part] = [{"functionResponse": {"name": name, "id": number, "response": response}}]
    if isinstance(content, list):
        parts.extend(_parts([part for part in content if isinstance(part, Mapping) and part.get("type") != "text"]))
    return parts


def _parts(content: Any) -> list[Part]:
    if isinstance(content, str):
        return [{"text": content}] if content else []
    parts = []
    for given in content if isinstance(content, list) else ():
        part = _part({"type": "text", "text": given} if isinstance(given, str) else given)
        if part is not None:
            parts.append(part)
    return parts


def _part(part: Any) -> Part | None:
    if not isinstance(part, Mapping):
        return None
    kind = part.get("type")
    if kind in ("text", "refusal"):
        text = part.get(str(kind))
        return {"text": text} if isinstance(text, str) and text else None
    if kind == "image_url":
        picture = part.get("image_url")
        url = picture.get("url") if isinstance(picture, Mapping) else picture
        return _data(url, "image/jpeg") if isinstance(url, str) else None
    if kind == "input_audio" and isinstance(part.get("input_audio"), Mapping):
        sound = part["input_audio"]
        form = str(sound.get("format", "wav"))
        return {"inlineData": {"mimeType": _AUDIO.get(form, f"audio/{form}"), "data": sound.get("data")}}
    if kind == "video_url" and isinstance(part.get("video_url"), Mapping):
        return _data(str(part["video_url"].get("url")), "video/mp4")
    if kind == "file" and isinstance(part.get("file"), Mapping):
        file = part["file"]
        if isinstance(file.get("file_id"), str):
            return {"fileData": {"fileUri": file["file_id"]}}
        data = file.get("file_data")
        if isinstance(data, str):
            if ":" not in data[:16]:
                return {"inlineData": {"mimeType": "application/pdf", "data": data}}
            return _data(data, "application/pdf")
        return None
    raise refused(f"Gemini's format has no content of type {str(kind)[:50]!r}.")


def _data(url: str, otherwise: str) -> Part:
    found = data_uri(url)
    if found is not None:
        return {"inlineData": {"mimeType": found[0], "data": found[1]}}
    media_type = mimetypes.guess_type(urlsplit(url).path)[0] or otherwise
    return {"fileData": {"fileUri": url, "mimeType": media_type}}


def _settings(body: Mapping[str, Any], model: str) -> dict[str, Any]:
    settings = {key: body[name] for name, key in _SAME.items() if body.get(name) is not None}
    limit = asked_limit(body)
    if limit is not None:
        settings["maxOutputTokens"] = limit
    stops = asked_stops(body)
    if stops:
        settings["stopSequences"] = stops[:_MAX_STOPS]
    if body.get("logprobs") is True:
        settings["responseLogprobs"] = True
        if isinstance(body.get("top_logprobs"), int):
            settings["logprobs"] = body["top_logprobs"]
    asked, described, _ = asked_schema(body)
    if asked:
        settings["responseMimeType"] = "application/json"
        schema = gemini_schema(described)
        if schema is not None:
            settings["responseSchema"] = schema
    effort = body.get("reasoning_effort")
    if isinstance(effort, str) and effort in _BUDGETS:
        if "gemini-2.5" in model:
            settings["thinkingConfig"] = {"thinkingBudget": _BUDGETS[effort], "includeThoughts": effort != "none"}
        elif _UNCHECKED.search(model) is None:
            settings["thinkingConfig"] = {"thinkingLevel": _LEVELS[effort], "includeThoughts": effort != "none"}
    return settings


def _tools(tools: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    key = orjson.dumps(tools)
    known = _cleaned.get(key)
    if known is not None:
        return known
    declared: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for tool in tools:
        function = tool.get("function")
        if isinstance(function, Mapping):
            made: dict[str, Any] = {"name": function.get("name"), "description": function.get("description") or ""}
            schema = gemini_schema(function.get("parameters"))
            if schema is not None:
                made["parameters"] = schema
            declared.append(made)
        else:
            others.append(dict(tool))
    result = [{"functionDeclarations": declared}, *others] if declared else others
    if len(_cleaned) >= _MOST_CLEANED:
        _cleaned.clear()
    _cleaned[key] = result
    return result


def _choice(how: str | None, names: list[str] | None) -> dict[str, Any] | None:
    if how is None:
        return None
    if names is None:
        return {"mode": {"required": "ANY", "none": "NONE"}.get(how, "AUTO")}
    # Only a mode that forces a call or checks it takes names.
    return {"mode": "VALIDATED" if how == "auto" else "ANY", "allowedFunctionNames": names}
