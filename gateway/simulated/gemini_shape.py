"""Gemini's shape: `models/{model}:generateContent` and `:streamGenerateContent`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from gateway.simulated.asked import Asked, Refused, Tool, invalid, number, whole
from gateway.simulated.told import Chunk, Told, spoken

_FINISHES = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}
_STATUSES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
_MODES = {"AUTO": "auto", "NONE": "none", "ANY": "required"}
MALFORMED = b'data: {"candidates": [{"content": \r\n\r\n'


def parse(body: Mapping[str, Any], model: str, *, streamed: bool) -> Asked:
    """A request.

    Raises
    ------
    Refused : 400, without contents or with parts of no known kind.
    """
    contents = body.get("contents")
    if not isinstance(contents, list) or not contents:
        raise invalid("contents is not specified", "contents")
    texts, images, last = [], 0, ""
    result: tuple[str, str] | None = None
    instruction = body.get("systemInstruction") or body.get("system_instruction") or {}
    for content in [{**instruction, "role": "system"}] * bool(instruction) + contents:
        role, parts = content.get("role", "user"), content.get("parts")
        if not isinstance(parts, list):
            raise invalid("contents.parts must not be empty", "contents")
        said = []
        result = None
        for part in parts:
            match part:
                case {"text": str() as text}:
                    said.append(text)
                case {"inlineData": _} | {"inline_data": _} | {"fileData": _}:
                    images += 1
                case {"functionCall": {"name": name}}:
                    said.append(orjson.dumps(part["functionCall"]).decode())
                case {"functionResponse": {"name": name, "response": answer}}:
                    result = (str(name), orjson.dumps(answer).decode())
                    said.append(result[1])
                case {"thoughtSignature": _}:
                    pass
                case _:
                    raise invalid("contents.parts: no part of a known kind", "contents")
        if role == "user":
            last = "\n".join(said)
        texts.append(f"{role}: {' '.join(said)}")
    declared = [one for tool in body.get("tools") or () for one in tool.get("functionDeclarations") or ()]
    tools = tuple(
        Tool(
            str(one.get("name")),
            str(one.get("description") or ""),
            one.get("parametersJsonSchema") or _lower(one.get("parameters") or {}),
        )
        for one in declared
    )
    if tools:
        texts.append(orjson.dumps(declared).decode())
    config = body.get("generationConfig") or {}
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    allowed = calling.get("allowedFunctionNames") or []
    schema = config.get("responseJsonSchema") or _lower(config.get("responseSchema") or {})
    thinking = (config.get("thinkingConfig") or {}).get("thinkingBudget", 1)
    return Asked(
        model=model,
        text=last,
        context="\n".join(texts),
        messages=len(contents),
        stream=streamed,
        max_tokens=whole(config, "maxOutputTokens"),
        stop=tuple(map(str, config.get("stopSequences") or ())),
        temperature=number(config, "temperature", 0, 2),
        seed=config.get("seed"),
        images=images,
        tools=tools,
        tool_choice=str(allowed[0]) if len(allowed) == 1 else _MODES.get(calling.get("mode", "AUTO"), "auto"),
        tool_result=result,
        schema=schema if config.get("responseMimeType") == "application/json" else None,
        thinking=thinking != 0,
    )


def response(told: Told) -> bytes:
    """A whole answer."""
    parts: list[dict[str, Any]] = [{"text": told.reply.text}] if told.reply.text else []
    if told.reply.tool is not None:
        name, arguments = told.reply.tool
        parts.append({"functionCall": {"name": name, "args": orjson.loads(arguments)}})
    return orjson.dumps(_frame(told, parts, told.reply.finish, usage=told.usage != "never"))


def stream(told: Told) -> list[Chunk]:
    """The same as events; thoughts are counted and not shown."""
    made = [
        Chunk(_event(_frame(told, [{"text": piece}], None, usage=told.usage in ("early", "twice"))), tokens)
        for thought, piece, tokens in spoken(told.reply)
        if not thought
    ]
    parts: list[dict[str, Any]] = [{"text": ""}]
    if told.reply.tool is not None:
        name, arguments = told.reply.tool
        parts = [{"functionCall": {"name": name, "args": orjson.loads(arguments)}}]
    end = _frame(told, parts, told.reply.finish, usage=told.usage not in ("early", "never"))
    return [*made, Chunk(_event(end), told.output, last=True)]


def error(refused: Refused) -> bytes:
    """An error's body."""
    status = _STATUSES.get(refused.status, "RESOURCE_EXHAUSTED" if refused.status == 429 else "INTERNAL")
    return orjson.dumps({"error": {"code": refused.status, "message": refused.message, "status": status}})


def _event(content: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(content) + b"\r\n\r\n"


def _frame(told: Told, parts: list[dict[str, Any]], finish: str | None, *, usage: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = _FINISHES[finish]
    content: dict[str, Any] = {"candidates": [candidate], "modelVersion": told.name, "responseId": told.id}
    if usage:
        content["usageMetadata"] = {
            "promptTokenCount": told.input,
            "cachedContentTokenCount": told.cached,
            # Unlike OpenAI's, thoughts are not among the tokens of the answer here.
            "candidatesTokenCount": told.output - told.reply.reasoning_tokens,
            "thoughtsTokenCount": told.reply.reasoning_tokens,
            "totalTokenCount": told.input + told.output,
        }
    return content


def _lower(schema: Any) -> Any:
    """A schema with its types as JSON schema writes them: STRING becomes string."""
    if isinstance(schema, dict):
        return {
            key: value.lower() if key == "type" and isinstance(value, str) else _lower(value)
            for key, value in schema.items()
        }
    return [_lower(one) for one in schema] if isinstance(schema, list) else schema
