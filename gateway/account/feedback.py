"""What somebody thought of an answer: kept, and learned as a preference of the person it was given to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.account.contents import Contents
from gateway.account.preference_store import PreferenceStore, subject_of
from gateway.call.reading import text_of_answer
from gateway.choose.preferences import part_kept
from gateway.prompt import Tenant
from store import llm_feedback
from store.errors import InvalidValue, StateConflict
from store.llm_feedback import Judgement
from store.settings import Settings

MOST_STARS = 5
# Of these a whole answer came, or at least its beginning.
_ANSWERED = ("ok", "cached", "broken")


@dataclass(frozen=True, slots=True)
class Opinion:
    """What is thought of an answer; exactly one of the first four is given.

    Attributes
    ----------
    thumb : "up" or "down".
    stars : 1 to 5.
    score : 0 to 1.
    edit : what was made of the answer before it was used.
    answer : the answer that was edited, where its workspace keeps no words.
    """

    thumb: str | None = None
    stars: int | None = None
    score: float | None = None
    edit: str | None = None
    answer: str | None = None
    comment: str | None = None


def judge(
    settings: Settings,
    contents: Contents,
    preferences: PreferenceStore | None,
    line: Mapping[str, Any],
    opinion: Opinion,
    reported_by: str,
) -> Judgement:
    """Keep an opinion of the answer to a call, and learn from it.

    Parameters
    ----------
    preferences : None: nothing is learned here.
    line : of the ledger.

    Raises
    ------
    StateConflict : the call was not answered.
    InvalidValue : not exactly one opinion, or one out of bounds; an edit of an answer that nobody has kept.
    """
    if line["outcome"] not in _ANSWERED:
        raise StateConflict(
            f"The call {line['id']} has the outcome {line['outcome']}: there is no answer to judge.",
            remedy="Judge calls whose outcome is ok, cached or broken.",
            field="call",
            value=line["id"],
        )
    source, score = _measured(contents, line, opinion)
    made = llm_feedback.add(
        settings,
        call_id=line["id"],
        workspace=line["workspace"],
        user=line["user"],
        score=score,
        source=source,
        comment=opinion.comment,
        reported_by=reported_by,
    )
    if preferences is not None and line["model"] is not None:  # of an answer from the cache nobody knows whose it is
        tenant = Tenant(user=line["user"], key_name=line["key_name"] or "local")
        # A score is a grade as stars are.
        sign = "stars" if source == "score" else source
        preferences.learn(
            line["workspace"], subject_of(tenant), line["model"], line["domain"] or "", sign, score, made.at
        )
    return made


def _measured(contents: Contents, line: Mapping[str, Any], opinion: Opinion) -> tuple[str, float]:
    """Where it came from, and 0 to 1."""
    given = [name for name in ("thumb", "stars", "score", "edit") if getattr(opinion, name) is not None]
    if len(given) != 1:
        raise InvalidValue(
            f"Feedback has {' and '.join(given) or 'none of thumb, stars, score and edit'}.",
            remedy="Give exactly one of thumb, stars, score and edit.",
            field=given[-1] if given else "thumb",
        )
    if opinion.thumb is not None:
        return "thumb", float(opinion.thumb == "up")
    if opinion.stars is not None:
        if not 1 <= opinion.stars <= MOST_STARS:
            _refuse("stars", opinion.stars, f"Use 1 to {MOST_STARS}.")
        return "stars", (opinion.stars - 1) / (MOST_STARS - 1)
    if opinion.score is not None:
        if not 0.0 <= opinion.score <= 1.0:
            _refuse("score", opinion.score, "Use a number from 0 (bad) to 1 (good).")
        return "score", opinion.score
    assert opinion.edit is not None
    return "edit", part_kept(_answer(contents, line, opinion), opinion.edit)


def _answer(contents: Contents, line: Mapping[str, Any], opinion: Opinion) -> str:
    if opinion.answer is not None:
        return opinion.answer
    said = contents.said(line["workspace"], line["id"])
    if said is None or said["answer"] is None:
        raise InvalidValue(
            f"The answer to the call {line['id']} was not kept: how much of it an edit leaves cannot be told.",
            remedy="Send the answer as it was in the field `answer`.",
            field="answer",
        )
    return text_of_answer(said["answer"])


def _refuse(name: str, value: object, remedy: str) -> None:
    raise InvalidValue(f"Feedback cannot have {name} = {value!r}.", remedy=remedy, field=name, value=value)
