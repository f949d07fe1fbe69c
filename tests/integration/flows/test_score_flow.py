"""Scoring of every entity as a Prefect flow run: the same in shards as at once, repeated without change, resumed."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

import models.families as families
from cli.main import app
from features.snapshot import take
from flows.run import run_flow
from flows.score import Scored
from models.lifecycle.family import Model
from models.lifecycle.scoring import gather, join, read_scores, score_shard, scorer_of
from store import scores
from store.errors import (
    EmptyData,
    FileUnreadable,
    InvalidValue,
    NoChampion,
    TrainingError,
    UnknownModel,
    UnknownVersion,
)
from store.events import recent
from store.registry import Registry
from store.score_rows import checked
from store.settings import Settings

from .conftest import END, EnergyFamily, EnergyModel, EnergyOptions, load_usage

MEANS = {"": 22.0, "north": 20.0, "south": 23.0}


class ScoringFamily(EnergyFamily):
    """Scores customers by the mean of their region. `broken` names one at whose shard it gives up."""

    name = "energy"
    asked: list[list[str]] = []  # noqa: RUF012 - shared on purpose: the shards that were scored
    broken = ""
    threads: set[str] = set()  # noqa: RUF012

    def score(self, model: Model, rows: pd.DataFrame) -> pd.DataFrame:
        assert isinstance(model, EnergyModel)
        self.threads.add(threading.current_thread().name)
        if self.broken in rows.index:
            raise RuntimeError("killed")
        self.asked.append(rows.index.tolist())
        kept = rows.iloc[1:] if self.broken == "forgetful" else rows
        value = kept["region"].map(model.means).fillna(model.means[""])
        return pd.DataFrame({"label": kept["region"], "value": value, "words": [["a", "ü"]] * len(kept)})


@pytest.fixture
def scoring(energy: type[EnergyFamily], monkeypatch: pytest.MonkeyPatch) -> type[ScoringFamily]:
    known = {**families.FAMILIES, "scoring": (__name__, "ScoringFamily", "EnergyOptions")}
    monkeypatch.setattr(families, "FAMILIES", known)
    monkeypatch.setitem(sys.modules, __name__, sys.modules[ScoringFamily.__module__])
    monkeypatch.setattr(ScoringFamily, "asked", [])
    monkeypatch.setattr(ScoringFamily, "threads", set())
    return ScoringFamily


@pytest.fixture
def register(flow_settings: Settings, tmp_path: Path) -> Callable[..., int]:
    """A version of `name`, champion unless said otherwise."""

    def make(name: str = "energy", *, family: str = "scoring", champion: bool = True, **means: float) -> int:
        registry = Registry(flow_settings)
        model = EnergyModel("region", 1.0, {**MEANS, **means})
        folder = tmp_path / f"model-{name}-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        model.save(folder)
        with registry.run(name, "made by hand", {}) as run:
            tags = {"family": family, "as_of": END.isoformat(), "dataset_digest": "0" * 64}
            version = registry.register(name, folder, run.id, model.signature(), tags)
        if champion:
            registry.set_alias(name, "champion", version)
        return version

    return make


def score(settings: Settings, name: str = "energy", **given: Any) -> Scored:
    scored = run_flow(settings, "score", {"name": name, **given}, progress=lambda *_: None)
    assert isinstance(scored, Scored)
    return scored


def test_everybody_is_scored_once_and_again_without_change(
    flow_settings: Settings, scoring: type[ScoringFamily], register: Callable[..., int]
) -> None:
    load_usage(flow_settings)
    register()
    told: list[tuple[str, int, int]] = []
    first: Scored = run_flow(
        flow_settings, "score", {"name": "energy", "shard_rows": 7}, progress=lambda *step: told.append(step)
    )
    assert (first.model, first.version, first.rows, first.state) == ("energy", 1, 30, "scored")
    assert first.headline == "energy v1 scored 30 entities as of 2026-03-01 00:00"
    assert sorted(len(one) for one in scoring.asked) == [2, 7, 7, 7, 7]
    assert told[0] == ("model", 0, 7)
    assert ("score shard 5 of 5", 8, 11) in told
    assert told[-1] == ("done", 11, 11)

    # The rows, the file and the answer of the family to all rows at once are the same.
    rows = pd.DataFrame({"region": ["north", "south", "east"] * 10}, index=[f"C{number:03}" for number in range(30)])
    at_once = scoring(EnergyOptions()).score(EnergyModel("region", 1.0, MEANS), rows)
    assert first.digest == checked(at_once).digest == checked(read_scores(first.uri)).digest
    found = scores.page(flow_settings, "energy", version=1, as_of=first.as_of, order="entity").items
    assert [(one.entity_id, one.label, one.value) for one in found[:3]] == [
        ("C000", "north", 20.0),
        ("C001", "south", 23.0),
        ("C002", "east", 22.0),
    ]
    assert found[0].output == {"words": ["a", "ü"]}
    assert [(one["label"], one["rows"]) for one in first.labels] == [("east", 10), ("north", 10), ("south", 10)]
    batch = scores.latest(flow_settings, "energy")
    assert batch is not None
    assert batch.uri == first.uri
    assert [path.name for path in Path(first.uri).parent.iterdir()] == ["scores.parquet"]
    event = recent(flow_settings, "scored")[-1].payload
    assert (event["model"], event["rows"], event["labels"]) == ("energy", 30, {"east": 10, "north": 10, "south": 10})

    asked = len(scoring.asked)
    again = score(flow_settings, as_of=first.as_of)
    assert (again.state, again.digest, again.rows) == ("known", first.digest, 30)
    assert len(scoring.asked) == asked
    assert scores.latest(flow_settings, "energy") == batch
    assert len(recent(flow_settings, "scored")) == 1

    # A file that somebody deleted is made again; the rows need not be.
    Path(first.uri).unlink()
    assert score(flow_settings, as_of=first.as_of).state == "scored"
    assert checked(read_scores(first.uri)).digest == first.digest
    assert scores.latest(flow_settings, "energy") == batch


def test_a_killed_run_goes_on_where_it_was_and_on_dask_too(
    flow_settings: Settings, scoring: type[ScoringFamily], register: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    load_usage(flow_settings)
    register()
    monkeypatch.setattr(scoring, "broken", "C013")  # in the second of three shards
    one_thread = flow_settings.model_copy(update={"threads": 1})
    with pytest.raises(RuntimeError, match="killed"):
        score(one_thread, shard_rows=10)
    assert scores.latest(flow_settings, "energy") is None
    assert recent(flow_settings, "scoring_failed")[-1].payload["reason"] == "killed"
    done = sorted(one[0] for one in scoring.asked)
    assert "C010" not in done
    assert "C000" in done

    monkeypatch.setattr(scoring, "broken", "")
    on_dask = flow_settings.model_copy(update={"task_runner": "dask"})
    resumed = score(on_dask, shard_rows=10)
    assert sorted(one[0] for one in scoring.asked) == ["C000", "C010", "C020"], "a shard was scored twice"
    assert any("Dask" in name for name in scoring.threads)

    # Another version with the same model, on threads, from the start: the same scores to the last bit.
    second = register(champion=False)
    fresh = score(flow_settings, version=second, shard_rows=4)
    assert (fresh.version, fresh.digest) == (2, resumed.digest)
    assert [one.version for one in scores.batches(flow_settings, "energy")] == [2, 1]


def test_the_moment_is_what_was_known_then(
    flow_settings: Settings, scoring: type[ScoringFamily], register: Callable[..., int]
) -> None:
    load_usage(flow_settings)
    register(north=19.0)
    then = END - timedelta(days=30)
    scored = score(flow_settings, as_of=then)
    assert scored.as_of == then
    assert len(scored.notes) == 1
    assert "learned from data up to 2026-03-01" in scored.notes[0]
    with pytest.raises(InvalidValue, match="lies in the future"):
        score(flow_settings, as_of=datetime(2999, 1, 1))


def test_what_cannot_score_is_named(
    flow_settings: Settings,
    scoring: type[ScoringFamily],
    register: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with pytest.raises(UnknownModel):
        scorer_of(flow_settings, "nothing")
    register("waiting", champion=False)
    with pytest.raises(NoChampion, match="'waiting' has no champion"):
        scorer_of(flow_settings, "waiting")
    register("daily", family="energy")
    with pytest.raises(InvalidValue, match="family energy, which does not score entities") as caught:
        scorer_of(flow_settings, "daily")
    assert "scoring" in caught.value.remedy
    register("lossy")
    with pytest.raises(UnknownVersion):
        scorer_of(flow_settings, "lossy", 7)
    scorer = scorer_of(flow_settings, "lossy")
    load_usage(flow_settings, days=3)
    snapshot = take(flow_settings, scoring.tables, END)
    with pytest.raises(InvalidValue, match="shard_rows = 0"):
        gather(scorer, snapshot, tmp_path / "batch", 0)
    rows = gather(scorer, snapshot, tmp_path / "batch", 20)
    first = score_shard(scorer, rows, 0)
    monkeypatch.setattr(scoring, "broken", "forgetful")
    with pytest.raises(TrainingError, match="given 10 entities to score and answered for 9"):
        score_shard(scorer, rows, 1)
    with pytest.raises(FileUnreadable, match="hold 20 of 30 entities"):
        join(rows, [first], tmp_path / "batch")
    empty = snapshot.__class__(snapshot.uri, snapshot.digest, snapshot.tables, datetime(2020, 1, 1))
    monkeypatch.setattr(scoring, "online", lambda *_: rows_of_nobody())
    with pytest.raises(EmptyData, match="Nobody can be scored by 'lossy' as of 2020-01-01"):
        gather(scorer, empty, tmp_path / "batch", 20)


def rows_of_nobody() -> pd.DataFrame:
    return pd.DataFrame({"region": []}, index=pd.Index([], name="customer_id"))


def test_the_command_scores_and_writes_a_file(
    flow_settings: Settings,
    scoring: type[ScoringFamily],
    register: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    load_usage(flow_settings, days=3)
    register()
    monkeypatch.setenv("MERIT_HOME", str(flow_settings.home))
    monkeypatch.setenv("MERIT_PREFECT_API_URL", str(flow_settings.prefect_api_url))
    out = tmp_path / "scores.csv"
    done = CliRunner().invoke(app, ["score", "energy", "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    body = json.loads(done.stdout)
    assert (body["model"], body["version"], body["rows"], body["state"]) == ("energy", 1, 30, "scored")
    assert body["labels"][0] == {"label": "east", "rows": 10, "mean_value": 22.0, "total_value": 220.0}
    written = pd.read_csv(out)
    assert written.columns.tolist() == ["entity_id", "label", "value", "words"]
    assert len(written) == 30
    assert set(written["words"]) == {"a; ü"}
    table = CliRunner().invoke(app, ["score", "energy", "--as-of", body["as_of"]])
    assert table.exit_code == 0, table.output
    assert "energy v1 had scored 30 entities" in table.stdout
    assert "33.3%" in table.stdout
