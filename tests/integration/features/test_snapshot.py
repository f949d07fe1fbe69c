"""The same data, the same snapshot: from SQLite, Postgres or a folder, in any order, once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from features.contracts import CONTRACTS
from features.ingest import ingest
from features.snapshot import frame_digest, from_folder, read_dataset, take, write_dataset
from store.database import dispose
from store.dataset import DatasetRef, SnapshotRef
from store.errors import EmptyData, FileUnreadable, InvalidValue, MissingColumn, WrongType
from store.settings import Settings

AS_OF = datetime(2026, 6, 1)


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    folder = tmp_path / "tables"
    folder.mkdir()
    n = 60
    day = pd.date_range("2026-05-01", periods=n).as_unit("us")
    customers = pd.DataFrame(
        {
            "customer_id": [f"ü{i}" if i % 2 else f"Z{i}" for i in range(n)],
            "signup_date": day,
            "kind": "business",
            "region": ["north", "south"] * (n // 2),
            "channel": "web",
            "employees": [None if i % 3 else i for i in range(n)],
            "country": "DE",
            "event_time": day,
            "recorded_at": day + pd.Timedelta("01:02:03.000004"),
        }
    )
    correction = customers.iloc[:2].assign(region="east", recorded_at=pd.Timestamp("2026-07-01"))
    pd.concat([customers, correction]).astype({"recorded_at": "datetime64[us]"}).to_parquet(
        folder / "customers.parquet"
    )
    subscriptions = pd.DataFrame(
        {
            "subscription_id": [f"s{i}" for i in range(n)],
            "customer_id": customers["customer_id"],
            "plan": "pro",
            "status": "active",
            "monthly_price": np.linspace(-0.0, 1 / 3, n),
            "contract_months": 12,
            "started_on": day,
            "ended_on": pd.Series(pd.NaT, index=range(n), dtype="datetime64[us]"),
            "reason": pd.Series(['say "no", or\nnot', None] * (n // 2), dtype="str"),
            "event_time": day,
            "recorded_at": day,
        }
    )
    subscriptions.to_parquet(folder / "subscriptions.parquet")
    return folder


@pytest.fixture
def loaded(settings: Settings, postgres_url: str, tables: Path, tmp_path: Path) -> Iterator[dict[str, Settings]]:
    stores = {
        "sqlite": settings,
        "postgres": Settings(home=tmp_path / "other", database_url=SecretStr(postgres_url), threads=1),
    }
    for store in stores.values():
        for name in ("customers", "subscriptions"):
            assert ingest(store, name, tables / f"{name}.parquet").quarantined == 0
    yield stores
    for store in stores.values():
        dispose(store)


def test_one_digest_from_sqlite_postgres_and_a_folder(
    loaded: dict[str, Settings], tables: Path, settings: Settings
) -> None:
    names = ["customers", "subscriptions"]
    one, two = (take(store, names, AS_OF) for store in loaded.values())
    folder = from_folder(tables, AS_OF, settings)
    assert one.digest == two.digest == folder.digest
    assert dict(one.tables) == dict(two.tables) == {"customers": 31, "subscriptions": 32}
    assert one.uri == folder.uri  # the second is the first
    assert one.uri != two.uri
    for name in names:
        left, right = (pd.read_parquet(ref.table(name)) for ref in (one, two))
        pd.testing.assert_frame_equal(left, right)
        assert left[["event_time", "recorded_at"]].max().max() <= pd.Timestamp(AS_OF)
        assert frame_digest(left) == frame_digest(right)
        assert (left.dtypes.astype(str).isin(["str", "int64", "float64", "datetime64[us]"])).all()
    assert pd.read_parquet(two.table("subscriptions"))["reason"].iloc[0] == 'say "no", or\nnot'
    later = take(loaded["sqlite"], names, datetime(2026, 8, 1))
    assert later.tables["customers"] == 62
    assert later.digest != one.digest
    assert SnapshotRef.from_dict(json.loads(json.dumps(one.to_dict()))) == one


def test_a_snapshot_is_immutable_and_taken_once(tables: Path, settings: Settings) -> None:
    first = from_folder(tables, AS_OF, settings)
    stamp = first.table("customers").stat().st_mtime_ns
    frame = pd.read_parquet(tables / "customers.parquet").sample(frac=1, random_state=3)
    frame[sorted(frame.columns)].to_parquet(tables / "customers.parquet", row_group_size=7)
    again = from_folder(tables.parent, AS_OF, settings)
    assert again == first
    assert first.table("customers").stat().st_mtime_ns == stamp
    assert [p.name for p in (settings.root / "snapshots").iterdir()] == [first.digest[:16]]
    assert json.loads((Path(first.uri) / "snapshot.json").read_text())["digest"] == first.digest
    assert pq.read_schema(first.table("customers")).names == list(CONTRACTS["customers"].names)


def test_what_cannot_be_snapshot(tables: Path, settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(EmptyData, match="2020-01-01"):
        from_folder(tables, datetime(2020, 1, 1), settings)
    with pytest.raises(EmptyData):
        take(settings, ["customers"], AS_OF)
    with pytest.raises(InvalidValue, match="Did you mean 'customers'"):
        take(settings, ["costumers"], AS_OF)
    with pytest.raises(FileUnreadable, match=r"customers\.parquet"):
        from_folder(tmp_path / "nothing", AS_OF, settings)
    frame = pd.read_parquet(tables / "customers.parquet")
    frame.assign(employees=2.5).to_parquet(tables / "customers.parquet")
    with pytest.raises(WrongType, match=r"customers\.employees"):
        from_folder(tables, AS_OF, settings)
    frame.drop(columns="region").to_parquet(tables / "customers.parquet")
    with pytest.raises(MissingColumn, match="region"):
        from_folder(tables, AS_OF, settings)
    assert [p for p in (settings.root / "snapshots").iterdir() if p.name.startswith(".")] == []


def test_a_data_set_comes_back_in_one_order_whatever_order_it_came_in(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "id": [f"c{i}" for i in rng.integers(0, 9, 200)],
            "when": pd.to_datetime("2026-01-01") + pd.to_timedelta(rng.integers(0, 9, 200), unit="D"),
            "x": rng.normal(size=200),
            "few": pd.array([None if i % 7 else i for i in range(200)], dtype="Int64"),
            "kind": pd.Categorical(rng.choice(["a", "b"], 200)),
            "y": rng.integers(0, 2, 200),
        }
    )
    roles = {"entity": "id", "time": "when", "target": "y"}
    ref = write_dataset(frame, tmp_path / "one", roles=roles, as_of=AS_OF, source="here")
    other = write_dataset(frame.sample(frac=1, random_state=2), tmp_path / "two", roles=roles)
    pd.testing.assert_frame_equal(read_dataset(ref), read_dataset(other))
    back = read_dataset(ref)
    assert ref.digest == other.digest == frame_digest(frame) == frame_digest(back)
    assert back[["when", "id"]].equals(back[["when", "id"]].sort_values(["when", "id"], kind="stable"))
    assert back.dtypes.astype(str).tolist() == [
        "str",
        frame["when"].dtype.name,
        "float64",
        "float64",
        "category",
        "int64",
    ]
    assert ref.rows == 200
    assert DatasetRef.from_dict(json.loads(json.dumps(ref.to_dict()))) == ref
    with pytest.raises(MissingColumn, match="target column 'z'"):
        write_dataset(frame, tmp_path, roles={"target": "z"})
    with pytest.raises(EmptyData):
        write_dataset(frame.iloc[:0], tmp_path)
    ref.path.unlink()
    with pytest.raises(FileUnreadable):
        read_dataset(ref)
