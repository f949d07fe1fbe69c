"""How many tokens a prompt has, counted offline, before anybody is asked.

Up to 4,000 characters the count is that of the encoding. Of longer ones, windows all over the text are counted and the
rest is taken to be like them: within 5 % on text of one kind, within 10 % where prose, code and other scripts follow
each other, and right on average. Providers other than OpenAI have vocabularies of their own, which differ by more than
that; what is charged is what they tell.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import Any, Protocol, cast

import orjson

from gateway.account.media import audio_tokens, file_tokens, image_tokens

EXACT = 4_000  # characters of a prompt that are counted rather than estimated
_WINDOW = 256
_WORD = 24  # longest piece that a window is moved by, to begin and end between words
_SHARE = 24  # beyond them, one in so many is counted too
_MOST_SAMPLED = 65_536
_MESSAGE = 3  # what stands around a message, and before the answer
_CALL = 8
_DEEPEST = 8
# Counts of texts seen before: a conversation is sent again with each turn. Their hashes are kept, never the texts.
_KNOWN_FROM = 256
_MOST_KNOWN = 8_192
_known: dict[tuple[int, int, str], int] = {}


class Tokeniser(Protocol):
    def count(self, text: str) -> int: ...


@cache
def _tokeniser(encoding: str) -> Tokeniser:
    # Importing the package itself reads three vocabularies into Python objects, one second and 70 MB; what counts is
    # the compiled module alone.
    package = find_spec("bpe_openai")
    spec = PathFinder.find_spec("_bindings", package.submodule_search_locations if package else None)
    if spec is None or spec.loader is None:
        module = importlib.import_module("bpe_openai._bindings")
    else:
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
    return cast(Tokeniser, module.tokenizer_for_encoding(encoding))


def warm_up(encoding: str = "o200k_base") -> None:
    """Read the vocabulary now, a third of a second, rather than with the first prompt."""
    _tokeniser(encoding).count("")


def count_text(text: object, encoding: str = "o200k_base") -> int:
    """Tokens of a text, at least 1; of anything else, those of its JSON."""
    return max(1, _Counter(encoding).add(text if isinstance(text, str) else _json(text)).total())


def count_prompt(body: Mapping[str, Any], kind: str = "chat", encoding: str = "o200k_base") -> int:
    """Tokens of a request in OpenAI's shape, at least 1. Content of no known shape counts as its JSON; none raises.

    Parameters
    ----------
    kind : "chat" counts messages, tools and schemas; "embeddings" counts `input`.
    """
    counter = _Counter(encoding)
    if kind == "embeddings":
        counter.embedded(body.get("input"))
        return max(1, counter.total())
    messages = body.get("messages")
    if isinstance(messages, list | tuple):
        counter.tokens += _MESSAGE
        for message in messages:
            counter.message(message)
    elif messages is not None:
        counter.add(_json(messages))
    for name in ("tools", "functions", "response_format"):
        if (value := body.get(name)) and not (name == "response_format" and _is_plain(value)):
            counter.add(_json(value))
    return max(1, counter.total())


class _Counter:
    """Adds texts up: those seen before from memory, the first characters exactly, the rest by sample."""

    __slots__ = ("_count", "_encoding", "_left", "_rest", "tokens")

    def __init__(self, encoding: str) -> None:
        self.tokens = 0
        self._encoding = encoding
        self._count = _tokeniser(encoding).count
        self._left = EXACT
        self._rest: list[str] = []

    def add(self, text: str) -> _Counter:
        length = len(text)
        if length < _KNOWN_FROM:
            if length <= self._left:
                self._left -= length
                self.tokens += self._exact(text)
            else:
                self._rest.append(text)
            return self
        key = (hash(text), length, self._encoding)
        known = _known.get(key)
        if known is None:
            if length <= self._left:
                self._left -= length
                known = self._exact(text)
            elif length > EXACT and not self._rest:
                # One long text after others: on its own, so that it is known next time.
                known = self._sampled(text, self._left)
                self._left = 0
            else:
                self._rest.append(text)
                return self
            if len(_known) >= _MOST_KNOWN:
                _known.clear()
            _known[key] = known
        self.tokens += known
        return self

    def total(self) -> int:
        if self._rest:
            rest = "\n".join(self._rest)
            self.tokens += self._sampled(rest, self._left)
            self._rest = []
        return self.tokens

    def message(self, message: Any) -> None:
        self.tokens += _MESSAGE
        if not isinstance(message, Mapping):
            self.add(_json(message))
            return
        content = message.get("content")
        if isinstance(content, str):
            self.add(content)
        elif content is not None:
            self.content(content)
        if len(message) > 2:
            for name in ("name", "refusal", "reasoning_content"):
                if value := message.get(name):
                    self.add(value if isinstance(value, str) else _json(value))
            if calls := message.get("tool_calls"):
                self.calls(calls)
            if value := message.get("function_call"):
                self.calls([{"function": value}])

    def calls(self, calls: Any) -> None:
        if not isinstance(calls, list | tuple):
            self.add(_json(calls))
            return
        for call in calls:
            self.tokens += _CALL
            function = call.get("function") if isinstance(call, Mapping) else None
            if isinstance(function, Mapping):
                for name in ("name", "arguments"):
                    value = function.get(name)
                    self.add(value if isinstance(value, str) else _json(value))
            else:
                self.add(_json(call))

    def content(self, content: Any, depth: int = 0) -> None:
        if isinstance(content, str):
            self.add(content)
        elif isinstance(content, list | tuple) and depth < _DEEPEST:
            for part in content:
                self.content(part, depth + 1)
        elif isinstance(content, Mapping):
            self._part(content)
        elif content is not None:
            self.add(_json(content))

    def _part(self, part: Mapping[str, Any]) -> None:
        kind = part.get("type")
        if kind in ("text", "input_text", "output_text") and isinstance(text := part.get("text"), str):
            self.add(text)
        elif kind in ("image_url", "image", "input_image"):
            self.tokens += image_tokens(part)
        elif kind == "input_audio":
            self.tokens += audio_tokens(part)
        elif kind in ("file", "input_file"):
            self.tokens += file_tokens(part)
        else:
            self.add(_json(part))

    def embedded(self, given: Any) -> None:
        if isinstance(given, list | tuple):
            if all(isinstance(one, int) for one in given):
                self.tokens += len(given)
                return
            for one in given:
                if isinstance(one, str):
                    self.add(one)
                elif isinstance(one, list | tuple):
                    self.tokens += len(one)
                else:
                    self.add(_json(one))
        elif given is not None:
            self.add(given if isinstance(given, str) else _json(given))

    def _exact(self, text: str) -> int:
        try:
            return self._count(text)
        except UnicodeEncodeError:  # half of a character, which JSON may hold and UTF-8 cannot
            return self._count(text.encode("utf-8", "replace").decode())

    def _sampled(self, text: str, left: int) -> int:
        length = len(text)
        wanted = min(max(left, EXACT // 4) + length // _SHARE, _MOST_SAMPLED)
        if length <= wanted:
            return self._exact(text)
        windows = wanted // _WINDOW
        stride = length / windows
        counted = read = 0
        for place in range(windows):
            # Not at even distances: records of equal length would show the same field in every window.
            start = int(stride * place + (stride - _WINDOW) * (place * 0.618034 % 1.0))
            # Between words: halves of them are more tokens than they are part of.
            start = max(start, text.find(" ", start, start + _WORD))
            end = max(start + _WINDOW, text.find(" ", start + _WINDOW, start + _WINDOW + _WORD))
            window = text[start:end]
            counted += self._exact(window)
            read += len(window)
        return round(counted * length / read)


def _is_plain(response_format: Any) -> bool:
    return isinstance(response_format, Mapping) and "json_schema" not in response_format


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS, default=str).decode()
    except TypeError:  # half of a character, nested deeply, integers of more than 64 bits
        pass
    try:
        return json.dumps(value, default=str, skipkeys=True)
    except (TypeError, ValueError, RecursionError):
        return type(value).__name__
