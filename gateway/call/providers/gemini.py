"""Gemini's format: generateContent, its stream of server-sent events, and batchEmbedContents."""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from gateway.call.providers.endpoints import Endpoint, encode, endpoint
from gateway.call.providers.failures import failure_in_answer
from gateway.call.providers.gemini_answer import GeminiDecoder, from_gemini_answer, read_gemini_usage
from gateway.call.providers.gemini_request import to_gemini_request
from gateway.call.providers.http import Http
from gateway.call.providers.openai import read_object
from gateway.call.providers.openai_request import refused, wants_usage
from gateway.call.providers.provenance import source_of
from gateway.call.providers.streaming import PieceStream
from gateway.call.providers.wire import Answer, Provider, ProviderFailure
from gateway.prompt import Prompt
from gateway.usage import Usage

# Pictures come whole within one event.
MAX_EVENT_BYTES = 32 * 1024 * 1024
MOST_TEXTS = 100
_VERSION = re.compile(r"/v\d+\w*$")
_MOST_ENDPOINTS = 1000


@dataclass(frozen=True, slots=True)
class _Line:
    """What is the same in every request to one provider; an endpoint for each model and verb."""

    provider: Provider
    source: str
    prefix: str
    headers: Mapping[str, str]
    endpoints: dict[tuple[str, str], Endpoint] = field(default_factory=dict)

    def endpoint(self, model: str, verb: str) -> Endpoint:
        known = self.endpoints.get((model, verb))
        if known is None:
            if len(self.endpoints) >= _MOST_ENDPOINTS:
                self.endpoints.clear()
            path = f"{self.prefix}/{_resource(model)}:{verb}"
            known = self.endpoints[model, verb] = endpoint(self.provider, path, self.headers)
        return known


class GeminiWire:
    """Speaks to whoever takes `/v1beta/models/…` below its base URL, which may end in a version already.

    The key goes in a header; in the address it would end up in logs.
    """

    def __init__(self, http: Http) -> None:
        self._http = http
        self._lines: dict[str, _Line] = {}

    async def complete(self, provider: Provider, model: str, prompt: Prompt, timeout_s: float) -> Answer:
        line = self._line(provider)
        request = encode(to_gemini_request(prompt.body, model, line.source))
        raw = await self._http.request(line.endpoint(model, "generateContent"), request, timeout_s)
        answer, usage = from_gemini_answer(provider, read_object(provider, raw), model, line.source)
        return Answer(answer, usage, answer["choices"][0]["finish_reason"])

    def stream(self, provider: Provider, model: str, prompt: Prompt, timeout_s: float) -> PieceStream:
        line = self._line(provider)
        request = encode(to_gemini_request(prompt.body, model, line.source))
        opened = self._http.open(line.endpoint(model, "streamGenerateContent?alt=sse"), request, timeout_s)
        return PieceStream(
            opened, GeminiDecoder(provider, model, line.source, wants_usage(prompt.body)), MAX_EVENT_BYTES
        )

    async def embed(self, provider: Provider, model: str, prompt: Prompt, timeout_s: float) -> Answer:
        line = self._line(provider)
        texts = _texts(prompt.body.get("input"))
        asked: dict[str, Any] = {"model": _resource(model)}
        if isinstance(prompt.body.get("dimensions"), int):
            asked["outputDimensionality"] = prompt.body["dimensions"]
        requests = [{**asked, "content": {"parts": [{"text": text}]}} for text in texts]
        raw = await self._http.request(
            line.endpoint(model, "batchEmbedContents"), encode({"requests": requests}), timeout_s
        )
        body = read_object(provider, raw)
        found = body.get("embeddings")
        if not isinstance(found, list) or len(found) != len(texts):
            if body.get("error"):
                raise failure_in_answer(provider, body)
            raise ProviderFailure("malformed", f"{provider.name} gave other than one embedding a text.", status=200)
        packed = prompt.body.get("encoding_format") == "base64"
        told = read_gemini_usage(body.get("usageMetadata"))
        usage = None if told is None else Usage(input=told.input)
        data = [_embedding(provider, number, vector, packed) for number, vector in enumerate(found)]
        shown = {"prompt_tokens": usage.input if usage else 0, "total_tokens": usage.input if usage else 0}
        return Answer({"object": "list", "data": data, "model": model, "usage": shown}, usage)

    async def models(self, provider: Provider, timeout_s: float) -> list[str]:
        line = self._line(provider)
        listing = endpoint(provider, f"{line.prefix}/models?pageSize=1000", line.headers)
        offered = read_object(provider, await self._http.request(listing, None, timeout_s, method="GET")).get("models")
        if not isinstance(offered, list):
            raise ProviderFailure("malformed", f"{provider.name} answered without `models`.", status=200)
        names = (model.get("name") for model in offered if isinstance(model, Mapping))
        return [str(name).removeprefix("models/") for name in names if name]

    def _line(self, provider: Provider) -> _Line:
        line = self._lines.get(provider.name)
        if line is None or line.provider is not provider:
            headers = {} if provider.key is None else {"x-goog-api-key": provider.key}
            prefix = "" if _VERSION.search(urlsplit(provider.base_url).path.rstrip("/")) else "/v1beta"
            line = self._lines[provider.name] = _Line(provider, source_of(provider), prefix, headers)
        return line


def _resource(model: str) -> str:
    """The path of a model; tuned ones carry their own."""
    named = model if model.startswith(("models/", "tunedModels/")) else f"models/{model}"
    return quote(named, safe="/-._~")


def _texts(given: Any) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise refused("Gemini embeds texts, not tokens: `input` must be a text or a list of texts.", "input")
    if len(texts) > MOST_TEXTS:
        raise refused(f"Gemini embeds {MOST_TEXTS} texts in one request, {len(texts)} were given.", "input")
    return texts


def _embedding(provider: Provider, number: int, vector: Any, packed: bool) -> dict[str, Any]:
    values = vector.get("values") if isinstance(vector, Mapping) else None
    if not isinstance(values, list) or not all(isinstance(value, int | float) for value in values):
        raise ProviderFailure("malformed", f"{provider.name} sent an embedding that is not numbers.", status=200)
    shown: Any = values
    if packed:
        # As OpenAI packs them: 32-bit floats, little-endian, in base64.
        shown = base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
    return {"object": "embedding", "index": number, "embedding": shown}
