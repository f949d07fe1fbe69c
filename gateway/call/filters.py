"""What must not leave in an answer, taken out while it passes: secrets and personal data, masked or refused.

A stream is filtered as it comes. Only what may still become a secret waits: usually a word or two, never more than a
kilobyte; arguments of a tool call wait for their end, so that what arrives stays JSON.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import orjson

from gateway.account.workspace_settings import Filters
from gateway.call import detectors
from gateway.call.detectors import BLOCK_BEGIN, BLOCK_END, KEY_TAIL, LONGEST, LONGEST_BLOCK_END, Span
from gateway.call.providers.wire import Answer, Piece
from store.errors import ContentRefused

# Text without a place where it can be cut waits until it is so long.
MOST_HELD = 1024
MOST_ARGUMENTS = 1 << 18
# Behind such a space nothing goes on that began before it: numbers in groups and `BEGIN PRIVATE KEY` do.
_CUT = re.compile(r".*[^A-Z0-9)\s]\s", re.DOTALL)
_TAIL = re.compile(KEY_TAIL)
# Members of a message that are no words of the answer.
_NO_WORDS = frozenset(
    {"id", "role", "type", "object", "name", "index", "finish_reason", "data", "signature", "encrypted"}
)


class AnswerFilter:
    """What one workspace lets out."""

    def __init__(self, filters: Filters) -> None:
        self.secrets = filters.secrets
        self.personal = filters.personal_data
        self.refuse = filters.mode == "refuse"

    def answer(self, answer: Answer) -> Answer:
        """A whole answer without what must not leave; the same object where there is nothing to take out.

        Raises
        ------
        ContentRefused : there is something, and the workspace wants it refused.
        """
        choices = answer.body.get("choices")
        if not isinstance(choices, list):
            return answer
        cleaned = [self._choice(one) if isinstance(one, dict) else one for one in choices]
        if all(new is old for new, old in zip(cleaned, choices, strict=True)):
            return answer
        return replace(answer, body={**answer.body, "choices": cleaned}, native=None)

    def _choice(self, choice: dict[str, Any]) -> dict[str, Any]:
        message = choice.get("message")
        cleaned = self.value(message)
        if cleaned is message:
            return choice
        # Log-probabilities spell the same words.
        return {**choice, "message": cleaned, **({"logprobs": None} if "logprobs" in choice else {})}

    def stream(self) -> StreamFilter:
        """A filter for one streamed answer."""
        return StreamFilter(self)

    def text(self, text: str) -> str:
        """A whole text without what must not leave; raises as `answer` does."""
        held = HeldText(self)
        return held.push(text, last=True)

    def value(self, value: Any, name: str = "") -> Any:
        """A JSON value whose texts are clean; the same object where they were."""
        if isinstance(value, str):
            return self.arguments(value) if name == "arguments" else self.text(value)
        if isinstance(value, dict):
            pairs = {key: one if key in _NO_WORDS and isinstance(one, str) else self.value(one, key)
                     for key, one in value.items()}  # fmt: skip
            return value if all(pairs[key] is one for key, one in value.items()) else pairs
        if isinstance(value, list):
            items = [self.value(one) for one in value]
            return value if all(new is old for new, old in zip(items, value, strict=True)) else items
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**8:
            text = str(value)
            return value if (cleaned := self.text(text)) == text else cleaned
        return value

    def arguments(self, text: str) -> str:
        """Arguments of a tool call, which are JSON and stay it."""
        try:
            parsed = orjson.loads(text)
        except orjson.JSONDecodeError:
            return self.text(text)
        cleaned = self.value(parsed)
        return text if cleaned is parsed else orjson.dumps(cleaned).decode()

    def spans(self, text: str, start: int) -> list[Span]:
        """What must not leave, from `start` on, in order and without overlaps.

        Raises
        ------
        ContentRefused : there is something, and the workspace wants it refused.
        """
        found: list[Span] = []
        if self.secrets:
            found += detectors.keys(text, start)
        if self.personal:
            found += detectors.personal_data(text, start)
        if not found:
            return found
        if self.refuse:
            raise refused(found[0][2])
        found.sort()
        merged = [found[0]]
        for begin, end, name in found[1:]:
            if begin < merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]), merged[-1][2])
            else:
                merged.append((begin, end, name))
        return merged


class HeldText:
    """One text that comes in pieces; wherever they are cut, what leaves is the same."""

    def __init__(self, rule: AnswerFilter) -> None:
        self._rule = rule
        # The last character that left stands before what is held: a match must not begin within a word.
        self._held = ""
        self._start = 0
        self._within = ""  # "block" or "key": of what was masked already and goes on

    def push(self, text: str, *, last: bool = False) -> str:
        """What may leave now; with `last`, all of it."""
        self._held += text
        out: list[str] = []
        while self._step(out, last):
            pass
        return "".join(out)

    def _step(self, out: list[str], last: bool) -> bool:
        """Pass on what can be; whether there may be more to do."""
        held, start = self._held, self._start
        if self._within == "block":
            return self._leave_block(last)
        if self._within == "key":
            return self._leave_key(last)
        begin = BLOCK_BEGIN.search(held, start) if self._rule.secrets and "-----" in held else None
        if begin is not None:
            if self._rule.refuse:
                raise refused("secret")
            self._release(out, begin.start(), self._rule.spans(held[: begin.start()], start))
            out.append(masked("secret"))
            self._held, self._start, self._within = held[begin.end() :], 0, "block"
            return True
        if last:
            self._release(out, len(held), self._rule.spans(held, start))
            return False
        match = _CUT.match(held, start)
        if match is not None:
            self._release(out, match.end(), self._rule.spans(held[: match.end()], start))
        elif len(held) - start > MOST_HELD:
            self._release_long(out)
            return bool(self._within)
        return False

    def _release_long(self, out: list[str]) -> None:
        """Without a place to cut at: what is further from the end than any match is long is decided."""
        held = self._held
        cut = len(held) - LONGEST
        spans = [span for span in self._rule.spans(held, self._start) if span[0] < cut]
        end = max(cut, spans[-1][1] if spans else 0)
        # A key goes on as long as its characters do, and one more may come after a dot.
        if spans and (end == len(held) or held[end:] == "."):
            self._within = "key"
        self._release(out, end, spans)

    def _release(self, out: list[str], end: int, spans: list[Span]) -> None:
        held, position = self._held, self._start
        for begin, finish, name in spans:
            out.append(held[position:begin])
            out.append(masked(name))
            position = finish
        out.append(held[position:end])
        context = held[end - 1 : end] if end else ""
        self._held, self._start = context + held[end:], len(context)

    def _leave_block(self, last: bool) -> bool:
        match = BLOCK_END.search(self._held)
        if match is None:
            self._held = "" if last else self._held[-LONGEST_BLOCK_END:]
            return False
        self._held, self._start, self._within = self._held[match.end() :], 0, ""
        return True

    def _leave_key(self, last: bool) -> bool:
        held, start = self._held, self._start
        match = _TAIL.match(held, start)
        end = match.end() if match is not None else start
        begin = BLOCK_BEGIN.search(held, start)
        if begin is not None and begin.start() <= end:
            self._held, self._start, self._within = held[begin.start() :], 0, ""
            return True
        undecided = None if last else detectors.may_begin_block(held, start)
        if undecided is not None and undecided < end:
            end = undecided
        context = held[end - 1 : end]
        self._held, self._start = context + held[end:], len(context)
        if not last and (undecided == end or held[end:] in ("", ".")):
            return False
        self._within = ""
        return True


class StreamFilter:
    """One streamed answer. Its pieces lose their provider's own format: the words are only cleaned in OpenAI's."""

    def __init__(self, rule: AnswerFilter) -> None:
        self._rule = rule
        self._texts: dict[tuple[int, str], HeldText] = {}
        self._arguments: dict[tuple[int, int], str] = {}
        self._head: dict[str, Any] = {}

    def piece(self, piece: Piece) -> Piece:
        """What may leave of a piece, and of those before it.

        Raises
        ------
        ContentRefused : there is something to take out, and the workspace wants it refused.
        """
        chunk = piece.chunk
        if chunk is None or not (choices := chunk.get("choices")):
            return replace(piece, native=()) if piece.native else piece
        if not self._head:
            self._head = {name: chunk[name] for name in ("id", "object", "created", "model") if name in chunk}
        return Piece({**chunk, "choices": [self._choice(one) for one in choices]}, piece.usage)

    def rest(self) -> list[Piece]:
        """What is still held, where a stream ends without saying so."""
        held = sorted({index for index, _ in (*self._texts, *self._arguments)})
        deltas = [(index, self._last({}, index)) for index in held]
        return [Piece({**self._head, "choices": [_ended(index, delta)]}) for index, delta in deltas if delta]

    def _choice(self, choice: dict[str, Any]) -> dict[str, Any]:
        index = choice.get("index", 0)
        delta = {
            name: self._member(index, name, value)
            for name, value in (choice.get("delta") or {}).items()
            if name != "reasoning_blocks"  # signed by the provider as they are: they leave whole or not at all
        }
        if choice.get("finish_reason"):
            delta = self._last(delta, index)
        cleaned = {**choice, "delta": delta}
        if cleaned.get("logprobs"):
            cleaned["logprobs"] = None
        return cleaned

    def _member(self, index: int, name: str, value: Any) -> Any:
        if name in _NO_WORDS or value is None:
            return value
        if isinstance(value, str):
            held = self._texts.get((index, name))
            if held is None:
                held = self._texts[index, name] = HeldText(self._rule)
            return held.push(value)
        if name == "tool_calls" and isinstance(value, list):
            return [self._tool_call(index, place, one) for place, one in enumerate(value)]
        return self._rule.value(value, name)

    def _tool_call(self, index: int, place: int, call: dict[str, Any]) -> dict[str, Any]:
        function = call.get("function")
        if not isinstance(function, Mapping) or not function.get("arguments"):
            return call
        key = index, call.get("index", place)
        text = self._arguments.get(key, "") + function["arguments"]
        if len(text) > MOST_ARGUMENTS:
            raise ContentRefused(
                f"The arguments of a tool call are longer than {MOST_ARGUMENTS:,} characters, too long to be filtered.",
                remedy="Ask for less at once, or switch the workspace's output filters off.",
            )
        self._arguments[key] = text
        return {**call, "function": {**function, "arguments": ""}}

    def _last(self, delta: dict[str, Any], index: int) -> dict[str, Any]:
        for key in [key for key in self._texts if key[0] == index]:
            if text := (delta.get(key[1]) or "") + self._texts.pop(key).push("", last=True):
                delta[key[1]] = text
        calls = [
            {"index": key[1], "function": {"arguments": self._rule.arguments(self._arguments.pop(key))}}
            for key in sorted(key for key in self._arguments if key[0] == index)
        ]
        if calls:
            delta["tool_calls"] = [*(delta.get("tool_calls") or ()), *calls]
        return delta


@lru_cache(maxsize=64)
def _filter(filters: Filters) -> AnswerFilter:
    return AnswerFilter(filters)


def filter_of(filters: Filters) -> AnswerFilter | None:
    """The filter of a workspace; None where it lets everything out."""
    return _filter(filters) if filters.secrets or filters.personal_data else None


def _ended(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": None}


def masked(name: str) -> str:
    return f"[{name} removed]"


def refused(name: str) -> ContentRefused:
    """The answer holds something that the workspace does not let out; never what it is."""
    return ContentRefused(
        f"The answer holds a {name}, which this workspace does not let out."
        if name[0] not in "aei"
        else f"The answer holds an {name}, which this workspace does not let out.",
        remedy="Ask for an answer without it, or let an admin change the workspace's output filters.",
        details={"found": name},
    )
