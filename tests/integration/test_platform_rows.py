"""Keys, predictions, forecasts and current features on real SQLite and real Postgres."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from store import feature_rows, forecasts, keys, predictions
from store.database import engine
from store.errors import InvalidValue, UnknownEntity
from store.forecasts import Forecast
from store.pages import Page
from store.predictions import Prediction
from store.settings import Settings
from store.tables.base import utc_now
from store.tables.platform import ApiKeyRow


# ------------------------------------------------------------------------------------------------------------- keys
def test_a_key_is_shown_once_and_kept_as_a_hash(on_both: Settings) -> None:
    assert not keys.any_keys(on_both)
    info, secret = keys.create(on_both, "billing", "analyst")
    assert secret.startswith(f"merit_{info.id}_")
    assert keys.verify(on_both, secret) == info
    assert keys.list_keys(on_both) == [info]
    assert keys.any_keys(on_both)
    with engine(on_both).connect() as connection:
        stored = str(connection.execute(sa.select(ApiKeyRow.__table__)).all())
    assert secret not in stored
    assert secret.rpartition("_")[2] not in stored


def test_wrong_secrets_are_refused(on_both: Settings) -> None:
    _, secret = keys.create(on_both, "one", "admin")
    _, other = keys.create(on_both, "two", "admin")
    mixed = secret[:19] + other[19:]
    for wrong in (
        "",
        "merit_",
        secret[:-1],
        secret + "0",
        secret.upper(),
        mixed,
        "merit_\x00_",
        "x" * 10_000,
        "\udc80",
    ):
        assert keys.verify(on_both, wrong) is None


def test_revoked_and_expired_keys_end(on_both: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    soon = utc_now() + timedelta(hours=1)
    info, secret = keys.create(on_both, "one", "application", soon)
    assert keys.verify(on_both, secret) is not None
    with monkeypatch.context() as later:
        later.setattr(keys, "utc_now", lambda: soon)
        assert keys.verify(on_both, secret) is None
    info, secret = keys.create(on_both, "two", "application", datetime.now(UTC) + timedelta(days=1))
    assert keys.verify(on_both, secret) == info
    ended = keys.revoke(on_both, info.id)
    assert ended.revoked_at is not None
    assert keys.verify(on_both, secret) is None
    assert keys.revoke(on_both, info.id) == ended
    # Its name is free again, and revoking by name ends the one that is valid.
    newer, secret = keys.create(on_both, "two", "admin")
    assert keys.revoke(on_both, "two").id == newer.id
    assert keys.any_keys(on_both)
    with pytest.raises(UnknownEntity, match="'three'"):
        keys.revoke(on_both, "three")


def test_keys_that_make_no_sense_are_refused(on_both: Settings) -> None:
    keys.create(on_both, "one", "admin")
    for name, role, expires, field in [
        ("one", "admin", None, "name"),
        (" ", "admin", None, "name"),
        ("x" * 300, "admin", None, "name"),
        ("two", "root", None, "role"),
        ("two", "admin", utc_now() - timedelta(seconds=1), "expires"),
    ]:
        with pytest.raises(InvalidValue) as caught:
            keys.create(on_both, name, role, expires)
        assert caught.value.field == field


def test_roles_include_those_below() -> None:
    def may(role: str) -> list[str]:
        return [other for other in keys.ROLES if keys.KeyInfo("", "", role, utc_now(), None, None).allows(other)]

    assert may("admin") == ["application", "analyst", "admin"]
    assert may("analyst") == ["application", "analyst"]
    assert may("application") == ["application"]


# ------------------------------------------------------------------------------------------------------ predictions
def made(count: int, **values: object) -> list[Prediction]:
    given = {"model": "churn", "version": 1, "features": {"a": 1.5}, "output": {"probability": 0.25}, **values}
    return [Prediction(**given) for _ in range(count)]  # type: ignore[arg-type]


def test_a_prediction_comes_back_whole(on_both: Settings) -> None:
    (one,) = made(
        1,
        entity_id="c1",
        digest="d" * 64,
        run_id="r",
        git_commit="g",
        request_id="q",
        features={"a": np.float64(1.5), "n": np.int64(2), "missing": float("nan"), "text": "ä", "flag": np.bool_(True)},
    )
    predictions.write(on_both, [one])
    seen = predictions.get(on_both, one.id)
    assert seen == replace(one, features={"a": 1.5, "n": 2, "missing": None, "text": "ä", "flag": True})
    with pytest.raises(UnknownEntity, match="'nope'"):
        predictions.get(on_both, "nope")


def test_many_at_once_all_or_none_and_again(on_both: Settings) -> None:
    rows = made(3000)
    predictions.write(on_both, rows)
    predictions.write(on_both, [])
    # A batch whose commit was not confirmed is written again, with more.
    predictions.write(on_both, rows[-10:] + made(5))
    assert _count(on_both) == 3005
    broken = [*made(3), replace(made(1)[0], features={"x": object()})]
    with pytest.raises((sa.exc.StatementError, TypeError)):
        predictions.write(on_both, broken)
    assert _count(on_both) == 3005


def _count(settings: Settings) -> int:
    from store.tables.platform import PredictionRow

    with engine(settings).connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(PredictionRow)) or 0


def test_text_that_postgres_cannot_hold_spoils_nothing(on_both: Settings) -> None:
    rows = made(1, entity_id="a\x00b", request_id="\x00", features={"text": "\x00"}) + made(1)
    predictions.write(on_both, rows)
    assert predictions.get(on_both, rows[0].id).entity_id == "a\ufffdb"
    assert len(predictions.page(on_both, entity_id="a\x00b", cursor="z\x00").items) == 1
    assert feature_rows.lookup(on_both, "churn", ["\x00"]) == {}
    assert forecasts.page(on_both, model="\x00") == Page((), None)
    for ask in (predictions.get, forecasts.get, keys.revoke):
        with pytest.raises(UnknownEntity):
            ask(on_both, "\x00")


def test_pages_cover_everything_once(on_both: Settings) -> None:
    rows = made(7, entity_id="a") + made(4, entity_id="b", version=2, request_id="q")
    predictions.write(on_both, rows)
    seen: list[str] = []
    cursor = None
    sizes = []
    while True:
        found: Page[Prediction] = predictions.page(on_both, model="churn", limit=4, cursor=cursor)
        seen += [one.id for one in found.items]
        sizes.append(len(found.items))
        cursor = found.next_cursor
        if cursor is None:
            break
    assert sizes == [4, 4, 3]
    assert seen == sorted((one.id for one in rows), reverse=True)
    assert len(predictions.page(on_both, entity_id="a").items) == 7
    assert len(predictions.page(on_both, version=2).items) == 4
    assert len(predictions.page(on_both, request_id="q").items) == 4
    assert predictions.page(on_both, model="other") == Page((), None)
    assert predictions.page(on_both, limit=11).next_cursor is None
    for limit in (0, -1, 1001):
        with pytest.raises(InvalidValue):
            predictions.page(on_both, limit=limit)


def test_the_latest_report_counts_and_all_stay(on_both: Settings) -> None:
    one, other = made(2)
    predictions.write(on_both, [one, other])
    assert predictions.get(on_both, one.id).actual is None
    predictions.report(on_both, one.id, True, reported_by="ann")
    last = predictions.report(on_both, one.id, False, reported_by="bob")
    assert predictions.get(on_both, one.id).actual == last
    assert [(entry.value, entry.reported_by) for entry in predictions.reports(on_both, one.id)] == [
        (True, "ann"),
        (False, "bob"),
    ]
    shown = {entry.id: entry.actual for entry in predictions.page(on_both).items}
    assert shown == {one.id: last, other.id: None}
    with pytest.raises(UnknownEntity):
        predictions.report(on_both, "nope", True)


# -------------------------------------------------------------------------------------------------------- forecasts
def test_forecasts(on_both: Settings) -> None:
    rows = [Forecast(model="forecasting", version=number, request={"horizon": 30}, rows=2) for number in range(3)]
    for one in rows:
        forecasts.create(on_both, one, b"PAR1" + bytes(range(256)))
    failed = Forecast(model="other", version=1, request={}, status=forecasts.FAILED, error="too short")
    forecasts.create(on_both, failed, None)
    assert forecasts.get(on_both, rows[0].id) == rows[0]
    assert forecasts.result(on_both, rows[0].id) == b"PAR1" + bytes(range(256))
    assert forecasts.result(on_both, failed.id) is None
    assert [one.version for one in forecasts.page(on_both, model="forecasting", limit=2).items] == [2, 1]
    first = forecasts.page(on_both, limit=3)
    assert forecasts.page(on_both, limit=3, cursor=first.next_cursor) == Page((rows[0],), None)
    for ask in (forecasts.get, forecasts.result):
        with pytest.raises(UnknownEntity, match="'nope'"):
            ask(on_both, "nope")


# --------------------------------------------------------------------------------------------------------- features
NOON = datetime(2026, 3, 1, 12)


def features(ids: list[str], value: float) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "value": value,
            "count": pd.array([1, None] * len(ids), dtype="Int64")[: len(ids)],
            "plan": pd.Categorical(["pro"] * len(ids)),
            "since": pd.Timestamp("2026-01-01"),
        },
        index=pd.Index(ids, name="customer_id"),
    )
    frame.iloc[0, 0] = np.nan
    return frame


def test_features_are_replaced_at_once(on_both: Settings) -> None:
    assert feature_rows.newest(on_both, "churn") is None
    assert feature_rows.publish(on_both, "churn", features(["a", "b", "c"], 1.0), NOON) == 3
    assert feature_rows.publish(on_both, "other", features(["a"], 9.0), NOON) == 1
    assert feature_rows.lookup(on_both, "churn", ["b", "a", "zzz"]) == {
        "a": {"value": None, "count": 1, "plan": "pro", "since": "2026-01-01T00:00:00"},
        "b": {"value": 1.0, "count": None, "plan": "pro", "since": "2026-01-01T00:00:00"},
    }
    assert feature_rows.publish(on_both, "churn", features(["c", "d"], 2.0), NOON + timedelta(days=1)) == 2
    assert sorted(feature_rows.lookup(on_both, "churn", ["a", "b", "c", "d"])) == ["c", "d"]
    # A backfill of an earlier day does not make serving forget the later one.
    assert feature_rows.publish(on_both, "churn", features(["a"], 3.0), NOON) == 0
    assert feature_rows.newest(on_both, "churn") == NOON + timedelta(days=1)
    assert sorted(feature_rows.lookup(on_both, "other", ["a"])) == ["a"]
    with pytest.raises(InvalidValue, match="'a' twice"):
        feature_rows.publish(on_both, "churn", features(["a", "a"], 1.0), NOON + timedelta(days=2))
    with pytest.raises(InvalidValue, match="without an id"):
        feature_rows.publish(on_both, "churn", features(["a", None], 1.0), NOON + timedelta(days=2))  # type: ignore[list-item]
    assert feature_rows.newest(on_both, "churn") == NOON + timedelta(days=1)


def test_readers_see_all_old_or_all_new_features(on_both: Settings) -> None:
    ids = [f"c{number}" for number in range(400)]
    feature_rows.publish(on_both, "churn", features(ids, 0.0).fillna({"value": 0.0}), NOON)
    stop = threading.Event()
    mixed: list[object] = []

    def read() -> None:
        while not stop.is_set():
            values = {row["value"] for row in feature_rows.lookup(on_both, "churn", ids).values()}
            if len(values) != 1:
                mixed.append(values)

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(1, 6):
        frame = features(ids, float(number)).fillna({"value": float(number)})
        feature_rows.publish(on_both, "churn", frame, NOON + timedelta(hours=number))
    stop.set()
    thread.join()
    assert mixed == []
