"""Good answers of the ledger as examples: only words that are kept, of workspaces that want them kept still.

A call is an example where a model answered it, somebody judged the answer good (or its words score so high that it
counts unjudged), and nothing in it but text is needed to understand it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

import orjson
import sqlalchemy as sa

from gateway.account.contents import answer_row
from gateway.choose.catalogue import Model
from gateway.choose.limits import why_not
from gateway.choose.virtual import Strategy
from gateway.improve.finetuning.tasks import Selection
from gateway.prompt import Limits
from store.database import migrate, session
from store.errors import MeritError
from store.llm_feedback import one_each
from store.settings import Settings
from store.tables.gateway import LlmCallRow, LlmContentRow, LlmScoreRow

log = logging.getLogger("merit.gateway")

# (workspace, id of the row, id of the key or None, stored bytes) → the words as they were.
Read = Callable[[str, str, str | None, bytes], bytes]
# Calls that this platform made of its own accord are no examples of anything.
OWN_TAGS = ("benchmark:", "finetune:")
_PAGE = 1_000
_KEPT = ("role", "content", "name", "tool_calls", "tool_call_id")


@dataclass(frozen=True, slots=True)
class Example:
    """One good answer.

    Attributes
    ----------
    call : its id.
    person : for whom it was asked, as the application names them.
    group : those of a person belong together, else those of a conversation, and stay on one side of the split.
    messages : in OpenAI's shape, the answer last.
    tools : that could be called; none: none could.
    score, source : how good it is, and who says so.
    """

    call: str
    at: datetime
    workspace: str
    person: str | None
    conversation: str | None
    group: str
    domain: str
    model: str
    messages: tuple[Mapping[str, Any], ...]
    tools: tuple[Mapping[str, Any], ...]
    score: float
    source: str

    @property
    def answer(self) -> str:
        """The text of the answer; "" where it calls a tool."""
        return str(self.messages[-1].get("content") or "")


@dataclass
class Collected:
    """Examples, the best and newest first, and how many calls were left out for which reason."""

    examples: list[Example]
    left_out: Counter[str]


def collect(
    settings: Settings, selection: Selection, workspaces: Sequence[str], model: Model, now: datetime, read: Read
) -> Collected:
    """Examples of the last days.

    Parameters
    ----------
    workspaces : those whose words may be used.
    model : to be tuned: words that were to stay away from its provider are no examples.
    read : opens words that are kept encrypted.
    """
    migrate(settings)
    found = Collected([], Counter())
    since = now - timedelta(days=selection.days)
    for row in _rows(settings, workspaces, since, now, None):
        why = _unfit(row, selection) or _elsewhere(row, model)
        if why is None:
            made = _example(row, read)
            if isinstance(made, Example):
                found.examples.append(made)
                continue
            why = made
        found.left_out[why] += 1
    found.examples.sort(key=lambda one: (one.score, one.at, one.call), reverse=True)
    return found


def again(
    settings: Settings, calls: Sequence[str], workspaces: Sequence[str], model: Model, read: Read
) -> list[Example]:
    """The same examples once more by the ids of their calls, in that order; what was erased or is no longer kept since
    is not among them."""
    migrate(settings)
    known: dict[str, Example] = {}
    for begin in range(0, len(calls), _PAGE):
        for row in _rows(settings, workspaces, None, None, calls[begin : begin + _PAGE]):
            made = _elsewhere(row, model) or _example(row, read)
            if isinstance(made, Example):
                known[made.call] = made
    return [known[call] for call in calls if call in known]


def _rows(
    settings: Settings,
    workspaces: Sequence[str],
    since: datetime | None,
    until: datetime | None,
    ids: Sequence[str] | None,
) -> Iterator[sa.Row[Any]]:
    calls, words, scores = LlmCallRow, LlmContentRow, LlmScoreRow
    judged = one_each()
    query = (
        sa.select(
            calls.seq, calls.id, calls.at, calls.workspace, calls.user, calls.conversation, calls.domain, calls.model,
            calls.finish_reason, calls.tags, calls.strategy, calls.extra, words.key_id, words.prompt, words.answer,
            judged.c.score, judged.c.source, scores.score.label("from_words"),
        )
        .join(words, words.id == calls.id)
        .outerjoin(judged, judged.c.call_id == calls.id)
        .outerjoin(scores, scores.call_id == calls.id)
        .where(
            calls.kind == "chat",
            calls.outcome == "ok",
            calls.model.is_not(None),
            calls.workspace.in_(workspaces),
            words.answer.is_not(None),
        )
        .order_by(calls.seq)
        .limit(_PAGE)
    )  # fmt: skip
    if since is not None:
        query = query.where(calls.at > since)
    if until is not None:
        query = query.where(calls.at <= until)
    if ids is not None:
        query = query.where(calls.id.in_(ids))
    seq = 0
    with session(settings, readonly=True) as opened:
        while rows := list(opened.execute(query.where(calls.seq > seq)).all()):
            seq = rows[-1].seq
            yield from rows


def _unfit(row: sa.Row[Any], selection: Selection) -> str | None:
    """Why a call is no example, as far as its numbers tell; None: it may be one."""
    tags = [str(tag) for tag in row.tags or ()]
    if any(tag.startswith(OWN_TAGS) for tag in tags):
        return "made by a benchmark or an evaluation"
    if selection.tag is not None:
        if selection.tag not in tags:
            return "another tag"
    elif row.domain not in selection.domains:
        return "another kind of task"
    if selection.models and not any(fnmatchcase(row.model, pattern) for pattern in selection.models):
        return "another model's answer"
    if row.finish_reason not in (None, "stop", "tool_calls"):
        return "cut off or held back"
    score, source = _score(row)
    if source == "words":
        if selection.unjudged is None or score < selection.unjudged:
            return "not judged"
    elif score < selection.min_score:
        return "not judged good enough"
    return None


def _elsewhere(row: sa.Row[Any], model: Model) -> str | None:
    """Why its words may not go to a model; None: they may."""
    limits = Limits.of_whereabouts((row.extra or {}).get("whereabouts", {}))
    # Lines of before it was written down tell by their strategy.
    if why_not(model, limits, local_only=row.strategy == Strategy.PRIVATE) is None:
        return None
    return f"not for {model.provider}, as who asked said"


def _score(row: sa.Row[Any]) -> tuple[float, str]:
    if row.score is not None:
        return float(row.score), str(row.source)
    return float(row.from_words or 0.0), "words"


def _example(row: sa.Row[Any], read: Read) -> Example | str:
    """An example, or why it is none."""
    try:
        asked, answered = (
            orjson.loads(read(row.workspace, name, row.key_id, part))
            for name, part in ((row.id, row.prompt), (answer_row(row.id), row.answer))
        )
    except MeritError as error:
        log.warning("The words of the call %s cannot be read: %s", row.id, error.message)
        return "kept encrypted, and the key is not here"
    except orjson.JSONDecodeError:
        return "not to be read"
    messages = _messages(asked, answered)
    if messages is None:
        return "images, sound or files"
    if not messages:
        return "no answer in words"
    score, source = _score(row)
    tools = asked.get("tools")
    group = f"{row.workspace}/{row.user}" if row.user else row.conversation or row.id
    return Example(
        call=row.id,
        at=row.at,
        workspace=row.workspace,
        person=row.user,
        conversation=row.conversation,
        group=group,
        domain=row.domain or "",
        model=row.model,
        messages=messages,
        tools=tuple(tools) if isinstance(tools, list) else (),
        score=score,
        source=source,
    )


def _messages(asked: Any, answered: Any) -> tuple[dict[str, Any], ...] | None:
    """Messages and answer in OpenAI's shape; None where something in them is no text, () where there is no answer."""
    choices = answered.get("choices") if isinstance(answered, Mapping) else None
    said = choices[0].get("message") if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None
    given = asked.get("messages") if isinstance(asked, Mapping) else None
    if not isinstance(said, dict) or not isinstance(given, list) or not given:
        return ()
    if not said.get("tool_calls") and not (isinstance(said.get("content"), str) and said["content"].strip()):
        return ()
    made: list[dict[str, Any]] = []
    for message in [*given, {**said, "role": "assistant"}]:
        content = message.get("content")
        if isinstance(content, list):
            if any(not isinstance(part, dict) or part.get("type") != "text" for part in content):
                return None
            content = "\n".join(str(part.get("text") or "") for part in content)
        one = {name: message[name] for name in _KEPT if message.get(name) is not None}
        if content is not None:
            one["content"] = content
        if one.get("role") == "developer":
            one["role"] = "system"
        made.append(one)
    for message in made[:-1]:
        if message.get("role") == "assistant":
            # What was said before nobody judged: it is context, and not learned from.
            message["weight"] = 0
    return tuple(made)
