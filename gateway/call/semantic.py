"""The semantic cache: a question asked before in other words finds its answer, where a workspace wants that.

Candidates are found by the similarity of vectors, within one workspace and one set of everything else: system prompt,
earlier messages, tools, parameters, models. Then `gateway.call.likeness` decides by the words. Here are only vectors,
words and keys; the answers themselves are in `gateway.call.cache`.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gateway.call import lexical
from gateway.call.cache import TTL_S, AnswerCache
from gateway.call.cache_key import prompt_key
from gateway.call.lexical import Vector, unit
from gateway.call.likeness import Question, read, replaced
from gateway.prompt import Prompt

log = logging.getLogger("merit.gateway")
MOST_BYTES = 32 * 1024 * 1024
THRESHOLD = 0.95
# A text that is longer than this is a document rather than a question.
_LONGEST_TEXT = 1_000
_MOST_IN_GROUP = 512
_MOST_CANDIDATES = 8
_ENTRY_BYTES = 1_000
# Pairs that never mean the same. Two words must be more alike, to a model, than any of these, and by so much.
_CONTRASTS = (
    ("france", "germany"), ("paris", "london"), ("monday", "tuesday"), ("january", "february"), ("red", "blue"),
    ("cat", "dog"), ("mother", "father"), ("increase", "decrease"), ("hot", "cold"), ("english", "french"),
    ("python", "java"), ("buy", "sell"), ("north", "south"), ("minimum", "maximum"),
    ("safe", "dangerous"), ("legal", "forbidden"), ("open", "close"), ("husband", "wife"), ("small", "large"),
)  # fmt: skip
_MARGIN = 0.02
_LEAST_ALIKE = 0.8
_INDISTINCT = 0.99

Embed = Callable[[str], Awaitable[Sequence[float]]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt as the semantic cache sees it.

    Attributes
    ----------
    scope : digest of everything but the words of the last message.
    """

    workspace: str
    scope: bytes
    question: Question


@dataclass(frozen=True, slots=True)
class _Entry:
    question: Question
    vector: Vector
    key: bytes
    until: float
    user: str | None


@dataclass(slots=True)
class _Group:
    """Questions of one workspace and scope; `matrix` holds their vectors, None after a change."""

    entries: list[_Entry] = field(default_factory=list)
    matrix: Vector | None = None
    bytes: int = 0


def asked(prompt: Prompt, resolved: str | Sequence[str]) -> Asked | None:
    """What of a prompt is the question and what its scope; None where there is no plain question at its end.

    Parameters
    ----------
    resolved : as for the exact key.
    """
    messages = prompt.body.get("messages")
    # A caller's own body in another format holds the words once more, in places unknown here.
    if prompt.kind != "chat" or prompt.native is not None or not isinstance(messages, list) or not messages:
        return None
    last = messages[-1]
    if not isinstance(last, Mapping) or last.get("role") != "user":
        return None
    text = _text(last.get("content"))
    if text is None or not 0 < len(text) <= _LONGEST_TEXT:
        return None
    question = read(text)
    if not question.tokens:
        return None
    rest = {**prompt.body, "messages": [*messages[:-1], {**last, "content": None}]}
    scope = prompt_key(
        Prompt(prompt.id, prompt.tenant, prompt.kind, prompt.model, rest, prompt.limits, prompt.options), resolved
    )
    return Asked(prompt.tenant.workspace, scope, question)


class SemanticIndex:
    """Questions that were answered, and the keys of their answers. Used from one event loop.

    Parameters
    ----------
    embed : an embedding model; None: hashed words, which find the same question in other politeness only.
    clock : seconds that never go back.
    """

    def __init__(
        self,
        embed: Embed | None = None,
        *,
        most_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._embed = embed
        self._most_bytes = most_bytes
        self._clock = clock
        # Least recently asked first.
        self._groups: OrderedDict[tuple[str, bytes], _Group] = OrderedDict()
        self._bytes = 0
        self._least_alike: float | None = None

    async def find(self, question: Asked, threshold: float = THRESHOLD) -> bytes | None:
        """Key of the answer to a question that asks the same; None: there is none.

        Parameters
        ----------
        threshold : least similarity of the two, 0 to 1.
        """
        group = self._groups.get((question.workspace, question.scope))
        if group is None:
            return None
        vector = await self._vector(question.question.plain)
        if vector is None:
            return None
        self._groups.move_to_end((question.workspace, question.scope))
        now = self._clock()
        for entry in self._candidates(group, vector, threshold):
            if entry.until > now and await self._asks_the_same(question.question, entry.question):
                return entry.key
        return None

    async def add(self, question: Asked, key: bytes, *, ttl_s: float, user: str | None = None) -> None:
        """Remember under which key a question's answer is kept, for as long as it is."""
        vector = await self._vector(question.question.plain)
        if vector is None:
            return
        name = (question.workspace, question.scope)
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = _Group()
        now = self._clock()
        kept = [one for one in group.entries if one.until > now and one.key != key]
        kept = kept[max(0, len(kept) + 1 - _MOST_IN_GROUP) :]
        self._replace(name, group, [*kept, _Entry(question.question, vector, key, now + ttl_s, user)])
        self._groups.move_to_end(name)
        while self._bytes > self._most_bytes and len(self._groups) > 1:
            _, gone = self._groups.popitem(last=False)
            self._bytes -= gone.bytes

    def erase(self, workspace: str, user: str | None = None) -> int:
        """Forget a workspace's questions, or those of one person; how many."""
        erased = 0
        for name in [name for name in self._groups if name[0] == workspace]:
            group = self._groups[name]
            kept = [one for one in group.entries if user is not None and one.user != user]
            erased += len(group.entries) - len(kept)
            self._replace(name, group, kept)
        return erased

    def forget(self, question: Asked, key: bytes) -> None:
        """Forget a question whose answer is gone."""
        name = (question.workspace, question.scope)
        group = self._groups.get(name)
        if group is not None:
            self._replace(name, group, [one for one in group.entries if one.key != key])

    def __len__(self) -> int:
        return sum(len(group.entries) for group in self._groups.values())

    def _candidates(self, group: _Group, vector: Vector, threshold: float) -> list[_Entry]:
        if group.matrix is None:
            group.matrix = np.stack([one.vector for one in group.entries])
        if group.matrix.shape[1] != vector.shape[0]:
            return []  # Another embedding model than when they were made.
        likeness = group.matrix @ vector
        # A cosine of one and the same text may be a rounding error below 1.
        order = np.argsort(-likeness)[:_MOST_CANDIDATES]
        return [group.entries[place] for place in order if likeness[place] >= threshold - 1e-5]

    async def _asks_the_same(self, one: Question, other: Question) -> bool:
        pairs = replaced(one, other)
        if pairs is None:
            return False
        for left, right in pairs:
            least = await self._least()
            vectors = [await self._vector(left), await self._vector(right)] if least is not None else [None]
            if least is None or vectors[0] is None or vectors[1] is None or _cosine(vectors[0], vectors[1]) < least:
                return False
        return True

    async def _least(self) -> float | None:
        """How alike two words must be to mean the same, for this model; None: it does not tell words apart."""
        if self._embed is None:
            return None
        if self._least_alike is None:
            most = 0.0
            for pair in _CONTRASTS:
                one, other = [await self._vector(word) for word in pair]
                if one is None or other is None:
                    return None
                most = max(most, _cosine(one, other))
            self._least_alike = max(_LEAST_ALIKE, most + _MARGIN)
        return self._least_alike if self._least_alike < _INDISTINCT else None

    async def _vector(self, text: str) -> Vector | None:
        if self._embed is None:
            return lexical.vector(text)
        try:
            made = np.asarray(await self._embed(text), dtype=np.float32)
        except Exception as error:  # noqa: BLE001  the call goes on without the cache
            log.warning("The semantic cache got no embedding: %s", type(error).__name__)
            return None
        if made.ndim != 1 or not made.size or not np.isfinite(made).all():
            return None
        return unit(made)

    def _replace(self, name: tuple[str, bytes], group: _Group, entries: list[_Entry]) -> None:
        """Set what is in a group; entries of another length than the last one's are of another model, and go."""
        if entries:
            size = entries[-1].vector.shape[0]
            entries = [one for one in entries if one.vector.shape[0] == size]
        before = group.bytes
        group.entries, group.matrix = entries, None
        # Each vector twice: by itself, and in the matrix.
        group.bytes = sum(_ENTRY_BYTES + 2 * one.vector.nbytes + 4 * len(one.question.plain) for one in entries)
        self._bytes += group.bytes - before
        if not entries:
            del self._groups[name]


class SemanticCache:
    """Answers to questions that were asked in other words; what `AnswerCache` is for those asked in the same.

    Parameters
    ----------
    answers : where the answers themselves are.
    embed : as for `SemanticIndex`.
    """

    def __init__(self, answers: AnswerCache, embed: Embed | None = None) -> None:
        self._answers = answers
        self.index = SemanticIndex(embed)
        # Whoever has answers forgotten has the questions forgotten, too.
        answers.on_forget = self.index.erase

    async def find(
        self, prompt: Prompt, resolved: str | Sequence[str], threshold: float = THRESHOLD
    ) -> dict[str, Any] | None:
        """The answer to the same question; the caller's own copy. None: there is none."""
        question = asked(prompt, resolved)
        key = None if question is None else await self.index.find(question, threshold)
        if question is None or key is None:
            return None
        found = await self._answers.get(question.workspace, key)
        if found is None:
            self.index.forget(question, key)
        return found

    async def put(self, prompt: Prompt, resolved: str | Sequence[str], key: bytes, *, ttl_s: float = TTL_S) -> None:
        """Remember a question whose answer was kept under its exact key."""
        question = asked(prompt, resolved)
        if question is not None:
            await self.index.add(question, key, ttl_s=ttl_s, user=prompt.tenant.user)

    def erase(self, workspace: str, user: str | None = None) -> int:
        """Forget a workspace's questions, or those of one person; how many."""
        return self.index.erase(workspace, user)


def _cosine(one: Vector, other: Vector) -> float:
    return float(one @ other) if one.shape == other.shape else 0.0


def _text(content: Any) -> str | None:
    """The text of a message that is nothing else."""
    if isinstance(content, str):
        return content
    if (
        isinstance(content, list)
        and content
        and all(
            isinstance(part, Mapping) and part.keys() == {"type", "text"} and isinstance(part["text"], str)
            for part in content
        )
    ):
        return "\n".join(part["text"] for part in content)
    return None
