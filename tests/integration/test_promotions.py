"""Promotion on a real MLflow store and real databases: one winner, a ledger that tells all, death at any moment."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from store import events, promotions
from store.errors import (
    IntegrityFailed,
    InvalidValue,
    MeritError,
    NoChampion,
    PromotionConflict,
    UnknownModel,
    UnknownVersion,
)
from store.ledger import promoted_sha256
from store.promotions import Promotion, history, predecessor, promote, record_refusal, recover, rollback
from store.registry import Registry
from store.settings import Settings

from .forked import Forked

EXAMPLE = (pd.DataFrame({"a": [1.0]}), pd.DataFrame({"p": [0.1]}))
Make = Callable[..., list[int]]
WHO = {"actor": "tester", "reason": "because"}


@pytest.fixture
def both(on_both: Settings, registry: Registry) -> Settings:
    """Settings on either database whose registry is `registry`: same home, same MLflow store."""
    return on_both


def states(settings: Settings, name: str = "churn") -> list[tuple[str, str, int | None, int | None]]:
    return [(one.kind, one.state, one.from_version, one.to_version) for one in history(settings, name)]


def champion_is_last_done(settings: Settings, registry: Registry, name: str) -> bool:
    done = [one.to_version for one in history(settings, name) if one.state == "done"]
    return registry.alias(name, "champion") == (done[-1] if done else None)


def test_a_promotion_leaves_its_whole_story(both: Settings, registry: Registry, make_versions: Make) -> None:
    make_versions("churn", 2)
    registry.set_alias("churn", "challenger", 1)
    first = promote(both, registry, "churn", 1, expected=None, actor="ann", reason="first", report={"verdict": "yes"})
    registry.set_alias("churn", "challenger", 2)
    second = promote(both, registry, "churn", 2, expected=1, actor="bob", reason="better")
    assert registry.model("churn").aliases == {"champion": 2, "previous": 1}
    assert history(both, "churn") == [first, second]
    version = registry.version("churn", 1)
    assert (first.name, first.kind, first.state, first.from_version, first.to_version) == (
        "churn",
        "promotion",
        "done",
        None,
        1,
    )
    assert (first.actor, first.reason, first.report) == ("ann", "first", {"verdict": "yes"})
    assert first.artifact_sha256 == version.sha256 == promoted_sha256(both, "churn", 1)
    assert (first.dataset_digest, first.run_id) == (f"{0:064x}", version.run_id)
    assert first.settled_at is not None
    assert first.created_at <= first.settled_at <= second.created_at
    assert [one.kind for one in events.recent(both)] == ["promotion", "promotion"]


def test_a_moved_champion_refuses_and_is_written_down(both: Settings, registry: Registry, make_versions: Make) -> None:
    make_versions("churn", 3)
    promote(both, registry, "churn", 1, expected=None, **WHO)
    promote(both, registry, "churn", 2, expected=1, **WHO)
    with pytest.raises(PromotionConflict, match="version 2") as caught:
        promote(both, registry, "churn", 3, expected=1, report={"n": 1}, **WHO)
    assert caught.value.field == "expected"
    assert registry.alias("churn", "champion") == 2
    last = history(both, "churn")[-1]
    assert (last.state, last.from_version, last.to_version, last.report) == ("refused", 1, 3, {"n": 1})
    assert "version 2" in (last.detail or "")


def test_two_threads_one_winner(both: Settings, registry: Registry, make_versions: Make) -> None:
    versions = make_versions("churn", 5)
    promote(both, registry, "churn", 1, expected=None, **WHO)
    won: list[int] = []
    lost: list[Exception] = []
    start = threading.Barrier(4)

    def work(version: int) -> None:
        start.wait()
        try:
            promote(both, Registry(both), "churn", version, expected=1, **WHO)
            won.append(version)
        except PromotionConflict as error:
            lost.append(error)

    threads = [threading.Thread(target=work, args=(version,)) for version in versions[1:]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 3)
    assert registry.alias("churn", "champion") == won[0]
    told = history(both, "churn")[1:]
    assert sorted(one.to_version or 0 for one in told) == [2, 3, 4, 5]
    assert [one.to_version for one in told if one.state == "done"] == won
    assert [one.state for one in told].count("refused") == 3


_CHILD = """
import os, signal, time
from store.promotions import promote
from store.registry import Registry
from store.settings import load_settings

class Dying(Registry):
    def set_alias(self, name, alias, version):
        if how == "before" and alias == "champion":
            os.kill(os.getpid(), signal.SIGKILL)
        super().set_alias(name, alias, version)
        if how == "after" and alias == "champion":
            os.kill(os.getpid(), signal.SIGKILL)

settings = load_settings()
registry = Dying(settings)
registry.alias("churn", "champion")
(gate / f"ready-{version}").touch()
while not (gate / "go").exists():
    time.sleep(0.001)
promote(settings, registry, "churn", version, expected=1, actor=f"process {version}", reason="race", key="try")
"""


def child(settings: Settings, version: int, how: str, gate: Path) -> Forked:
    environment = {**os.environ, "MERIT_HOME": str(settings.home), "MERIT_DATABASE_URL": settings.resolved_database_url}
    return Forked(_CHILD, environment, gate / f"{version}.log", version=version, how=how, gate=gate)


def test_two_processes_one_winner(both: Settings, registry: Registry, make_versions: Make, tmp_path: Path) -> None:
    make_versions("churn", 3)
    promote(both, registry, "churn", 1, expected=None, **WHO)
    running = {version: child(both, version, "whole", tmp_path) for version in (2, 3)}
    while not all((tmp_path / f"ready-{version}").exists() for version in running):
        assert all(process.poll() is None for process in running.values())
        time.sleep(0.02)
    (tmp_path / "go").touch()
    (winner,) = [version for version, process in running.items() if process.wait(60) == 0]
    errors = {version: (tmp_path / f"{version}.log").read_text() for version in running}
    loser = 5 - winner
    assert "PromotionConflict" in errors[loser]
    assert errors[winner] == ""
    assert registry.alias("churn", "champion") == winner
    assert states(both)[1:] == [("promotion", "done", 1, winner), ("promotion", "refused", 1, loser)]


@pytest.mark.parametrize(("how", "champion", "state"), [("before", 1, "failed"), ("after", 2, "done")])
def test_killed_at_the_commit_point(
    both: Settings,
    registry: Registry,
    make_versions: Make,
    tmp_path: Path,
    how: str,
    champion: int,
    state: str,
) -> None:
    make_versions("churn", 3)
    promote(both, registry, "churn", 1, expected=None, **WHO)
    (tmp_path / "go").touch()
    process = child(both, 2, how, tmp_path)
    assert process.wait(60) == -signal.SIGKILL
    assert states(both)[-1] == ("promotion", "intended", 1, 2)
    assert registry.alias("churn", "champion") == champion
    (settled,) = recover(both, registry, "churn")
    assert settled.state == state
    assert recover(both, registry, "churn") == []
    assert registry.alias("churn", "champion") == champion
    assert champion_is_last_done(both, registry, "churn")
    assert registry.alias("churn", "previous") == (1 if champion == 2 else None)
    if how == "after":
        # The flow that was killed is retried: the promotion is found done, not refused.
        again = promote(both, registry, "churn", 2, expected=1, key="try", **WHO)
        assert again == settled


def test_the_next_promotion_settles_what_a_dead_one_left(
    both: Settings, registry: Registry, make_versions: Make, tmp_path: Path
) -> None:
    make_versions("churn", 3)
    promote(both, registry, "churn", 1, expected=None, **WHO)
    (tmp_path / "go").touch()
    child(both, 2, "before", tmp_path).wait(60)
    promote(both, registry, "churn", 3, expected=1, **WHO)
    assert states(both)[1:] == [("promotion", "failed", 1, 2), ("promotion", "done", 1, 3)]


class Breaking(Registry):
    """Fails at the n-th call that writes an alias, before or after it took effect."""

    def __init__(self, settings: Settings, at: int, after: bool) -> None:
        super().__init__(settings)
        self.at, self.after, self.calls = at, after, 0

    def set_alias(self, name: str, alias: str, version: int) -> None:
        self._count(lambda: Registry.set_alias(self, name, alias, version))

    def delete_alias(self, name: str, alias: str) -> None:
        self._count(lambda: Registry.delete_alias(self, name, alias))

    def _count(self, act: Callable[[], None]) -> None:
        self.calls += 1
        if self.calls == self.at and not self.after:
            raise ConnectionError("cut off")
        act()
        if self.calls == self.at and self.after:
            raise ConnectionError("answer lost")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_broken_at_every_step(
    settings: Settings, registry: Registry, make_versions: Make, at: int, after: bool
) -> None:
    make_versions("churn", 2)
    promote(settings, registry, "churn", 1, expected=None, **WHO)
    registry.set_alias("churn", "challenger", 2)
    breaking = Breaking(settings, at, after)
    if at == 1 and not after:
        with pytest.raises(ConnectionError):
            promote(settings, breaking, "churn", 2, expected=1, **WHO)
        assert states(settings)[-1] == ("promotion", "failed", 1, 2)
        assert registry.model("churn").aliases == {"champion": 1, "challenger": 2}
    else:
        assert promote(settings, breaking, "churn", 2, expected=1, **WHO).state == "done"
        assert registry.model("churn").aliases == {"champion": 2, "previous": 1}
    assert champion_is_last_done(settings, registry, "churn")


def test_rollback_there_and_back(both: Settings, registry: Registry, make_versions: Make) -> None:
    make_versions("churn", 3)
    for version in (1, 2, 3):
        promote(both, registry, "churn", version, expected=version - 1 or None, **WHO)
    assert rollback(both, registry, "churn", **WHO).to_version == 2
    assert registry.model("churn").aliases == {"champion": 2, "previous": 3}
    assert rollback(both, registry, "churn", to=1, expected=2, **WHO).to_version == 1
    assert registry.model("churn").aliases == {"champion": 1, "previous": 2}
    with pytest.raises(PromotionConflict):
        rollback(both, registry, "churn", to=3, expected=2, **WHO)
    assert states(both)[3:] == [
        ("rollback", "done", 3, 2),
        ("rollback", "done", 2, 1),
        ("rollback", "refused", 1, 3),
    ]
    assert champion_is_last_done(both, registry, "churn")


def test_a_second_rollback_goes_farther_back(settings: Settings, registry: Registry, make_versions: Make) -> None:
    make_versions("churn", 4)
    for version in (1, 2, 3):
        promote(settings, registry, "churn", version, expected=version - 1 or None, **WHO)
    assert predecessor(settings, registry, "churn") == 2
    assert rollback(settings, registry, "churn", **WHO).to_version == 2
    assert predecessor(settings, registry, "churn") == 1  # not 3, which was rolled back from
    # What comes after a rollback goes back to where that led, past what it left.
    promote(settings, registry, "churn", 4, expected=2, **WHO)
    assert rollback(settings, registry, "churn", **WHO).to_version == 2
    assert rollback(settings, registry, "churn", **WHO).to_version == 1
    assert predecessor(settings, registry, "churn") is None
    with pytest.raises(UnknownVersion, match="no predecessor that was not rolled back from"):
        rollback(settings, registry, "churn", **WHO)
    assert registry.alias("churn", "champion") == 1
    # Promoted again, a version is a predecessor like any other.
    promote(settings, registry, "churn", 3, expected=1, **WHO)
    promote(settings, registry, "churn", 4, expected=3, **WHO)
    assert rollback(settings, registry, "churn", **WHO).to_version == 3


@pytest.mark.parametrize(
    ("moves", "expected"),
    [
        ("p1 p2 p1 p3 r1", 2),
        ("p1 p2 r1 p2 p3", 2),
        ("p1 p2 p3 p2 r", 1),
        ("p1 p2 x3 r", 1),
    ],
)
def test_predecessors(
    settings: Settings, registry: Registry, make_versions: Make, moves: str, expected: int | None
) -> None:
    """p: promoted, r: rolled back (to), x: made champion past Meritorder."""
    make_versions("churn", 3)
    for move in moves.split():
        version = int(move[1:]) if move[1:] else None
        if move[0] == "p" and version:
            promote(settings, registry, "churn", version, expected=registry.alias("churn", "champion"), **WHO)
        elif move[0] == "r":
            rollback(settings, registry, "churn", to=version, **WHO)
        elif version:
            registry.set_alias("churn", "champion", version)
            recover(settings, registry, "churn")
    assert predecessor(settings, registry, "churn") == expected


def test_rollback_does_not_need_the_broken_champion(
    settings: Settings, registry: Registry, make_versions: Make
) -> None:
    make_versions("churn", 2)
    promote(settings, registry, "churn", 1, expected=None, **WHO)
    promote(settings, registry, "churn", 2, expected=1, **WHO)
    for path in settings.root.glob("**/contract.json"):
        if '"number": 1' in path.read_text():
            path.unlink()
    with pytest.raises(IntegrityFailed):
        registry.fetch("churn", 2)
    assert rollback(settings, registry, "churn", **WHO).to_version == 1
    # There is no going forward to it again, and the ledger says why.
    with pytest.raises(IntegrityFailed):
        promote(settings, registry, "churn", 2, expected=1, **WHO)
    assert states(settings)[-1] == ("promotion", "failed", 1, 2)
    assert registry.alias("churn", "champion") == 1


def test_what_cannot_be_done_says_so(settings: Settings, registry: Registry, make_versions: Make) -> None:
    with pytest.raises(UnknownModel, match="'churn'"):
        promote(settings, registry, "churn", 1, expected=None, **WHO)
    with pytest.raises(UnknownModel):
        rollback(settings, registry, "churn", **WHO)
    make_versions("churn", 1)
    with pytest.raises(UnknownVersion, match="no version 7"):
        promote(settings, registry, "churn", 7, expected=None, **WHO)
    with pytest.raises(NoChampion):
        rollback(settings, registry, "churn", **WHO)
    promote(settings, registry, "churn", 1, expected=None, **WHO)
    with pytest.raises(UnknownVersion, match="no predecessor"):
        rollback(settings, registry, "churn", **WHO)
    with pytest.raises(InvalidValue, match="champion already"):
        promote(settings, registry, "churn", 1, expected=1, **WHO)
    assert states(settings) == [("promotion", "done", None, 1)]


def test_a_refusal_of_the_gate_is_in_the_ledger(both: Settings, registry: Registry, make_versions: Make) -> None:
    make_versions("churn", 1)
    line = record_refusal(
        both, registry, "churn", 1, expected=None, actor="gate", reason="not better", report={"p": 0.4}
    )
    assert history(both, "churn") == [line]
    assert (line.state, line.reason, line.report) == ("refused", "not better", {"p": 0.4})
    assert promoted_sha256(both, "churn", 1) is None
    assert registry.alias("churn", "champion") is None


def test_a_champion_set_past_us_is_noticed(settings: Settings, registry: Registry, make_versions: Make) -> None:
    make_versions("churn", 3)
    promote(settings, registry, "churn", 1, expected=None, **WHO)
    registry.set_alias("churn", "champion", 3)
    with pytest.raises(PromotionConflict):
        promote(settings, registry, "churn", 2, expected=1, **WHO)
    assert states(settings)[1:] == [("external", "done", 1, 3), ("promotion", "refused", 1, 2)]
    registry.delete_alias("churn", "champion")
    assert [(one.kind, one.to_version) for one in recover(settings, registry, "churn")] == [("external", None)]
    assert champion_is_last_done(settings, registry, "churn")


def test_a_registry_started_anew_is_not_mistaken_for_the_old(
    settings: Settings, registry: Registry, make_versions: Make, mlflow_template: Path, tmp_path: Path
) -> None:
    make_versions("churn", 1)
    promote(settings, registry, "churn", 1, expected=None, **WHO)
    shutil.copy(mlflow_template, tmp_path / "anew.db")
    settings = settings.model_copy(update={"mlflow_uri": f"sqlite:///{tmp_path / 'anew.db'}"})
    anew = Registry(settings)
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "contract.json").write_text("anew")
    with anew.run("e", "r") as run:
        anew.register("churn", tmp_path / "saved", run.id, EXAMPLE)
    assert (anew.fetch("churn", 1) / "contract.json").read_text() == "anew"
    promote(settings, anew, "churn", 1, expected=None, **WHO)
    assert states(settings) == [
        ("promotion", "done", None, 1),
        ("external", "done", 1, None),
        ("promotion", "done", None, 1),
    ]
    assert promoted_sha256(settings, "churn", 1) == anew.version("churn", 1).sha256
    anew.close()


def test_history_in_pages(settings: Settings, registry: Registry, make_versions: Make) -> None:
    make_versions("churn", 1)
    for number in range(5):
        record_refusal(settings, registry, "churn", 1, expected=None, actor="gate", reason=str(number))
    newest = history(settings, "churn", limit=2)
    assert [one.reason for one in newest] == ["3", "4"]
    assert [one.reason for one in history(settings, "churn", limit=2, before=newest[0].id)] == ["1", "2"]
    assert history(settings, "other") == []
    assert len(history(settings)) == 5


def test_a_held_model_is_not_waited_for_for_ever(
    both: Settings, registry: Registry, make_versions: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_versions("churn", 1)
    promote(both, registry, "churn", 1, expected=None, **WHO)
    monkeypatch.setattr(promotions, "LOCK_SECONDS", 1)
    make_versions("other", 1)
    with promotions._alone(both, "churn"):
        with pytest.raises(PromotionConflict, match="Another promotion"):
            rollback(both, registry, "churn", **WHO)
        assert promote(both, registry, "other", 1, expected=None, **WHO).state == "done"


_OPERATION = st.one_of(
    st.tuples(st.just("promote"), st.integers(1, 3), st.sampled_from(["right", "wrong"])),
    st.tuples(st.just("rollback"), st.just(0), st.just("")),
    st.tuples(st.just("rollback"), st.integers(1, 3), st.just("")),
    st.tuples(st.just("break"), st.integers(1, 3), st.sampled_from(["1 before", "1 after", "2 before", "3 after"])),
    st.tuples(st.just("external"), st.integers(1, 3), st.just("")),
)


@examples(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=st.lists(_OPERATION, min_size=3, max_size=8))
@example(operations=[("break", 2, "1 after"), ("rollback", 1, ""), ("external", 2, ""), ("rollback", 0, "")])
def test_the_champion_is_always_the_last_line_done(
    settings: Settings,
    registry: Registry,
    make_versions: Make,
    operations: list[tuple[str, int, str]],
) -> None:
    name = f"model-{uuid.uuid4().hex[:8]}"
    make_versions(name, 3)
    before: list[Promotion] = []
    for kind, version, how in operations:
        champion = registry.alias(name, "champion")
        try:
            if kind == "promote":
                expected = champion if how == "right" else (champion or 0) + 1
                promote(settings, registry, name, version, expected=expected, **WHO)
            elif kind == "rollback":
                rollback(settings, registry, name, to=version or None, **WHO)
            elif kind == "break":
                breaking = Breaking(settings, int(how[0]), how.endswith("after"))
                promote(settings, breaking, name, version, expected=champion, **WHO)
            else:
                registry.set_alias(name, "champion", version)
                recover(settings, registry, name)
        except (MeritError, ConnectionError):
            pass
        lines = history(settings, name)
        assert lines[: len(before)] == before  # nothing written is ever changed
        assert "intended" not in {line.state for line in lines}
        assert champion_is_last_done(settings, registry, name)
        champion = registry.alias(name, "champion")
        assert champion is None or champion != registry.alias(name, "previous")
        before = lines
