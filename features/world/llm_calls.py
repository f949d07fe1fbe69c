"""Builds the LLM side of the demo world: a period's calls in the gateway's own tables, and the truth beside them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import numpy as np
import pandas as pd

from features.world.business import Array
from features.world.llm import ledger_rows
from features.world.llm.adopted import Adopted, adopt
from features.world.llm.attempts import Attempts, attempts
from features.world.llm.feedback import JUDGE, Judged, graded
from features.world.llm.feedback import judge as said_by_user
from features.world.llm.happenings import Happenings, happenings
from features.world.llm.ledger_rows import Ended
from features.world.llm.logging_policy import CHAT, Choices, choose
from features.world.llm.models import item_effect
from features.world.llm.offers import MODELS
from features.world.llm.prompts import Said, Speaker
from features.world.llm.replies import Reply, expected_tokens, reply_to
from features.world.llm.task import COMPLEXITIES, Task, drawn_from, fraction
from features.world.llm.tasks import DOMAINS, draw
from features.world.llm.traffic import Traffic, traffic
from features.world.llm.truth import LlmTruth, expected_quality, write
from features.world.llm.workspaces import ORGANISATION, WORKSPACES
from store import llm_calls, workspaces
from store.database import migrate
from store.errors import InvalidValue
from store.settings import Settings

__all__ = ["Adopted", "LlmTruth", "build_llm_world"]

Progress = Callable[[int, int, str], None]

LIMITS = {"days": (14, 730), "calls_per_day": (5, 20_000), "judge": (0, 1)}
CONTENTS_DAYS = 365
"""How long the demo's workspaces keep words: the gateway's own 30 days would leave nothing to learn from."""

_BATCH = 2_000
# From here on the runaway user is held back, until the loop ends.
_REFUSED_AFTER = 0.75
_EMBED = MODELS["simulated/embed"]


def build_llm_world(
    settings: Settings,
    *,
    days: int = 90,
    calls_per_day: float = 330.0,
    judge: float = 0.0,
    seed: int | None = None,
    end: date,
    until: datetime | None = None,
    adopted: Adopted | None = None,
    progress: Progress | None = None,
) -> LlmTruth:
    """Simulate calls of language models and write them to the ledger, with words and feedback.

    The same arguments give the same rows; what is there already is left as it is. The truth goes to `world/llm/` in
    the home, replacing what was there.

    Parameters
    ----------
    days : length of the period, the last day being `end` (14 – 730).
    calls_per_day : on average, without those of the runaway user (5 – 20,000).
    judge : share of answers that a judging model scores where no user did (0 – 1): a small world has as many judged
        answers as a large one. Nothing else changes.
    seed : default: that of the settings.
    until : only calls before this moment, naive UTC, are written: the past of a world that goes on.
    adopted : a recommendation that is followed from a moment on.
    progress : called with calls done, calls in all, and what is being done.

    Raises
    ------
    InvalidValue : `days`, `calls_per_day` or `judge` lies outside its limits.
    """
    for name, value in (("days", days), ("calls_per_day", calls_per_day), ("judge", judge)):
        low, high = LIMITS[name]
        if not low <= value <= high:
            raise InvalidValue(
                f"{name} = {value} lies outside {low:,} – {high:,}.",
                remedy=f"Choose {name} within these limits.",
                field=name,
                value=value,
            )
    migrate(settings)
    chosen_seed = settings.seed if seed is None else seed
    start = end - timedelta(days=days - 1)
    made = _World(chosen_seed, start, days, calls_per_day, adopted, judge)
    _put_workspaces(settings)
    frame, spent, contents, judged = made.write(settings, progress, until)
    truth = LlmTruth(
        folder=settings.root / "world" / "llm",
        seed=chosen_seed,
        start=start,
        end=end,
        calls=len(frame),
        contents=contents,
        feedback=judged,
        spent=int(spent.sum()),
        spent_by_runaway=int(spent[frame["runs_away"].to_numpy()].sum()),
        runaway=made.happened.runaway,
        happenings=made.happened.listed,
    )
    write(truth.folder, frame, truth)
    return truth


def _put_workspaces(settings: Settings) -> None:
    known = {one.name: one.settings for one in workspaces.every(settings)}
    for one in WORKSPACES:
        values: dict[str, Any] = {"organisation": ORGANISATION, "keep": one.keep, "contents_days": CONTENTS_DAYS}
        if one.local_only:
            values["local_only"] = True
        # A world that goes on keeps what was set for its workspaces meanwhile.
        workspaces.put(settings, one.name, ORGANISATION, {**known.get(one.name, {}), **values})


@dataclass
class _Rows:
    """What was made and not yet written."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)
    contents: list[tuple[Any, ...]] = field(default_factory=list)
    feedback: list[tuple[Any, ...]] = field(default_factory=list)


class _World:
    """All arrays of the period, one entry per call, and the words."""

    def __init__(
        self, seed: int, start: date, days: int, calls_per_day: float, adopted: Adopted | None, judge: float
    ) -> None:
        rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(4_711,))))
        self.seed = seed
        self.judge = judge
        self.happened: Happenings = happenings(start, days)
        self.calls: Traffic = traffic(start, days, calls_per_day, self.happened.runaway, rng)
        count = len(self.calls)
        self.ids = [ledger_rows.call_id(seed, int(at), n) for n, at in enumerate(self.calls.at)]
        self.speakers = [Speaker(one, drawn_from(seed, "speaker", one.name)) for one in WORKSPACES]
        self.said = self._say()
        self.tokens = np.array([one.tokens for one in self.said])
        self.item = np.array([item_effect(seed, one.task.prompt) for one in self.said])
        streams = np.array([one.streams for one in WORKSPACES])[self.calls.workspace]
        self.streamed: Array = (rng.random(count) < streams) & ~self.calls.embeds
        self.choices: Choices = choose(self.calls, self.tokens, self.happened, rng)
        runaway = self.happened.runaway
        held = runaway.begins + _REFUSED_AFTER * (runaway.ends - runaway.begins)
        refused = self.calls.runs_away & (self.calls.at >= held)
        self.tried: Attempts = attempts(self.calls, self.choices, self.happened, self.streamed, refused, rng)
        self.adopted = adopted
        self.part: Array = np.full(count, "", dtype=object)
        if adopted is not None:
            self.choices, self.tried, self.part = adopt(
                adopted, seed, self.calls, self.choices, self.tried, self.happened
            )
        # The prompts themselves, not what they were taken for: a repeated one keeps its task.
        domain = np.array([DOMAINS.index(one.task.domain) for one in self.said])
        complexity = np.array([COMPLEXITIES.index(one.task.complexity) for one in self.said])
        self.quality = expected_quality(domain, complexity, self.item, self.calls.at, self.happened)
        self.overhead = 0.25 + rng.gamma(2.0, 0.2, count)
        self.price = np.stack([self.happened.price(model.id, self.calls.at) for model in CHAT], axis=1)

    def _say(self) -> list[Said]:
        looped = draw(drawn_from(self.seed, "loop"), "code", "complex")
        vectors = drawn_from(self.seed, "vectors")
        said: list[Said] = []
        for n, place in enumerate(self.calls.workspace):
            speaker = self.speakers[place]
            if self.calls.embeds[n]:
                said.append(Said(Task("", "", "simple", "embeddings"), vectors.randint(40, 900)))
            elif self.calls.runs_away[n]:
                said.append(speaker.loop(looped, n))
            else:
                said.append(speaker.say(DOMAINS[self.calls.domain[n]], COMPLEXITIES[self.calls.complexity[n]]))
        # A call for vectors states no task; what it is given here is not read.
        return [one if one.task.domain else Said(_NO_TASK, one.tokens) for one in said]

    def write(
        self, settings: Settings, progress: Progress | None, until: datetime | None = None
    ) -> tuple[pd.DataFrame, Array, int, int]:
        """Answer every call and write it; returns the truth and the nanos of each, and counts of words and feedback."""
        count = len(self.calls)
        if until is not None:
            count = int(np.searchsorted(self.calls.at, int(until.replace(tzinfo=UTC).timestamp() * 1e6)))
        spent, realised = np.zeros(count, dtype=np.int64), np.full(count, np.nan)
        models: list[str | None] = []
        rng = drawn_from(self.seed, "feedback")
        strict = {user: rng.gauss(0.04, 0.06) for user in sorted(set(self.calls.user))}
        # Workspace and model → when the beginning of its prompts was last in the provider's cache.
        warm: dict[tuple[int, str], int] = defaultdict(lambda: -(10**18))
        rows, contents, judged = _Rows(), 0, 0
        for n in range(count):
            ended, reply = self._call(n, warm, rows)
            spent[n] = ended.cost
            models.append(ended.model)
            if reply is not None and ended.outcome == "ok":
                realised[n] = reply.quality
                self._judge(n, reply, ended, strict, rng, rows)
            if len(rows.calls) >= _BATCH or n == count - 1:
                llm_calls.insert(settings, rows.calls, rows.contents)
                ledger_rows.insert_feedback(settings, rows.feedback)
                contents, judged = contents + len(rows.contents), judged + len(rows.feedback)
                rows = _Rows()
                if progress:
                    progress(n + 1, count, "LLM calls")
        return self._frame(models, realised[:count], count), spent, contents, judged

    def _call(self, n: int, warm: dict[tuple[int, str], int], rows: _Rows) -> tuple[Ended, Reply | None]:
        calls, said, call = self.calls, self.said[n], self.ids[n]
        place, user, at = int(calls.workspace[n]), str(calls.user[n]), int(calls.at[n])
        speaker = self.speakers[place]
        embeds = bool(calls.embeds[n])
        reply, conversation = None, None
        if embeds:
            ended = self._embedded(n)
        else:
            messages, before, conversation = speaker.messages(user, said, call)
            ended, reply = self._chatted(n, said.tokens + before, speaker.system_tokens, warm)
            speaker.hear(user, said, reply.text if reply is not None and ended.outcome == "ok" else None)
            if speaker.habits.keep == "plain":
                answer = reply.text if reply is not None and ended.outcome == "ok" else None
                model = ended.model or str(calls.asked[n])
                rows.contents.append(ledger_rows.content_row(call, at, speaker.habits, user, messages, model, answer))
        rows.calls.append(
            ledger_rows.ledger_row(
                *(call, at, speaker.habits, user, str(calls.asked[n]), n, self.choices, ended),
                streamed=bool(self.streamed[n]),
                embeds=embeds,
                tokens=said.tokens,
                conversation=conversation,
                extra=self._extra(n),
            )
        )
        return ended, reply

    def _extra(self, n: int) -> dict[str, Any] | None:
        if self.adopted is None or not self.part[n]:
            return None
        told = {"use": self.adopted.use, "part": str(self.part[n]), "because": self.adopted.because}
        return {"substitution": told}

    def _embedded(self, n: int) -> Ended:
        tokens, cost = int(self.tokens[n]), _EMBED.cost(int(self.tokens[n]), 0)
        took = _EMBED.ttft_ms * float(self.tried.jitter[n]) + float(self.overhead[n])
        return Ended("ok", took, float(self.overhead[n]), _EMBED.id, input=tokens, cost=cost, reserved=cost)

    def _chatted(self, n: int, tokens: int, fixed: int, warm: dict[tuple[int, str], int]) -> tuple[Ended, Reply | None]:
        tried, row = self.tried, int(self.tried.answered[n])
        failures, overhead = tried.failed[n], float(self.overhead[n])
        lost = sum(one.took_ms for one in failures)
        first = int(self.choices.chosen[n])
        reserved = round(2.5 * float(self.choices.cost[n, first]))
        if row < 0 and tried.outcome[n] == "refused":
            return Ended("refused", overhead, overhead, error="BudgetExceeded"), None
        if row < 0:
            last = failures[-1]
            ended = Ended(
                "failed",
                lost + overhead,
                overhead,
                CHAT[last.model].id,
                error=last.kind,
                reserved=reserved,
                failed=failures,
            )
            return ended, None
        model = CHAT[row]
        reply = reply_to(model, self.said[n].task, float(self.quality[n, row]), self.seed, "answer", self.ids[n])
        heard = float(tried.heard[n])
        output, reasoning = max(1, round(reply.output * heard)), min(reply.reasoning, round(reply.output * heard))
        # A long beginning is cached for those who ask the same model again within ten minutes.
        key, at = (int(self.calls.workspace[n]), model.id), int(self.calls.at[n])
        cached = fixed // 128 * 128 if fixed >= 1_024 and at - warm[key] < 600_000_000 else 0
        warm[key] = at
        cost = round(model.cost(tokens, output, cached) * float(self.price[n, row]))
        pace = float(tried.slower[n] * tried.jitter[n])
        begun = lost + overhead + model.ttft_ms * pace
        ended = Ended(
            str(tried.outcome[n]),
            begun + 1_000 * output / model.tokens_per_second * pace,
            overhead,
            model.id,
            finish="stop" if heard == 1 else None,
            input=tokens,
            cached=cached,
            output=output,
            reasoning=reasoning,
            cost=cost,
            reserved=max(reserved, cost),
            first_ms=begun if self.streamed[n] else None,
            failed=failures,
        )
        return ended, reply

    def _judge(self, n: int, reply: Reply, ended: Ended, strict: dict[str, float], rng: Random, rows: _Rows) -> None:
        habits, user = WORKSPACES[self.calls.workspace[n]], str(self.calls.user[n])
        if self.calls.runs_away[n]:
            return
        judged: Judged | None = None
        reporter = f"{habits.name}-app"
        if rng.random() < habits.feedback:
            judged = said_by_user(reply.quality, strict[user], rng)
        # Drawn apart, so that users say the same whether or not there is a judge.
        elif self.judge and habits.keep != "nothing" and fraction(self.seed, "judged", n) < self.judge:
            judged, reporter = graded(reply.quality, drawn_from(self.seed, "judge", n)), JUDGE
        if judged is None:
            return
        when = int(self.calls.at[n]) + 1_000 * ended.latency_ms + 1e6 * judged.after
        rows.feedback.append(
            (
                *(ledger_rows.call_id(self.seed + 1, int(when), n), self.ids[n], habits.name, user),
                *(judged.score, judged.source, judged.comment, ledger_rows.moment(when), reporter),
            )
        )

    def _frame(self, models: Sequence[str | None], realised: Array, count: int) -> pd.DataFrame:
        left = len(self.calls) - count
        return self._whole([*models, *[None] * left], np.pad(realised, (0, left))).iloc[:count]

    def _whole(self, models: Sequence[str | None], realised: Array) -> pd.DataFrame:
        chats = ~self.calls.embeds
        frame = pd.DataFrame(
            {
                "id": self.ids,
                "at": self.calls.at.astype("datetime64[us]"),
                "workspace": [WORKSPACES[place].name for place in self.calls.workspace],
                "user": self.calls.user,
                "model": models,
                "outcome": self.tried.outcome.astype(str),
                "runs_away": self.calls.runs_away,
                "again": [one.again for one in self.said],
                "domain": [one.task.domain if chat else "" for one, chat in zip(self.said, chats, strict=True)],
                "complexity": [one.task.complexity if chat else "" for one, chat in zip(self.said, chats, strict=True)],
                "kind": [one.task.kind if chat else "" for one, chat in zip(self.said, chats, strict=True)],
                "closed": [one.task.closed for one in self.said],
                "item_effect": self.item,
                "realised": realised,
            }
        )
        output = np.stack([expected_tokens(one.task) for one in self.said])
        columns: dict[str, Array] = {}
        for number, model in enumerate(CHAT):
            slower = self.happened.slower(model.id, self.calls.at)
            cost = (self.tokens * model.input + output[:, number] * model.output) * self.price[:, number]
            took = (model.ttft_ms + 1_000 * output[:, number] / model.tokens_per_second) * slower
            columns[f"quality:{model.id}"] = np.where(chats, self.quality[:, number], np.nan)
            columns[f"cost:{model.id}"] = np.where(chats, cost, np.nan)
            columns[f"latency:{model.id}"] = np.where(chats, took, np.nan)
        return pd.concat([frame, pd.DataFrame(columns)], axis=1)


_NO_TASK = Task("", DOMAINS[-1], COMPLEXITIES[0], "embeddings", parts=("",))
