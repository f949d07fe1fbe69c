"""The LLM world in the gateway's own tables: what the rows say agrees with the truth beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from features.world.llm.offers import MODELS
from features.world.llm.tasks import grade, recognise
from features.world.llm.workspaces import WORKSPACES
from features.world.llm_calls import LlmTruth, build_llm_world
from gateway.account.workspace_settings import parse
from gateway.choose.catalogue import Model
from gateway.choose.decision import Decision, Ranked, Task
from store import llm_calls, workspaces
from store.database import dispose, session
from store.errors import InvalidValue
from store.settings import Settings
from store.tables.gateway import FeedbackRow, LlmCallRow, LlmContentRow

END = date(2026, 10, 31)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    settings = Settings(home=tmp_path_factory.mktemp("llm") / "home", threads=1)
    yield settings
    dispose(settings)


@pytest.fixture(scope="module")
def truth(home: Settings) -> LlmTruth:
    return build_llm_world(home, days=90, calls_per_day=110, end=END)


@pytest.fixture(scope="module")
def known(truth: LlmTruth) -> pd.DataFrame:
    return truth.frame().set_index("id")


@pytest.fixture(scope="module")
def calls(home: Settings, truth: LlmTruth) -> pd.DataFrame:
    return table(home, LlmCallRow).set_index("id")


def table(settings: Settings, kind: Any) -> pd.DataFrame:
    with session(settings, readonly=True) as opened:
        return pd.read_sql(sa.select(kind.__table__), opened.connection())


def test_every_call_is_in_the_ledger_in_the_order_of_time(
    truth: LlmTruth, calls: pd.DataFrame, known: pd.DataFrame
) -> None:
    assert len(calls) == truth.calls == len(known)
    assert set(calls.index) == set(known.index)
    assert calls.sort_values("seq")["at"].is_monotonic_increasing
    assert calls["at"].min() >= pd.Timestamp(truth.start)
    assert calls["at"].max() < pd.Timestamp(END) + pd.Timedelta(days=1)
    assert list(calls.index) == sorted(calls.index)


def test_the_money_adds_up(home: Settings, truth: LlmTruth, calls: pd.DataFrame) -> None:
    assert int(calls["cost"].sum()) == truth.spent
    assert sum(row["cost"] for row in llm_calls.usage(home, by=("workspace", "day"))) == truth.spent
    stated = json.loads((truth.folder / "world.json").read_text())
    assert stated["spent_dollars"] == pytest.approx(truth.spent / 1e9, abs=1e-6)
    # At the end of the period prices are those of the configuration.
    last = calls[(calls["at"] >= "2026-10-24") & (calls["outcome"] == "ok") & (calls["kind"] == "chat")]
    for row in last.to_dict("records"):
        model = MODELS[row["model"]]
        assert row["cost"] == model.cost(row["input_tokens"], row["output_tokens"], row["cached_tokens"])


def test_the_runaway_user_stands_out_and_is_held_back(truth: LlmTruth, calls: pd.DataFrame) -> None:
    runaway = truth.runaway
    begins, ends = (pd.Timestamp(moment, unit="us") for moment in (runaway.begins, runaway.ends))
    theirs = calls[(calls["user_name"] == runaway.user) & calls["at"].between(begins, ends)]
    within = calls[calls["at"].between(begins, ends)]
    assert theirs["cost"].sum() > 0.75 * within["cost"].sum()
    assert truth.spent_by_runaway > 0.1 * truth.spent
    refused = calls[calls["outcome"] == "refused"]
    assert set(refused["user_name"]) == {runaway.user}
    assert (refused["cost"] == 0).all()
    assert set(refused["error"]) == {"BudgetExceeded"}


def test_the_words_are_kept_where_the_workspace_keeps_them(
    home: Settings, truth: LlmTruth, calls: pd.DataFrame, known: pd.DataFrame
) -> None:
    contents = table(home, LlmContentRow).set_index("id")
    assert len(contents) == truth.contents
    plain = {one.name for one in WORKSPACES if one.keep == "plain"}
    assert set(contents["workspace"]) == plain
    chats = calls[(calls["kind"] == "chat") & calls["workspace"].isin(plain)]
    assert set(contents.index) == set(chats.index)
    for name, row in contents.sample(400, random_state=1).iterrows():
        line, fact = calls.loc[name], known.loc[name]
        task = recognise(json.loads(row["prompt"])["messages"][-1]["content"])
        assert (task.domain, task.complexity, task.kind) == (fact["domain"], fact["complexity"], fact["kind"])
        if line["outcome"] == "ok":
            answer = json.loads(row["answer"])
            assert grade(task, answer["choices"][0]["message"]["content"]) == pytest.approx(fact["realised"])
            assert answer["model"] == line["model"]
        else:
            assert row["answer"] is None


def test_workspaces_have_settings_that_the_gateway_reads(home: Settings, truth: LlmTruth) -> None:
    for one in WORKSPACES:
        read = parse(workspaces.get(home, one.name).settings)
        assert read.keep == one.keep
        assert read.local_only == one.local_only


def test_decisions_look_like_the_gateways_own(calls: pd.DataFrame) -> None:
    model = Model("a/b", "a", "b")
    task = Task("simple", "code", frozenset(), 1, 1, 1, 1.0)
    ours = Decision("0", "auto", "auto", task, (Ranked(model, 1.0, 1.0, 1, 1, 1.0),)).explain()
    chats = calls[calls["kind"] == "chat"]
    for told in chats["decision"].sample(200, random_state=2):
        read = json.loads(told) if isinstance(told, str) else told
        assert set(read) == set(ours)
        assert set(read["task"]) <= set(ours["task"])
        assert set(read["candidates"][0]) == set(ours["candidates"][0])
        assert read["candidates"][0]["model"] == read["model"]
    assert calls.loc[calls["kind"] == "embeddings", "decision"].isna().all()


def test_private_workspaces_stay_on_the_own_machines(calls: pd.DataFrame) -> None:
    private = {one.name for one in WORKSPACES if one.local_only}
    assert set(calls[calls["workspace"].isin(private)]["provider"].dropna()) == {"simulated-local"}


def test_what_another_model_would_have_answered_can_be_told_from_the_ledger(
    calls: pd.DataFrame, known: pd.DataFrame
) -> None:
    """The self-normalised estimate by inverse propensities lies where the truth does, for every model."""
    auto = calls[(calls["asked"] == "auto") & (calls["outcome"] == "ok")].join(
        known.drop(columns=["model", "outcome"]), suffixes=("", "_true")
    )
    # Those that failed over were answered by a model that was not drawn.
    auto = auto[auto["attempts"].map(lambda told: len(json.loads(told) if isinstance(told, str) else told)) == 1]
    for model in {one.id for one in MODELS.values() if one.kind == "chat"}:
        weight = np.where(auto["model"] == model, 1 / auto["propensity"], 0.0)
        mean = float((weight * auto["realised"]).sum() / weight.sum())
        error = float(np.sqrt((weight**2 * (auto["realised"] - mean) ** 2).sum()) / weight.sum())
        assert abs(mean - auto[f"quality:{model}"].mean()) < 4 * error + 0.01, model


def test_the_silent_drop_shows_in_feedback_and_in_nothing_else(
    home: Settings, truth: LlmTruth, calls: pd.DataFrame, known: pd.DataFrame
) -> None:
    drop = next(one for one in truth.happenings if one.kind == "quality")
    begins, ends = (pd.Timestamp(moment, unit="us") for moment in (drop.begins, drop.ends))
    judged = table(home, FeedbackRow).merge(calls[["model", "at"]], left_on="call_id", right_index=True)
    assert len(table(home, FeedbackRow)) == truth.feedback
    theirs = judged[judged["model"] == drop.model]
    during = theirs[theirs["at_y"].between(begins, ends)]["score"]
    other = theirs[~theirs["at_y"].between(begins, ends)]["score"]
    assert len(during) > 20
    assert during.mean() < other.mean() - 0.12
    lines = calls[(calls["model"] == drop.model) & (calls["outcome"] == "ok") & (calls["kind"] == "chat")]
    slow = next(one for one in truth.happenings if one.kind == "slow" and one.model == drop.model)
    lines = lines[lines["at"] >= pd.Timestamp(slow.ends, unit="us")]
    medians = lines.groupby(lines["at"].between(begins, ends))["first_token_ms"].median()
    assert medians[True] == pytest.approx(medians[False], rel=0.15)
    quality = known[f"quality:{drop.model}"].dropna()
    inside = known.loc[quality.index, "at"].between(begins, ends)
    assert quality[inside].mean() < quality[~inside].mean() - 0.15


def test_outages_fail_over_and_slow_days_are_slow(truth: LlmTruth, calls: pd.DataFrame) -> None:
    outage = next(one for one in truth.happenings if one.kind == "outage")
    tried = calls["attempts"].map(lambda told: json.loads(told) if isinstance(told, str) else told)
    failed = tried.map(lambda told: {one["model"] for one in told if "failure" in one})
    during = calls["at"].between(*(pd.Timestamp(moment, unit="us") for moment in (outage.begins, outage.ends)))
    struck = failed.map(lambda models: outage.model in models)
    assert struck[during].mean() > 5 * struck[~during].mean()
    over = calls[struck & (calls["outcome"] == "ok")]
    assert (over["model"] != outage.model).all()
    slow = next(one for one in truth.happenings if one.kind == "slow" and one.model == "simulated/medium")
    lines = calls[(calls["model"] == slow.model) & (calls["outcome"] == "ok")]
    days = lines["at"].between(*(pd.Timestamp(moment, unit="us") for moment in (slow.begins, slow.ends)))
    each = lines["latency_ms"] / (MODELS[slow.model].ttft_ms + 1_000 * lines["output_tokens"] / 80)
    assert each[days].median() > 2.5 * each[~days].median()


def test_the_same_seed_gives_the_same_rows_once(tmp_path: Path) -> None:
    first, second = (Settings(home=tmp_path / name, threads=1) for name in ("one", "two"))
    made = [build_llm_world(one, days=21, calls_per_day=20, seed=3, end=END) for one in (first, second)]
    again = build_llm_world(first, days=21, calls_per_day=20, seed=3, end=END)
    other = build_llm_world(second, days=21, calls_per_day=20, seed=4, end=END)
    assert made[0].spent == made[1].spent == again.spent != other.spent
    pd.testing.assert_frame_equal(table(first, LlmCallRow), table(second, LlmCallRow).head(made[1].calls))
    assert len(table(first, LlmCallRow)) == made[0].calls
    assert len(table(first, FeedbackRow)) == made[0].feedback
    for one in (first, second):
        dispose(one)


def test_postgres_holds_the_same(on_both: Settings) -> None:
    seen: list[tuple[int, int, str]] = []
    made = build_llm_world(
        on_both,
        days=14,
        calls_per_day=15,
        end=END,
        progress=lambda done, total, label: seen.append((done, total, label)),
    )
    calls = table(on_both, LlmCallRow)
    assert int(calls["cost"].sum()) == made.spent
    assert calls["at"].min() >= datetime(2026, 10, 18)
    assert len(table(on_both, LlmContentRow)) == made.contents
    assert seen[-1] == (made.calls, made.calls, "LLM calls")


@pytest.mark.parametrize(("days", "calls_per_day", "name"), [(3, 100, "days = 3"), (30, 0.1, "calls_per_day = 0.1")])
def test_sizes_out_of_bounds_are_named(settings: Settings, days: int, calls_per_day: float, name: str) -> None:
    with pytest.raises(InvalidValue, match=name):
        build_llm_world(settings, days=days, calls_per_day=calls_per_day, end=END)
