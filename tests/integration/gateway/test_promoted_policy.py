"""The loop through the real registry: calls of the ledger → a policy → the gateway, which follows the alias."""

from __future__ import annotations

import asyncio
import base64
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from features.gist import gists
from features.snapshot import take
from features.views import llm_calls
from features.world.llm_calls import build_llm_world
from gateway.account.encryption import Keyring
from gateway.choose.catalogue import Model
from gateway.choose.chooser import Chooser
from gateway.choose.live import Unmeasured
from gateway.choose.policy import PriorPolicy
from gateway.choose.promoted_policy import PolicyWatch, PromotedPolicy
from gateway.choose.task import analyse
from gateway.opening import OpenGateway
from gateway.prompt import Limits, Options, Prompt, Tenant
from models.families import Spec
from models.lifecycle.training import train
from models.routing.family import RoutingFamily, RoutingOptions
from store.database import dispose, session
from store.dataset import SnapshotRef
from store.errors import InvalidValue
from store.promotions import promote
from store.registry import Registry
from store.settings import Settings
from store.tables.base import new_id
from store.tables.gateway import FeedbackRow, LlmContentRow

END = date(2026, 10, 31)
OPTIONS = {"trees": 0, "folds": 3, "dimensions": 16, "replicates": 50}
BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "Write a Python function that reverses a list."}]}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, mlflow_template: Path) -> Iterator[Settings]:
    settings = Settings(home=tmp_path_factory.mktemp("policy") / "home", threads=1)
    build_llm_world(settings, days=40, calls_per_day=60, end=END)
    shutil.copy(mlflow_template, settings.root / "mlflow.db")
    yield settings
    dispose(settings)


@pytest.fixture(scope="module")
def snapshot(world: Settings) -> SnapshotRef:
    return take(world, ["llm_calls"])


@pytest.fixture(scope="module")
def version(world: Settings, snapshot: SnapshotRef, tmp_path_factory: pytest.TempPathFactory) -> int:
    """A version of `routing` made from the ledger, whatever the gate said about so few calls."""
    ref = RoutingFamily(RoutingOptions(**OPTIONS)).dataset(snapshot, tmp_path_factory.mktemp("datasets"))
    judgement, outcome = train(world, Spec("routing", "routing", OPTIONS), ref, actor="tests")
    names = [one.candidate for one in judgement.judged if one.path]
    assert names == ["blind", "length", "task_mean", "ridge", "refined", "neighbours", "difficulty", "blend"]
    assert "drawn by chance" in judgement.split
    assert 0.0 < judgement.challenger.load().details["cells_estimated"] < 1.0
    if outcome.champion is None:
        registry = Registry(world)
        made = outcome.registered.version
        promote(world, registry, "routing", made, expected=None, actor="tests", reason="by hand", report=None)
        registry.close()
    return outcome.registered.version


def test_no_word_leaves_the_database(world: Settings, snapshot: SnapshotRef) -> None:
    frame = pq.read_table(snapshot.table("llm_calls")).to_pandas()
    with session(world, readonly=True) as opened:
        body = opened.query(LlmContentRow.prompt).first()[0]
    words = llm_calls.words_of(body)
    assert len(words) > 10
    assert words.encode() not in snapshot.table("llm_calls").read_bytes()
    # What the gateway would read of the prompt is what was learned from.
    assert set(gists([words]).packed()) & set(frame["words"])
    silent = frame[frame["workspace"].isin(["metering", "legal"])]
    assert len(silent)
    assert (silent["words"] == b"").all()
    assert silent["domain"].notna().all()


def test_feedback_counts_as_it_was_known_then(world: Settings) -> None:
    whole = llm_calls.training_frame(take(world, ["llm_calls"]), days=90).set_index("call")
    with session(world, readonly=True) as opened:
        judged = dict(opened.query(FeedbackRow.call_id, FeedbackRow.at).order_by(FeedbackRow.call_id).tuples())
    call = [one for one in judged if one in whole.index][len(judged) // 2]
    asked = whole.loc[call, "at"].to_pydatetime()
    assert asked < judged[call]

    def then(moment: datetime) -> pd.DataFrame:
        return llm_calls.training_frame(take(world, ["llm_calls"], moment), days=90).set_index("call")

    before, after = then(asked), then(judged[call])
    assert before["at"].max() == asked
    assert len(before) == (whole["at"] <= asked).sum()
    assert np.isnan(before.loc[call, "score"])
    assert after.loc[call, "score"] == whole.loc[call, "score"]
    assert after.loc[call, "score_from"] == "feedback"


def test_encrypted_words_are_opened_by_who_has_the_key(settings: Settings) -> None:
    build_llm_world(settings, days=14, calls_per_day=10, end=END)
    secret = settings.model_copy(update={"data_key": _key()})
    ring = Keyring(secret)
    with session(settings) as opened:
        for row in opened.query(LlmContentRow):
            row.key_id, row.prompt = ring.seal(row.prompt, row.id, row.workspace)
    closed = llm_calls.training_frame(llm_calls.take(settings), days=30)
    assert (closed["words"] == b"").all()

    def read(workspace: str, row: str, key: str | None, stored: bytes) -> bytes:
        return ring.unseal(key or "", stored, row, workspace)

    opened_frame = llm_calls.training_frame(llm_calls.take(settings, read=read), days=30)
    assert (opened_frame["words"] != b"").mean() > 0.5
    dispose(settings)


def test_too_few_judged_calls_are_told(snapshot: SnapshotRef) -> None:
    frame = llm_calls.training_frame(snapshot, days=90)
    frame["score"] = float("nan")
    with pytest.raises(InvalidValue, match="feedback"):
        RoutingFamily().split(frame, llm_calls.ROLES)


def test_the_gateway_follows_the_alias_and_refuses_what_is_broken(world: Settings, version: int) -> None:
    registry = Registry(world)
    moment = [0.0]
    watch = PolicyWatch(world, registry, clock=lambda: moment[0])
    policy = watch.poll()
    assert isinstance(policy, PromotedPolicy)
    assert policy.name == f"routing v{version}"
    assert watch.poll() is None

    # A second version whose artifact is changed after its promotion is refused; the first one stays.
    folder = registry.fetch("routing", version)
    with registry.run("routing", "again", {"family": "routing"}) as run:
        second = registry.register(
            "routing", folder, run_id=run.id, example=policy.model.signature(), tags={"family": "routing"}
        )
    promote(world, registry, "routing", second, expected=version, actor="tests", reason="again", report=None)
    changed = registry.fetch("routing", second)
    contract = changed / "contract.json"
    contract.write_text(contract.read_text() + "\n")
    original, registry.fetch = registry.fetch, lambda _name, _version: changed  # type: ignore[method-assign]
    assert watch.poll() is None
    assert "SHA-256" in watch.problem
    assert watch.version == version
    # Tried again after a pause, and taken once it is what was promoted.
    registry.fetch = original  # type: ignore[method-assign]
    assert watch.poll() is None
    moment[0] += 120.0
    found = watch.poll()
    assert found is not None
    assert found.name == f"routing v{second}"
    assert watch.problem == ""
    promote(world, registry, "routing", version, expected=second, actor="tests", reason="back", report=None)
    moment[0] += 120.0
    back = watch.poll()
    assert back is not None
    assert back.name == f"routing v{version}"
    registry.close()


def test_a_policy_without_a_champion_changes_nothing(registry: Registry, settings: Settings) -> None:
    watch = PolicyWatch(settings, registry)
    assert watch.poll() is None
    assert watch.version is None


@pytest.fixture(scope="module")
def policy(world: Settings, version: int) -> PromotedPolicy:
    found = PolicyWatch(world).poll()
    assert isinstance(found, PromotedPolicy)
    return found


def catalogue(policy: PromotedPolicy) -> list[Model]:
    known = [Model(name, name.split("/")[0], name.split("/")[1], quality={"": 0.5}) for name in policy.model.models]
    return [*known, Model("else/new", "else", "new", quality={"": 0.7}), Model("else/old", "else", "old")]


def test_an_unknown_model_is_believed_as_its_prior_moved(policy: PromotedPolicy) -> None:
    models, task = catalogue(policy), analyse(BODY, "chat", 12)
    prior = PriorPolicy().estimate("", task, models)
    found = policy.estimate("Write a Python function that reverses a list.", task, models)
    size = len(policy.model.models)
    moved = np.array(found.quality[:size]) - np.array(prior.quality[:size])
    news = np.array(found.quality[size:]) - np.array(prior.quality[size:])
    assert moved.min() - 1e-9 <= news[0] <= moved.max() + 1e-9
    # Among models nobody measured, the prior's order stays; their length is the catalogue's.
    assert found.quality[size] > found.quality[size + 1]
    assert list(found.output_tokens[size:]) == list(prior.output_tokens[size:])
    assert all(0.0 <= one <= 1.0 for one in found.quality)
    only_unknown = models[size:]
    assert policy.estimate("x", task, only_unknown).quality == PriorPolicy().estimate("x", task, only_unknown).quality


def test_the_callers_bound_and_number_of_answers_count(policy: PromotedPolicy) -> None:
    models = catalogue(policy)
    free = policy.estimate("Tell a story.", analyse(BODY, "chat", 12), models)
    bounded = policy.estimate("Tell a story.", analyse({**BODY, "max_tokens": 3}, "chat", 12), models)
    assert max(bounded.output_tokens[: len(policy.model.models)]) <= 3.0
    twice = policy.estimate("Tell a story.", analyse({**BODY, "n": 2}, "chat", 12), models)
    known = slice(0, len(policy.model.models))
    assert np.allclose(np.array(twice.output_tokens[known]), 2 * np.array(free.output_tokens[known]))


def test_a_prompt_is_told_the_same_alone_as_by_the_family(policy: PromotedPolicy) -> None:
    text = BODY["messages"][0]["content"]
    task = analyse(BODY, "chat", 12)
    vector = policy.model.basis.vector(gists([text]), policy._block(task))
    many = policy.model.vectors(gists([text, "something else"]), np.stack([policy._block(task)] * 2))
    assert np.allclose(vector, many[0], atol=1e-5)


def test_the_chooser_decides_by_it(policy: PromotedPolicy) -> None:
    chooser = Chooser(catalogue(policy), PriorPolicy(), Unmeasured())
    prompt = Prompt(
        id="0" * 32, tenant=Tenant(), model="auto", body=BODY, kind="chat", stream=False, limits=Limits(),
        options=Options(),
    )  # fmt: skip
    task = analyse(BODY, "chat", 12)
    assert chooser.decide(prompt, task).policy == "priors"
    chooser.replace_policy(policy)
    assert chooser.decide(prompt, task).policy == policy.name


def test_models_without_any_call_are_left_to_the_priors(policy: PromotedPolicy) -> None:
    never = PromotedPolicy(replace(policy.model, cells=np.zeros_like(policy.model.cells)), 9)
    models, task = catalogue(policy), analyse(BODY, "chat", 12)
    assert never.estimate("x", task, models).quality == PriorPolicy().estimate("x", task, models).quality


def test_calls_of_a_year_ago_are_not_learned_from(snapshot: SnapshotRef) -> None:
    recent = llm_calls.training_frame(snapshot, days=36_500)
    few = llm_calls.training_frame(replace(snapshot, as_of=recent["at"].max().to_pydatetime()), days=5)
    assert few["at"].min() > recent["at"].max() - timedelta(days=5)
    assert 0 < len(few) < len(recent)


def _key() -> SecretStr:
    return SecretStr(base64.b64encode(b"k" * 32).decode())


def test_a_running_gateway_lets_the_champion_decide(world: Settings, version: int) -> None:
    """Nobody restarts it, and a changed configuration keeps what decides."""
    settings = world.model_copy(update={"watch_seconds": 0.1, "redis_url": None})

    async def run() -> None:
        opened = OpenGateway(settings)
        gateway = await opened.open()
        try:
            assert gateway.parts.chooser.policy.name == "priors"
            prompt = Prompt(
                new_id(), Tenant(), "chat", "auto", {"model": "auto", **BODY}, options=Options(explore=False)
            )
            deadline = time.monotonic() + 30
            while gateway.decide(prompt).policy != f"routing v{version}":
                assert time.monotonic() < deadline, gateway.decide(prompt).policy
                await asyncio.sleep(0.05)
        finally:
            await opened.close()

    asyncio.run(run())
