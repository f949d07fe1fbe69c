"""What a running gateway learns of its answers: scores, repeats, reported feedback, a judge, and shifted shares."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.call.reading import Reading
from gateway.gateway import Gateway
from gateway.improve.improvement import Improvement
from gateway.improve.scoring_judge import WORKSPACE
from gateway.opening import OpenGateway
from gateway.prompt import Options, Prompt, Tenant
from models.quality.features import NAMES
from store import events, llm_feedback, llm_scores, workspaces
from store.database import session
from store.llm_spending import spent_since
from store.settings import Settings
from store.tables.base import new_id, utc_now
from store.tables.gateway import LlmScoreRow

ARTICLE = "Write an article of about 60 words on heat pumps in old houses. Cover running costs and noise limits."


@dataclass
class Running:
    """A gateway in this process."""

    settings: Settings
    gateway: Gateway
    improvement: Improvement

    async def ask(self, text: str, user: str | None = None, model: str = "simulated/medium", **fields: Any) -> str:
        """Ask; returns the id of the call."""
        workspace = fields.pop("workspace", "default")
        body = {"model": model, "messages": [{"role": "user", "content": text}], **fields}
        prompt = Prompt(new_id(), Tenant(workspace, user=user), "chat", model, body, options=Options())
        await self.gateway.answer(prompt)
        return prompt.id

    async def hear(self, text: str) -> str:
        """Ask for a stream, read it to its end; returns the id of the call."""
        body = {"model": "simulated/medium", "messages": [{"role": "user", "content": text}], "stream": True}
        prompt = Prompt(new_id(), Tenant(), "chat", "simulated/medium", body, stream=True)
        streamed = await self.gateway.stream(prompt)
        async for _ in streamed.pieces():
            pass
        return prompt.id

    async def settled(self) -> None:
        """Everything that has ended was looked at and is written."""
        await asyncio.to_thread(self.improvement.queue.drain)
        await asyncio.to_thread(self.improvement.scoring.flush)
        await asyncio.to_thread(self.gateway.parts.ledger.flush)


def running(settings: Settings, work: Callable[[Running], Awaitable[None]]) -> None:
    async def run() -> None:
        async with opened(settings) as found:
            await work(found)

    asyncio.run(run())


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Running]:
    async with OpenGateway(settings) as found:
        yield Running(settings, found.gateway, found.improvement)


@pytest.fixture
def home(settings: Settings, simulator: Any, monkeypatch: pytest.MonkeyPatch) -> Settings:
    # Here it adapts when it is told to.
    monkeypatch.setattr("gateway.opening.TICK_S", 3600.0)
    return settings.model_copy(update={"simulator_port": simulator.port})


def test_answers_are_scored_after_the_call_whole_or_streamed(home: Settings) -> None:
    async def work(found: Running) -> None:
        whole, streamed = await found.ask(ARTICLE), await found.hear(ARTICLE)
        await found.settled()
        scores = llm_scores.of(home, [whole, streamed])
        # A model answers the same prompt alike, streamed or not.
        assert scores[whole].score == scores[streamed].score
        assert 0.0 < scores[whole].score <= 1.0
        assert scores[whole].scorer == "words v2"
        assert len(scores[whole].features) == len(NAMES)
        told = found.improvement.explain()
        assert (told["scorer"]["scored"], told["scorer"]["left_out"]) == (2, 0)
        assert told["models"][0]["scores"] == 2

    running(home, work)


def test_scores_hold_numbers_alone_and_of_one_call_the_first_stays(home: Settings) -> None:
    async def work(found: Running) -> None:
        call = await found.ask(f"{ARTICLE} The secret word is xylophonist.")
        await found.settled()
        with session(home, readonly=True) as opened_:
            row = opened_.scalars(sa.select(LlmScoreRow)).one()
            assert all(one is None or isinstance(one, int | float) for one in row.features)
        first = llm_scores.of(home, [call])[call]
        llm_scores.insert(home, [llm_scores.Score(call, first.at, first.workspace, 0.0, "other", ())])
        assert llm_scores.of(home, [call, "unknown"]) == {call: first}

    running(home, work)


def test_what_a_person_asks_again_at_once_is_a_sign_and_what_a_program_does_is_none(home: Settings) -> None:
    async def work(found: Running) -> None:
        first = await found.ask("How do I read the meter in the cellar of the depot?", user="kim")
        await found.ask("How do I read the meter in the cellar of the depot, please?", user="kim")
        await found.ask("How do I read the meter in the cellar of the depot?", user="lee")
        for _ in range(2):
            await found.ask("How do I read the meter in the cellar of the depot?")
        await found.settled()
        (given,) = llm_feedback.judgements(home).items
        assert (given.call_id, given.source, given.user, given.score) == (first, "repeat", "kim", 0.2)
        assert given.reported_by == "gateway"
        liking = found.gateway.parts.preferences.get("default", "kim").liking("simulated/medium", "knowledge")
        assert liking < 0.5

    running(home, work)


def test_a_program_that_repeats_itself_under_a_persons_name_is_soon_let_be(home: Settings) -> None:
    async def work(found: Running) -> None:
        for _ in range(8):
            await found.ask("Is the night shift of the depot staffed today?", user="cron")
        await found.settled()
        assert len(llm_feedback.judgements(home).items) == 3

    running(home, work)


def test_reported_feedback_reaches_adaptation_once(home: Settings) -> None:
    async def work(found: Running) -> None:
        told: list[tuple[str, str, float]] = []
        found.improvement.reported._told = lambda *one: told.append(one)
        old = await found.ask(ARTICLE)
        await found.settled()
        give = {"workspace": "default", "user": None, "source": "thumb"}
        llm_feedback.add(home, call_id=old, score=0.0, **give)
        assert found.improvement.reported.look() == 0, "what was there before is no news"
        new = await found.ask(ARTICLE)
        await found.settled()
        llm_feedback.add(home, call_id=new, score=1.0, **give)
        llm_feedback.add(home, call_id="0" * 32, score=1.0, **give)
        assert found.improvement.reported.look() == 1
        assert found.improvement.reported.look() == 0
        assert told == [("simulated/medium", "writing", 1.0)]

    running(home, work)


def test_a_shift_is_an_event_and_moves_traffic(home: Settings) -> None:
    async def work(found: Running) -> None:
        model = "simulated/medium"
        await found.ask(ARTICLE)
        await found.settled()
        for _ in range(40):
            found.improvement.adaptation.paid(model, 3e6, 1e6)
        assert found.gateway.parts.health.share(model) == 1.0
        await found.improvement.adapt()
        assert found.gateway.parts.health.share(model) == 0.7
        (event,) = events.recent(home, "adaptation")
        assert (event.payload["model"], event.payload["rule"]) == (model, "cost")
        assert (event.payload["before"], event.payload["after"], event.payload["size"]) == (1.0, 0.7, -0.3)
        assert event.payload["evidence"]["dearer"] > 2.5
        shown = found.improvement.explain()
        assert shown["shifts"][0]["rule"] == "cost"
        assert "cost" in next(one for one in shown["models"] if one["model"] == model)["held_down_by"]

    running(home, work)


def test_a_judge_is_asked_for_a_sample_within_its_budget(home: Settings) -> None:
    workspaces.put(home, "kept", "default", {"keep": "plain"})
    judged = home.model_copy(
        update={"quality_judge": "simulated/large", "quality_judge_share": 1.0, "quality_judge_dollars": 1e-9}
    )

    async def work(found: Running) -> None:
        judge = found.improvement.judge
        assert judge is not None
        asked: list[Prompt] = []
        answer = judge._ask

        async def ask(prompt: Prompt) -> Any:
            asked.append(prompt)
            answered = await answer(prompt)
            answered.body["choices"][0]["message"]["content"] = "8"
            return answered

        judge._ask = ask
        kept = await found.ask(ARTICLE, workspace="kept")
        await judge.finished()
        await found.settled()
        (given,) = llm_feedback.judgements(judged).items
        assert (given.call_id, given.source, given.score) == (kept, "judge", 0.8)
        assert given.reported_by == "simulated/large"
        assert ARTICLE in asked[0].body["messages"][1]["content"]
        assert asked[0].tenant.workspace == WORKSPACE
        assert judge.spent > 0
        # The budget is spent, and of a workspace that keeps nothing nothing is judged at all.
        await found.ask(ARTICLE, workspace="kept")
        await found.ask(ARTICLE)
        await judge.finished()
        assert (judge.judged, judge.skipped, len(asked)) == (1, 1, 1)
        # The judge's own answers are neither scored nor judged.
        await found.settled()
        assert found.improvement.scoring.scored == 3
        found.gateway.parts.ledger.flush()

    running(judged, work)

    async def after_a_restart(found: Running) -> None:
        judge = found.improvement.judge
        assert judge is not None
        assert judge.spent == 0
        await found.ask(ARTICLE, workspace="kept")
        await judge.finished()
        # What was spent before is known from the ledger.
        assert (judge.judged, judge.skipped) == (0, 1)
        assert judge.spent > 0
        # Another day has another budget.
        tomorrow = utc_now() + timedelta(days=1)
        judge._now = lambda: tomorrow
        await found.ask(f"{ARTICLE} Be brief.", workspace="kept")
        await judge.finished()
        assert judge.spent > 0
        assert judge._day.date() == tomorrow.date()
        assert spent_since(judged, WORKSPACE, tomorrow) == 0

    running(judged, after_a_restart)


def test_what_does_not_fit_into_the_queue_is_left_out(home: Settings) -> None:
    async def work(found: Running) -> None:
        await found.ask(ARTICLE)
        await found.settled()
        queue = found.improvement.queue
        queue._capacity = 0
        await found.ask(ARTICLE)
        assert queue.state().left_out == 1

    running(home, work)


def test_a_stream_that_said_nothing_is_no_answer() -> None:
    from gateway.improve.scoring import text_of_answer

    assert text_of_answer(None) is None
    assert text_of_answer(Reading()) is None
    assert text_of_answer({"choices": [{"message": {"content": None, "tool_calls": [{}]}}]}) is None
    assert text_of_answer({"choices": []}) is None
    assert text_of_answer({"choices": [{"message": {"content": "Yes."}, "finish_reason": "stop"}]}) == ("Yes.", "stop")
