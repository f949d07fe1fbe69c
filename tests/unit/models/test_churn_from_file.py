"""From a user's file to a model and from a new file to scores."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.snapshot import read_dataset
from models.churn.family import ChurnFamily, ChurnModel, ChurnOptions
from models.churn.from_file import ignored_columns, prepare, score_frame
from store.errors import EmptyData, FileUnreadable, InvalidValue, MissingColumn

ROWS = 900


def _customers(seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    tenure = rng.integers(0, 72, ROWS)
    contract = rng.choice(["Month-to-month", "Two year"], ROWS)
    z = 1.0 - 0.06 * tenure - 1.5 * (contract == "Two year")
    left = rng.random(ROWS) < 1 / (1 + np.exp(-z))
    return pd.DataFrame(
        {
            "customerID": [f"{i * 37 % 100_000:05d}-QX" for i in range(seed, seed + ROWS)],
            "tenure": tenure,
            "Contract": contract,
            "TotalCharges": [" " if t == 0 else f"{t * 29.85:.2f}" for t in tenure],
            "Signed": pd.date_range("2020-01-01", periods=ROWS).strftime("%Y-%m-%d"),
            "ChurnReason": np.where(left, "moved", ""),
            "Churn": np.where(left, "Yes", "No"),
        }
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ChurnModel:
    folder = tmp_path_factory.mktemp("file")
    _customers().to_csv(folder / "telco.csv", index=False)
    ready = prepare(folder / "telco.csv", folder / "data", entity="customerID", target="Churn", positive="Yes")
    frame = read_dataset(ready.ref)
    assert frame["Churn"].isin([0, 1]).all()
    assert ready.ref.roles == {"entity": "customerID", "target": "Churn"}
    assert ready.ref.source == "telco.csv"
    notes = "\n".join(ready.notes)
    assert "Suspected leak: 'ChurnReason'" in notes
    assert "Not learned from (date): Signed." in notes
    family = ChurnFamily(ChurnOptions(replicates=200))
    logistic = next(one for one in family.candidates() if one.name == "logistic")
    fitted = family.fit(logistic, family.split(frame, ready.ref.roles).train, ready.ref.roles, {})
    assert set(fitted.columns) == {"tenure", "Contract", "TotalCharges"}
    return fitted


def test_scores_keep_names_and_order(model: ChurnModel) -> None:
    new = _customers(1).sample(frac=1.0, random_state=1).drop(columns=["Churn", "ChurnReason"])
    scores = score_frame(model, new)
    assert list(scores.columns) == ["customerID", "probability", "band"]
    assert scores["customerID"].tolist() == new["customerID"].tolist()
    assert scores["probability"].between(0, 1).all()
    assert [model.band(p) for p in scores["probability"]] == scores["band"].tolist()
    assert scores.groupby(new["tenure"].to_numpy() > 36)["probability"].mean().is_monotonic_decreasing
    assert ignored_columns(model, new) == ["Signed"]


def test_a_new_file_that_lacks_columns_says_which(model: ChurnModel) -> None:
    with pytest.raises(MissingColumn, match="'customerID', 'tenure', 'Contract'"):
        score_frame(model, _customers()[["TotalCharges"]])
    with pytest.raises(EmptyData):
        score_frame(model, _customers().iloc[:0])


def test_without_an_entity_rows_are_numbered(tmp_path: Path) -> None:
    _customers().drop(columns="customerID").to_parquet(tmp_path / "a.parquet")
    ready = prepare(tmp_path / "a.parquet", tmp_path, target="Churn")
    assert any("Churn = Yes is taken as positive" in note for note in ready.notes)
    family = ChurnFamily()
    fitted = family.fit(family.candidates()[1], read_dataset(ready.ref), ready.ref.roles, {})
    assert score_frame(fitted, _customers().head(3)).iloc[:, 0].tolist() == [1, 2, 3]


def test_dates_and_versions_of_a_german_file_are_no_numbers(tmp_path: Path) -> None:
    frame = _customers().drop(columns=["Signed", "ChurnReason"])
    frame["TotalCharges"] = frame["TotalCharges"].str.replace(".", ",")
    frame["date"] = pd.date_range("2012-01-10", periods=ROWS).strftime("%d.%m.%Y")
    frame["app"] = np.where(np.arange(ROWS) % 3, "1.2.3", "1.10.0")
    frame.to_csv(tmp_path / "german.csv", sep=";", index=False)
    ready = prepare(tmp_path / "german.csv", tmp_path, entity="customerID", target="Churn")
    assert {column.name: column.kind for column in ready.profile.columns} == {
        "tenure": "number",
        "Contract": "category",
        "TotalCharges": "number",
        "app": "category",
    }
    assert "Not learned from (date): date." in ready.notes
    timed = prepare(tmp_path / "german.csv", tmp_path, entity="customerID", target="Churn", time="date")
    assert str(read_dataset(timed.ref)["date"].min()) == "2012-01-10 00:00:00"


def test_a_column_that_tells_nearly_all_is_learned_from_and_asked_about(tmp_path: Path) -> None:
    frame = _customers()
    swapped = np.random.default_rng(1).random(ROWS) < 0.03
    frame["retention_call"] = np.where((frame["Churn"] == "Yes") ^ swapped, "done", "none")
    frame.to_csv(tmp_path / "near.csv", index=False)
    ready = prepare(tmp_path / "near.csv", tmp_path, entity="customerID", target="Churn")
    (told,) = (note for note in ready.notes if "retention_call" in note)
    assert told.startswith("'retention_call' alone ranks the rows very well (AUC 0.9")
    assert "Is it known before the customer leaves?" in told
    family = ChurnFamily(ChurnOptions(replicates=100, folds=2, positive_written="Yes"))
    fitted = family.fit(family.candidates()[1], read_dataset(ready.ref), ready.ref.roles, {})
    assert "retention_call" in fitted.columns
    assert [one["column"] for one in fitted.facts["strong_columns"]] == ["retention_call"]
    assert fitted.facts["positive"] == "Yes"


def test_too_few_rows_to_train_on_are_told_as_the_file_writes_them(tmp_path: Path) -> None:
    frame = _customers().sort_values("Churn", ascending=False)
    pd.concat([frame.head(8), frame.tail(40)]).to_csv(tmp_path / "few.csv", index=False)
    with pytest.raises(InvalidValue, match=r"Only 8 of 48 rows .*'Yes'"):
        prepare(tmp_path / "few.csv", tmp_path, entity="customerID", target="Churn")
    pd.concat([frame.head(11), frame.tail(40)]).to_csv(tmp_path / "few.csv", index=False)
    ready = prepare(tmp_path / "few.csv", tmp_path, entity="customerID", target="Churn")
    data = read_dataset(ready.ref)
    train = data.drop(data[data["Churn"] == 1].index[:2])
    family = ChurnFamily(ChurnOptions(positive_written=ready.positive))
    with pytest.raises(InvalidValue, match=r"Only 9 of 49 training rows .* \(positive: 'Yes'\)"):
        family.fit(family.candidates()[0], train, ready.ref.roles, {})


def test_a_long_file_is_said_to_be_one(tmp_path: Path) -> None:
    pd.concat([_customers(), _customers()]).to_csv(tmp_path / "long.csv", index=False)
    ready = prepare(tmp_path / "long.csv", tmp_path, entity="customerID", target="Churn")
    assert any("1800 rows belong to 900 different customerID" in note for note in ready.notes)
    found = ChurnFamily().split(read_dataset(ready.ref), ready.ref.roles)
    assert not set(found.train["customerID"]) & set(found.holdout["customerID"])


def test_by_time(tmp_path: Path) -> None:
    frame = _customers().assign(
        month=np.repeat(pd.date_range("2025-01-01", periods=9, freq="MS").strftime("%Y-%m-%d"), 100)
    )
    frame.to_csv(tmp_path / "timed.csv", index=False)
    ready = prepare(tmp_path / "timed.csv", tmp_path, entity="customerID", target="Churn", time="month")
    found = ChurnFamily(ChurnOptions(horizon_days=0)).split(read_dataset(ready.ref), ready.ref.roles)
    assert "2025-08-01" in found.rule
    assert len(found.train) == 700


def test_the_same_rows_in_another_order_are_the_same_data(tmp_path: Path) -> None:
    _customers().to_csv(tmp_path / "a.csv", index=False)
    _customers().sample(frac=1.0, random_state=0).to_csv(tmp_path / "b.csv", index=False)
    a = prepare(tmp_path / "a.csv", tmp_path, entity="customerID", target="Churn")
    b = prepare(tmp_path / "b.csv", tmp_path, entity="customerID", target="Churn")
    assert a.ref.digest == b.ref.digest
    pd.testing.assert_frame_equal(read_dataset(a.ref), read_dataset(b.ref))


def test_files_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(FileUnreadable, match="nowhere"):
        prepare(tmp_path / "nowhere.csv", tmp_path, target="Churn")
    _customers().to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(MissingColumn, match="Did you mean 'Churn'"):
        prepare(tmp_path / "a.csv", tmp_path, target="churn")
    with pytest.raises(InvalidValue, match=r"never has the value 'Ja'\. Found: No, Yes"):
        prepare(tmp_path / "a.csv", tmp_path, target="Churn", positive="Ja")
    frame = _customers()
    frame.loc[3, "customerID"] = None
    frame.to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(InvalidValue, match="customerID is missing in 1 of 900 rows"):
        prepare(tmp_path / "b.csv", tmp_path, entity="customerID", target="Churn")


def test_every_type_that_parquet_holds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    some = rng.random(400) < 0.1
    left = rng.random(400) < 0.3
    days = [date(1990, 1, 1) + timedelta(days=int(day)) for day in rng.integers(0, 9000, 400)]
    frame = pd.DataFrame(
        {
            "kind": pd.Categorical(rng.choice(list("abc"), 400)),
            "visits": pd.array(np.where(some, None, rng.integers(0, 9, 400)), dtype="Int64"),
            "agreed": pd.array(np.where(some, None, rng.random(400) < 0.5), dtype="boolean"),
            "paid": [Decimal(f"{value:.2f}") for value in rng.gamma(2, 3, 400)],
            "born": days,
            "seen": pd.date_range("2025-01-01", periods=400, tz="Europe/Berlin"),
            "score": rng.normal(size=400).astype("float32"),
            "tags": [["a", "b"]] * 400,
            " größe ": np.where(some, np.inf, rng.normal(size=400)),
            "gone": left,
        }
    )
    frame.to_parquet(tmp_path / "types.parquet")
    ready = prepare(tmp_path / "types.parquet", tmp_path, target="gone")
    assert {column.name: column.kind for column in ready.profile.columns} == {
        "kind": "category",
        "visits": "number",
        "agreed": "flag",
        "paid": "number",
        "score": "number",
        "größe": "number",
    }
    assert {one.name: one.reason for one in ready.profile.dropped} == {
        "born": "date",
        "seen": "date",
        "tags": "unsupported",
    }
    family = ChurnFamily(ChurnOptions(folds=3))
    data = read_dataset(ready.ref)
    fitted: dict[str, ChurnModel] = {}
    for candidate in family.candidates():
        fitted[candidate.name] = family.fit(candidate, data, ready.ref.roles, fitted)
    fitted["blend"].save(tmp_path / "model")
    scores = score_frame(family.load(tmp_path / "model"), frame)
    assert scores["probability"].between(0, 1).all()
