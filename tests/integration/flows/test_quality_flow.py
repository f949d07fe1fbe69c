"""The flow that learns a scorer from the ledger's feedback, and the gateway that follows it."""

from __future__ import annotations

import asyncio
import json
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from features.world.llm_calls import build_llm_world
from flows.quality import dataset
from flows.run import run_flow
from gateway.account.contents import Contents
from gateway.account.workspace_settings import WorkspaceSettings
from gateway.call.health import Health
from gateway.improve.improvement import Improvement
from gateway.prompt import Prompt, Tenant
from models.quality.features import NAMES, features
from models.quality.judged import judged_answers
from store import events, ledger, llm_feedback, llm_scores
from store.database import session
from store.errors import EmptyData, InvalidValue
from store.llm_scores import Score
from store.settings import Settings
from store.tables.gateway import LlmContentRow

END = date(2026, 10, 31)


@pytest.fixture
def world(flow_settings: Settings) -> Settings:
    build_llm_world(flow_settings, days=30, calls_per_day=130, seed=3, end=END)
    return flow_settings


def test_a_scorer_is_learned_promoted_and_followed_by_the_gateway(flow_settings: Settings) -> None:
    world = flow_settings
    build_llm_world(world, days=60, calls_per_day=300, seed=3, end=END)
    trained = run_flow(world, "train-quality", {"trees": 40})
    assert trained.verdict == "promote", trained.reason
    assert "better than baseline heuristic" in trained.reason
    assert ledger.history(world, "quality")[-1].state == "done"

    improvement = Improvement(world, Health())
    assert improvement.scoring.scorer.name == "words v2"
    asyncio.run(improvement.follow())
    assert improvement.scoring.scorer.name == "quality v1"
    good, bad = (
        improvement.scoring.scorer.score(
            features("Explain heat pumps. Mention noise limits.", text), "knowledge", "simple"
        )
        for text in ("Noise limits decide where a heat pump may stand.", "The museum opens at ten, and the")
    )
    assert 0.0 <= bad < good <= 1.0
    # The same again changes nothing.
    asyncio.run(improvement.follow())
    assert improvement.promoted.standing.version == 1


def test_too_little_feedback_fails_and_says_what_is_missing(flow_settings: Settings) -> None:
    build_llm_world(flow_settings, days=14, calls_per_day=20, seed=3, end=END)
    with pytest.raises(InvalidValue, match=r"judged answers, 200 are needed"):
        run_flow(flow_settings, "train-quality")
    assert events.recent(flow_settings, "training_failed")
    assert ledger.history(flow_settings, "quality") == []


def test_judged_answers_are_numbers_at_a_moment(world: Settings) -> None:
    frame = judged_answers(world, as_of=datetime(2026, 11, 2))
    assert len(frame) > 500
    assert frame["call"].is_unique
    assert frame["person"].str.fullmatch(r"p\d{5}").all()
    text = frame.to_csv()
    with session(world, readonly=True) as opened:
        users = set(opened.scalars(sa.text("SELECT DISTINCT user_name FROM llm_calls")))
    assert not any(user in text for user in users)
    # The same rows give the same data set.
    first, notes = dataset(world, datetime(2026, 11, 2), Path(world.root / "a"), days=180)
    second, _ = dataset(world, datetime(2026, 11, 2), Path(world.root / "b"), days=180)
    assert first.digest == second.digest
    assert "judged answers of" in notes[0]
    # Nothing that was judged later is known earlier.
    early = judged_answers(world, as_of=datetime(2026, 10, 10))
    assert set(early["call"]) < set(frame["call"])
    assert early["at"].max() <= datetime(2026, 10, 10)
    with pytest.raises(EmptyData, match="was judged"):
        judged_answers(world, as_of=datetime(2025, 1, 1))


def test_numbers_that_were_written_down_stand_in_for_words_that_are_gone(world: Settings) -> None:
    before = judged_answers(world, as_of=datetime(2026, 11, 2))
    kept = before.iloc[0]
    numbers = [None if one != one else float(one) for one in kept[list(NAMES)]]
    llm_scores.insert(
        world, [Score(kept["call"], kept["at"].to_pydatetime(), kept["workspace"], 0.5, "words v2", numbers)]
    )
    with session(world) as opened:
        opened.execute(sa.delete(LlmContentRow))
    (left,) = judged_answers(world, as_of=datetime(2026, 11, 2)).itertuples()
    assert left.call == kept["call"]
    np.testing.assert_allclose([getattr(left, name) for name in NAMES], kept[list(NAMES)].to_numpy(float))


def test_encrypted_words_are_read_with_the_key_and_not_without(flow_settings: Settings) -> None:
    from base64 import b64encode

    from pydantic import SecretStr

    build_llm_world(flow_settings, days=14, calls_per_day=30, seed=3, end=END)
    keyed = flow_settings.model_copy(update={"data_key": SecretStr(b64encode(bytes(32)).decode())})
    contents = Contents(keyed)
    with session(keyed) as opened:
        rows = list(opened.scalars(sa.select(LlmContentRow)))
        for row in rows:
            prompt = Prompt(row.id, Tenant(row.workspace), "chat", "auto", json.loads(row.prompt))
            sealed = contents.for_call(WorkspaceSettings(keep="encrypted"), prompt, json.loads(row.answer or b"{}"))
            assert sealed is not None
            row.key_id, row.prompt, row.answer = sealed.key_id, sealed.prompt, sealed.answer
    moment = datetime(2026, 11, 2)
    with pytest.raises(EmptyData):
        judged_answers(keyed, as_of=moment)
    assert len(judged_answers(keyed, as_of=moment, read=contents.read)) > 20


def test_what_was_given_outright_counts_before_signs_and_a_judge(world: Settings) -> None:
    call = judged_answers(world, as_of=datetime(2026, 11, 2)).iloc[0]
    give = {"call_id": call["call"], "workspace": call["workspace"], "user": None}
    for source, score in (("thumb", 1.0), ("edit", 0.1), ("judge", 0.2), ("repeat", 0.2)):
        llm_feedback.add(world, source=source, score=score, **give)
    found = judged_answers(world, days=36_500).set_index("call").loc[call["call"]]
    assert (found["source"], found["score"]) == ("thumb", 1.0)
