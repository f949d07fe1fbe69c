"""Loads into real SQLite and Postgres: nothing is lost, nothing comes twice, corrections are kept apart."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr

from features.ingest import IngestResult, ingest
from features.point_in_time import latest_known
from store.database import dispose, engine, migrate
from store.errors import EmptyData, ValidationFailed
from store.settings import Settings
from store.tables.business import IngestRow, QuarantineRow, customers, usage_daily
from store.tables.platform import EventRow


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Settings]:
    if request.param == "postgres":
        url = request.getfixturevalue("migrated_postgres_url")
        settings = settings.model_copy(update={"database_url": SecretStr(url)})
    yield settings
    dispose(settings)


def customer_rows(n: int = 20) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "customer_id": [f"c{i:03}" for i in range(n)],
            "signup_date": "2026-01-02",
            "kind": "business",
            "region": "north",
            "channel": "web",
            "employees": [str(i) if i % 2 else "" for i in range(n)],
            "country": "DE",
        }
    )


def load(
    settings: Settings, frame: pd.DataFrame, folder: Path, table: str = "customers", **options: Any
) -> IngestResult:
    path = folder / "source.csv"
    frame.to_csv(path, index=False)
    result = ingest(settings, table, path, **options)
    assert result.read == result.inserted + result.unchanged + result.quarantined
    return result


def stored(settings: Settings, table: sa.Table = customers) -> pd.DataFrame:
    with engine(settings).connect() as connection:
        return pd.read_sql(sa.select(table).order_by(*table.primary_key.columns), connection)


def quarantine(settings: Settings) -> list[dict[str, Any]]:
    with engine(settings).connect() as connection:
        return [dict(row._mapping) for row in connection.execute(sa.select(QuarantineRow).order_by(QuarantineRow.id))]


def test_twice_inserts_nothing_and_a_change_is_a_correction(store: Settings, tmp_path: Path) -> None:
    frame = customer_rows()
    first = load(store, frame, tmp_path)
    assert (first.read, first.inserted, first.unchanged, first.quarantined) == (20, 20, 0, 0)
    assert any("recorded_at is not in the source" in note for note in first.notes)
    again = load(store, frame.sample(frac=1, random_state=1), tmp_path)
    assert (again.inserted, again.unchanged) == (0, 20)
    assert again.digest == first.digest

    frame.loc[3, "region"] = "south"
    frame.loc[4, "employees"] = "5"
    changed = load(store, frame, tmp_path)
    assert (changed.inserted, changed.corrections, changed.unchanged) == (2, 2, 18)
    assert load(store, frame, tmp_path).inserted == 0
    rows = stored(store)
    assert len(rows) == 22
    assert rows[rows["customer_id"] == "c003"]["region"].tolist() == ["north", "south"]
    now = latest_known(rows, ["customer_id"], pd.Timestamp("2100-01-01"))
    assert now.set_index("customer_id").loc["c003", "region"] == "south"
    with engine(store).connect() as connection:
        log = connection.execute(sa.select(IngestRow.read, IngestRow.inserted, IngestRow.unchanged)).all()
    assert sorted(map(tuple, log)) == [(20, 0, 20), (20, 0, 20), (20, 2, 18), (20, 20, 0)]


def test_with_recorded_at_the_natural_key_decides(store: Settings, tmp_path: Path) -> None:
    frame = customer_rows(3).assign(event_time="2026-01-02", recorded_at="2026-01-03T10:00:00Z")
    assert load(store, frame, tmp_path).inserted == 3
    later = frame.assign(recorded_at="2026-02-01", region=["north", "south", "north"])
    result = load(store, pd.concat([frame, later]), tmp_path)
    assert (result.inserted, result.corrections, result.unchanged) == (3, 3, 3)
    contradicting = frame.assign(region="west")
    result = load(store, contradicting, tmp_path)
    assert (result.inserted, result.quarantined) == (0, 3)
    assert "stored already with different values" in quarantine(store)[0]["reasons"][0]
    assert quarantine(store)[0]["row"]["region"] == "west"


def test_bad_rows_go_to_quarantine_with_every_reason(store: Settings, tmp_path: Path) -> None:
    frame = customer_rows(200)
    frame.loc[5, "region"] = "nowhere"
    frame.loc[5, "employees"] = "many"
    frame.loc[7, "signup_date"] = "02/01/2026"
    frame.loc[9, "customer_id"] = None
    frame["shoe_size"] = 43
    result = load(store, frame, tmp_path)
    assert (result.inserted, result.quarantined) == (197, 3)
    assert result.ignored == ("shoe_size",)
    rows = quarantine(store)
    assert [row["position"] for row in rows] == [6, 8, 10]
    assert rows[0]["row"]["region"] == "nowhere"
    assert rows[0]["row"]["shoe_size"] == "43"
    assert sorted(rows[0]["reasons"]) == [
        "employees must be a whole number",
        "region must be one of north, south, east, west",
    ]
    assert {row["ingest_id"] for row in rows} == {result.id}
    assert result.reasons["customer_id must be filled"] == 1


def test_quarantine_does_not_grow_when_a_source_is_loaded_again(store: Settings, tmp_path: Path) -> None:
    frame = customer_rows(200)
    frame.loc[[5, 7], "region"] = "nowhere"
    frame.loc[9, "employees"] = "many"
    frame = pd.concat([frame, frame.iloc[[9]], frame.iloc[[20]].assign(country="FR")])
    first = load(store, frame, tmp_path)
    kept = quarantine(store)
    # A row that is there twice in the source is there twice here; so are contradictions, whose clock is the load's.
    assert [row["position"] for row in sorted(kept, key=lambda row: row["position"])] == [6, 8, 10, 201, 202]
    for _ in range(3):
        again = load(store, pd.concat([frame.iloc[:-1].sample(frac=1, random_state=2), frame.iloc[-1:]]), tmp_path)
        assert again.quarantined == first.quarantined == 5
        rows = quarantine(store)
        assert [row["id"] for row in rows] == [row["id"] for row in kept]
        # The latest load finds its rows under its own id, and where they now are in the source.
        assert {row["ingest_id"] for row in rows} == {again.id}
        assert sorted(row["position"] for row in rows) != [6, 8, 10, 201, 202]

    frame.loc[5, "region"] = "elsewhere"
    load(store, frame, tmp_path)
    assert len(quarantine(store)) == 6
    (tmp_path / "other").mkdir()
    load(store, frame, tmp_path / "other")
    assert len(quarantine(store)) == 11


def test_a_critical_failure_writes_nothing(store: Settings, tmp_path: Path) -> None:
    load(store, customer_rows(5), tmp_path)
    before = stored(store)
    bad = customer_rows(100).assign(region=["nowhere"] * 20 + ["north"] * 80, country="FR")
    with pytest.raises(ValidationFailed) as caught:
        load(store, bad, tmp_path)
    assert "region" in caught.value.message
    assert "20 of 100 rows" in caught.value.message
    assert "'nowhere'" in caught.value.message
    with pytest.raises(ValidationFailed, match="signup_date"):
        load(store, customer_rows(3).assign(signup_date="soon"), tmp_path)
    with pytest.raises(ValidationFailed, match="--map THEIRS=kind"):
        load(store, customer_rows(3).drop(columns="kind"), tmp_path)
    pd.testing.assert_frame_equal(stored(store), before)
    assert quarantine(store) == []
    assert not list(store.root.glob(".ingest-*"))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    settings = Settings(home=tmp_path_factory.mktemp("shared") / "home", threads=1)
    migrate(settings)
    yield settings
    dispose(settings)


row = st.fixed_dictionaries(
    {
        "customer_id": st.sampled_from(["a", "b", "c", "d", ""]),
        "region": st.sampled_from(["north", "south", "nowhere"]),
        "employees": st.sampled_from(["", "3", "x"]),
    }
)


@given(st.lists(row, min_size=1, max_size=12), st.booleans(), st.booleans())
@hypothesis_settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_is_somewhere(
    shared: Settings, tmp_path_factory: pytest.TempPathFactory, rows, recorded, ragged
) -> None:
    frame = pd.DataFrame(rows).assign(signup_date="2026-01-02", kind="business", channel="web", country="DE")
    if recorded:
        frame["recorded_at"] = "2026-01-05"
    path = tmp_path_factory.mktemp("source") / "rows.csv"
    frame.to_csv(path, index=False)
    if ragged:
        path.write_text(path.read_text() + "too,few\n")
    read = len(rows) + ragged
    try:
        result = ingest(shared, "customers", path)
    except ValidationFailed:
        return
    assert result.read == read == result.inserted + result.unchanged + result.quarantined
    with engine(shared).connect() as connection:
        kept = connection.execute(
            sa.select(sa.func.count()).select_from(QuarantineRow).where(QuarantineRow.ingest_id == result.id)
        ).scalar_one()
    assert kept == result.quarantined
    again = ingest(shared, "customers", path)
    assert (again.inserted, again.unchanged + again.quarantined) == (0, read)


def test_rows_repeated_within_a_source(settings: Settings, tmp_path: Path) -> None:
    frame = customer_rows(50)
    repeated = pd.concat([frame, frame.iloc[[3]], frame.iloc[[4]].assign(region="south")])
    result = load(settings, repeated, tmp_path)
    assert (result.inserted, result.unchanged, result.quarantined) == (50, 1, 1)
    assert quarantine(settings)[0]["reasons"] == ["the key (customer_id) is there twice with different values"]


def test_history_that_is_trusted(settings: Settings, tmp_path: Path) -> None:
    tickets = pd.DataFrame(
        {
            "ticket_id": ["t1", "t2"],
            "customer_id": "c1",
            "opened_at": "2026-01-01T08:00:00",
            "closed_at": ["2026-01-05T09:00:00", ""],
            "severity": "low",
            "category": "billing",
            "satisfaction": ["4", ""],
        }
    )
    result = load(settings, tickets, tmp_path, "tickets", known="event")
    rows = stored(settings, sa.Table("tickets", sa.MetaData(), autoload_with=engine(settings)))
    # A closed ticket tells of its closing and so cannot have been known before it.
    assert rows["recorded_at"].astype(str).tolist() == ["2026-01-05 09:00:00", "2026-01-01 08:00:00"]
    assert any("latest of event_time, closed_at" in note for note in result.notes)
    assert load(settings, tickets, tmp_path, "tickets", known="event").inserted == 0
    tickets.loc[1, "closed_at"] = "2026-01-07"
    assert load(settings, tickets, tmp_path, "tickets", known="event").corrections == 1


def test_from_parquet_and_database_with_their_types(settings: Settings, tmp_path: Path) -> None:
    usage = pd.DataFrame(
        {
            "kunde": pd.Series([1, 2, 3], dtype="int64"),
            "day": pd.to_datetime(["2026-01-01", "2026-01-02", "2026-01-03"]).tz_localize("UTC"),
            "api_calls": pd.array([1, 2, 3], dtype="Int64"),
            "storage_gb": np.array([1, 2, 3], dtype="float32"),
            "compute_hours": [0.1, 0.2, 0.3],
            "energy_kwh": [1, 2, 3],
            "active_users": [1.0, 2.0, 3.0],
        }
    )
    usage.to_parquet(tmp_path / "usage.parquet")
    result = ingest(settings, "usage_daily", tmp_path / "usage.parquet", {"kunde": "customer_id"})
    assert result.inserted == 3
    with sqlite3.connect(tmp_path / "theirs.db") as connection:
        usage.assign(day=usage["day"].dt.strftime("%Y-%m-%d"), api_calls=usage["api_calls"].astype("int64")).to_sql(
            "usage", connection, index=False
        )
    connection.close()
    again = ingest(settings, "usage_daily", f"sqlite:///{tmp_path}/theirs.db::usage", {"kunde": "customer_id"})
    assert (again.inserted, again.unchanged) == (0, 3)
    rows = stored(settings, usage_daily)
    assert rows["customer_id"].tolist() == ["1", "2", "3"]
    assert rows["event_time"].astype(str).tolist() == ["2026-01-02", "2026-01-03", "2026-01-04"]


def test_decimal_comma_and_missing_rows(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_text(
        "plan;region;valid_from;price;competitor_price\npro;north;01.02.2026;1.234,50;99,9\n", encoding="cp1252"
    )
    result = ingest(settings, "prices", path)
    assert result.inserted == 1
    assert any("decimal comma" in note for note in result.notes)
    rows = stored(settings, sa.Table("prices", sa.MetaData(), autoload_with=engine(settings)))
    assert rows[["price", "competitor_price"]].iloc[0].tolist() == [1234.5, 99.9]
    assert str(rows["valid_from"].iloc[0]) == "2026-02-01"
    path.write_text("plan;region;valid_from;price;competitor_price\n")
    with pytest.raises(EmptyData, match="no rows"):
        ingest(settings, "prices", path)


def test_progress_and_result_are_json_ready(settings: Settings, tmp_path: Path) -> None:
    steps: list[tuple[int, int | None]] = []
    result = load(settings, customer_rows(), tmp_path, progress=lambda done, total: steps.append((done, total)))
    assert steps[-1] == (40, 40)
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert json.loads(json.dumps(result.to_dict()))["inserted"] == 20


def test_two_loads_at_once_insert_each_row_once(store: Settings, tmp_path: Path) -> None:
    migrate(store)
    path = tmp_path / "source.csv"
    customer_rows(300).to_csv(path, index=False)
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda _: ingest(store, "customers", path), range(3)))
    assert sorted(result.inserted for result in results) == [0, 0, 300]
    assert len(stored(store)) == 300


def test_a_refused_load_is_told_as_an_event(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ValidationFailed):
        load(settings, customer_rows(3).assign(region="nowhere"), tmp_path)
    with engine(settings).connect() as connection:
        event = connection.execute(sa.select(EventRow.kind, EventRow.payload)).one()
    assert event.kind == "validation.failed"
    assert "nowhere" in event.payload["error"]
