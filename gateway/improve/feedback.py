"""What users' doings say of answers: the same asked again at once, and what was reported, told to whoever adapts.

Who asks the same again within ten minutes was not content with the answer. It counts for named persons alone, not for
programs: those repeat themselves for reasons of their own, as does whoever sends the same more than three times.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from gateway.account.preference_store import PreferenceStore, subject_of
from gateway.choose.preferences import REPEATED, alike, gist_of
from gateway.improve.scoring_queue import EndedCall
from gateway.prompt import Tenant
from store import llm_feedback
from store.database import session
from store.llm_feedback import Judgement
from store.settings import Settings
from store.tables.gateway import FeedbackRow, LlmCallRow

REPORTED_BY = "gateway"
_MOST_USERS = 4_000
_MOST_REPEATS = 3
_ANSWERED = ("ok", "cached", "broken")
_AT_ONCE = 500
# A judgement that is on its way when the next one is read is seen by looking back so far.
_OVERLAP = timedelta(seconds=30)


def record(
    settings: Settings,
    preferences: PreferenceStore | None,
    call: Mapping[str, Any],
    *,
    source: str,
    score: float,
    reported_by: str = REPORTED_BY,
) -> Judgement:
    """Keep a sign that nobody gave outright, and learn from it as a preference of the person whom the answer was for.

    Parameters
    ----------
    preferences : None: nothing is learned of the person.
    call : a line of the ledger: `id`, `workspace`, `user`, `key_name`, `model`, `domain`.
    source : "repeat" or "judge"; what a judge thinks is no liking of the person's.
    score : 0 to 1.

    Raises
    ------
    InvalidValue : an unknown source, or a score outside 0 to 1.
    """
    made = llm_feedback.add(
        settings,
        call_id=call["id"],
        workspace=call["workspace"],
        user=call["user"],
        score=score,
        source=source,
        reported_by=reported_by,
    )
    if preferences is not None and source != "judge" and call["model"] is not None:
        subject = subject_of(Tenant(user=call["user"], key_name=call["key_name"] or "local"))
        preferences.learn(call["workspace"], subject, call["model"], call["domain"] or "", source, score, made.at)
    return made


@dataclass(slots=True)
class _Last:
    """The last prompt of a person."""

    gist: Counter[int]
    call: dict[str, Any]
    ended: datetime
    answered: bool
    times: int


class Repeats:
    """A step of `EndedCalls` that notices what is asked again. Words are compared by hashes, in memory alone.

    Attributes
    ----------
    noticed : repeats since the start.
    """

    def __init__(self, settings: Settings, preferences: PreferenceStore | None) -> None:
        self._settings = settings
        self._preferences = preferences
        self._last: OrderedDict[tuple[str, str], _Last] = OrderedDict()
        self.noticed = 0

    def __call__(self, ended: EndedCall) -> None:
        """Compare a prompt with the one before of the same person."""
        line = ended.record
        tenant = line.tenant
        if line.kind != "chat" or tenant.user is None or line.batch is not None or line.parent is not None:
            return
        if not ended.prompt or line.outcome == "refused":
            return
        key = tenant.workspace, tenant.user
        before, gist = self._last.pop(key, None), gist_of(ended.prompt)
        times = 0
        if before is not None and alike(before.gist, gist, (line.at - before.ended).total_seconds()):
            times = before.times + 1
            # Where answers are cached, the same is asked again because that is cheap.
            if before.answered and line.cache is None and times <= _MOST_REPEATS:
                self.noticed += 1
                record(self._settings, self._preferences, before.call, source="repeat", score=REPEATED)
        elif len(self._last) >= _MOST_USERS:
            self._last.popitem(last=False)
        call = {
            "id": line.id,
            "workspace": tenant.workspace,
            "user": tenant.user,
            "key_name": tenant.key_name,
            "model": line.model,
            "domain": line.domain,
        }
        over = line.at + timedelta(milliseconds=line.latency_ms)
        self._last[key] = _Last(gist, call, over, line.outcome in _ANSWERED, times)


class Reported:
    """Reads judgements as they come in, from this process or another, and tells of each once.

    Parameters
    ----------
    told : model, kind of task, score.
    """

    def __init__(self, settings: Settings, told: Callable[[str, str, float], None]) -> None:
        self._settings = settings
        self._told = told
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._after: datetime | None = None

    def look(self) -> int:
        """Tell of what is new; the first look only notes where the table ends. Returns how many there were."""
        query = (
            sa.select(FeedbackRow.id, FeedbackRow.at, FeedbackRow.score, LlmCallRow.model, LlmCallRow.domain)
            .join(LlmCallRow, LlmCallRow.id == FeedbackRow.call_id)
            .order_by(FeedbackRow.at, FeedbackRow.id)
        )
        with session(self._settings, readonly=True) as opened:
            if self._after is None:
                self._after = opened.scalar(sa.select(sa.func.max(FeedbackRow.at))) or datetime(1970, 1, 1)
                recent = sa.select(FeedbackRow.id).where(FeedbackRow.at > self._after - _OVERLAP).limit(_AT_ONCE)
                self._seen.update(dict.fromkeys(opened.scalars(recent)))
                return 0
            rows = opened.execute(query.where(FeedbackRow.at > self._after - _OVERLAP).limit(2 * _AT_ONCE)).all()
        told = 0
        for row in rows:
            self._after = max(self._after, row.at)
            if row.id in self._seen:
                continue
            self._seen[row.id] = None
            if row.model is not None:
                self._told(row.model, row.domain or "", row.score)
                told += 1
        if len(rows) == 2 * _AT_ONCE:
            self._after = rows[-1].at + _OVERLAP  # more than can be told apart by looking back
        while len(self._seen) > 4 * _AT_ONCE:
            self._seen.popitem(last=False)
        return told
