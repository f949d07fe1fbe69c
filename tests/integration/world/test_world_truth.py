"""The demo world passes its contracts, and what its truth states can be found again in its tables."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from features.contracts import CONTRACTS
from features.validation import validate
from features.views.churn import FEATURES, training_frame
from features.world import WorldRef, build
from store.dataset import SnapshotRef


@pytest.fixture(scope="module")
def truth(world: WorldRef) -> dict[str, object]:
    content: dict[str, object] = json.loads(world.truth("world.json").read_text())
    return content


@pytest.fixture(scope="module")
def training(snapshot: SnapshotRef) -> pd.DataFrame:
    return training_frame(snapshot)


@pytest.fixture(scope="module")
def big_world(tmp_path_factory: pytest.TempPathFactory) -> WorldRef:
    """Enough sign-ups to measure an elasticity."""
    return build(tmp_path_factory.mktemp("big"), customers=12_000, days=330, seed=11, end=date(2026, 6, 30))


@pytest.mark.parametrize("table", list(CONTRACTS))
def test_tables_pass_their_contracts(world: WorldRef, table: str) -> None:
    frame = pd.read_parquet(world.table(table))
    assert len(frame) == world.tables[table] > 0
    assert list(frame.columns) == list(CONTRACTS[table].names)
    report = validate(frame, CONTRACTS[table])
    assert report.ok, report.text()
    assert not frame.duplicated(list(CONTRACTS[table].natural_key)).any()
    assert frame["recorded_at"].max() <= world.as_of
    assert (frame["recorded_at"] >= frame["event_time"]).all()


def test_some_oddities_are_worth_a_warning(world: WorldRef) -> None:
    warned = {t for t in ("customers", "invoices") if validate(pd.read_parquet(world.table(t)), CONTRACTS[t]).warnings}
    assert warned == {"customers", "invoices"}


def test_the_truth_is_not_in_the_tables(world: WorldRef) -> None:
    names = {name for table in CONTRACTS for name in pq.read_schema(world.table(table)).names}
    assert not names & {"frailty", "hazard", "expected_30", "left_on", "first_onset", "multiplier"}
    assert sorted(path.name for path in (world.folder / "tables").iterdir()) == sorted(
        f"{t}.parquet" for t in CONTRACTS
    )


def test_its_size_is_what_was_asked_for(world: WorldRef) -> None:
    people = pd.read_parquet(world.table("customers"))
    assert people["customer_id"].nunique() == 2000
    days = pd.read_parquet(world.table("usage_daily"), columns=["day"])["day"]
    assert (days.min().date(), days.max().date(), days.nunique()) == (world.start, world.end, 730)
    subscriptions = pd.read_parquet(world.table("subscriptions"))
    assert set(subscriptions["customer_id"]) == set(people["customer_id"])
    # Everybody who left has exactly one end, and no usage after it.
    ended = subscriptions.groupby("customer_id")["ended_on"].max().dropna()
    last = (
        pd.read_parquet(world.table("usage_daily"), columns=["customer_id", "day"]).groupby("customer_id")["day"].max()
    )
    assert (last[ended.index] == ended.clip(upper=pd.Timestamp(world.end))).all()


def test_the_best_possible_auc_is_computable_and_in_its_band(
    world: WorldRef, training: pd.DataFrame, truth: dict[str, dict[str, float]]
) -> None:
    stated = truth["churn_30_days"]
    assert 0.80 <= stated["auc_of_expected"] < stated["auc_of_true_path"] <= 0.90
    assert 0.03 <= stated["rate"] <= 0.05

    # The same numbers from the files, on the rows of the training frame.
    assert len(training) == stated["rows"]
    frame = training.assign(day=training["as_of"].dt.normalize())
    hazards = pd.read_parquet(world.truth("hazard.parquet")).sort_values(["customer_id", "day"])
    merged = frame.merge(hazards, on=["customer_id", "day"], how="left")
    assert merged["hazard"].notna().all()
    assert roc_auc_score(merged["churned"], merged["expected_30"]) == pytest.approx(stated["auc_of_expected"], abs=1e-4)
    # The expectation is a probability, not only a rank.
    assert merged["expected_30"].mean() == pytest.approx(merged["churned"].mean(), rel=0.25)


def test_customers_leave_at_their_hazard(world: WorldRef) -> None:
    hazards = pd.read_parquet(world.truth("hazard.parquet"))
    people = pd.read_parquet(world.truth("customers.parquet"))
    expected, left = hazards["hazard"].sum(), people["left_on"].notna().sum()
    spread = np.sqrt((hazards["hazard"] * (1 - hazards["hazard"])).sum())
    assert abs(left - expected) < 4 * spread
    # Also where the hazard is high and where it is low.
    gone = hazards.merge(
        people.dropna(subset="left_on"), left_on=["customer_id", "day"], right_on=["customer_id", "left_on"]
    )
    for low, high in ((0, 0.0005), (0.0005, 0.002), (0.002, 0.01), (0.01, 1)):
        risk = hazards.loc[hazards["hazard"].between(low, high, inclusive="right"), "hazard"].sum()
        count = gone["hazard"].between(low, high, inclusive="right").sum()
        assert abs(count - risk) < 4 * np.sqrt(risk)


def test_a_model_comes_close_to_the_truth(training: pd.DataFrame, truth: dict[str, dict[str, float]]) -> None:
    frame = training
    X = frame[list(FEATURES)].copy()
    for name in X.columns[[not pd.api.types.is_float_dtype(kind) for kind in X.dtypes]]:
        X[name] = X[name].astype("category")
    later = frame["as_of"] > frame["as_of"].unique()[-8]
    with threadpool_limits(1):
        model = HistGradientBoostingClassifier(
            max_iter=80, learning_rate=0.05, max_leaf_nodes=7, min_samples_leaf=60, random_state=0
        ).fit(X[~later], frame.loc[~later, "churned"])
    score = roc_auc_score(frame.loc[later, "churned"], model.predict_proba(X[later])[:, 1])
    assert truth["churn_30_days"]["auc_of_expected"] - 0.04 < score < truth["churn_30_days"]["auc_of_true_path"] + 0.02


def latest_usage(world: WorldRef) -> pd.DataFrame:
    usage = pd.read_parquet(world.table("usage_daily")).sort_values("recorded_at", kind="stable")
    people = pd.read_parquet(world.table("customers"))
    people = people.sort_values("recorded_at").drop_duplicates("customer_id", keep="last")
    usage = usage.drop_duplicates(["customer_id", "day"], keep="last")
    return usage.merge(people[["customer_id", "kind", "region", "country", "signup_date"]], on="customer_id")


def test_weeks_years_and_holidays_are_there(
    world: WorldRef, truth: dict[str, dict[str, dict[str, list[float]]]]
) -> None:
    usage = latest_usage(world)
    usage["log_calls"] = np.log1p(usage["api_calls"])
    usage["log_energy"] = np.log1p(usage["energy_kwh"])
    business = usage[usage["kind"] == "business"].groupby("day")["log_calls"].mean()
    by_weekday = business.groupby(business.index.day_of_week).mean()
    week = truth["seasonality"]["week"]["business"]
    assert by_weekday[1] - by_weekday[6] == pytest.approx(np.log(week[1] / week[6]), abs=0.12)
    # Winter against summer, in the north more than in the south.
    month = usage["day"].dt.month
    winter = usage[month.isin([1, 2])].groupby("region")["log_energy"].mean()
    summer = usage[month.isin([6, 7])].groupby("region")["log_energy"].mean()
    swing = winter - summer
    assert swing["north"] > 0.4
    assert swing["north"] > swing["south"] + 0.2
    # A public holiday on a weekday: German unity, Friday 3 October 2025, against the Fridays around it.
    german = usage[(usage["country"] == "DE") & (usage["kind"] == "business")].groupby("day")["log_calls"].mean()
    around = (german[pd.Timestamp("2025-09-26")] + german[pd.Timestamp("2025-10-10")]) / 2
    assert german[pd.Timestamp("2025-10-03")] - around < -0.35


def test_incidents_are_where_the_truth_says(world: WorldRef) -> None:
    usage = latest_usage(world)
    usage["log_calls"] = np.log1p(usage["api_calls"])
    listed = pd.read_parquet(world.truth("incidents.parquet"))
    assert set(listed["kind"]) == {"outage", "degradation", "traffic_surge", "cold_snap"}
    daily = usage[usage["kind"] != "household"].groupby(["region", "day"])["log_calls"].mean().unstack("region")
    tickets = pd.read_parquet(world.table("tickets")).drop_duplicates("ticket_id")
    opened = tickets.groupby(tickets["opened_at"].dt.normalize()).size()
    quiet = opened.median()
    for one in listed[listed["kind"].isin(["outage", "traffic_surge"])].itertuples():
        where = list(daily.columns) if one.region == "all" else [one.region]
        hit = daily.loc[pd.Timestamp(one.first_day) : pd.Timestamp(one.last_day), where]
        usual = (daily[where].shift(14) + daily[where].shift(-14)).loc[hit.index] / 2
        moved = (hit - usual).to_numpy().mean()
        # One step of each incident is enough to tell; a holiday may lie in the weeks it is compared with.
        assert np.sign(moved) == np.sign(np.log(one.usage))
        assert moved == pytest.approx(np.log(one.usage), abs=0.35)
        if one.kind == "outage" and one.region == "all":
            assert opened[pd.Timestamp(one.first_day)] > 2 * quiet


def test_the_sign_up_elasticity_can_be_recovered_from_the_experiments(big_world: WorldRef) -> None:
    """Poisson regression with fixed effects of plan × region and of the day, on randomised prices only."""
    prices = pd.read_parquet(big_world.table("prices"))
    stated = json.loads(big_world.truth("world.json").read_text())["elasticities"]
    people = pd.read_parquet(big_world.table("customers")).drop_duplicates("customer_id")
    first = pd.read_parquet(big_world.table("subscriptions")).sort_values("event_time").drop_duplicates("customer_id")
    joined = people.merge(first[["customer_id", "plan"]], on="customer_id")
    days = pd.date_range(big_world.start, big_world.end)
    grid = prices.pivot_table(index="valid_from", columns=["plan", "region"], values=["price", "competitor_price"])
    grid = grid.sort_index().ffill().reindex(days, method="ffill")
    counts = joined.groupby(["signup_date", "plan", "region"]).size().unstack(["plan", "region"])
    cells = grid["price"].columns
    y = counts.reindex(index=days, columns=cells).fillna(0).to_numpy()
    x = np.stack([np.log(grid["price"][cells].to_numpy()), np.log(grid["competitor_price"][cells].to_numpy())])
    assert y.sum() > 3000

    # Given the day's total and the cell's total, iterate weights (Poisson likelihood, two-way fixed effects).
    beta = np.zeros(2)
    day, cell = np.zeros((len(days), 1)), np.zeros((1, len(cells)))
    for _ in range(60):
        mean = np.exp(day + cell + np.tensordot(beta, x, 1))
        day = day + np.log(np.maximum(y.sum(1, keepdims=True), 1e-9) / mean.sum(1, keepdims=True))
        mean = np.exp(day + cell + np.tensordot(beta, x, 1))
        cell = cell + np.log(y.sum(0, keepdims=True) / mean.sum(0, keepdims=True))
        mean = np.exp(day + cell + np.tensordot(beta, x, 1))
        centred = x.copy()
        for _ in range(10):
            centred -= (mean * centred).sum(2, keepdims=True) / mean.sum(1)[None, :, None]
            centred -= (mean * centred).sum(1, keepdims=True) / mean.sum(0)[None, None, :]
        information = np.einsum("adc,bdc,dc->ab", centred, centred, mean)
        beta = beta + np.linalg.solve(information, np.einsum("adc,dc->a", centred, y - mean))
    error = np.sqrt(np.diag(np.linalg.inv(information)))
    assert abs(beta[0] - stated["signups_price"]) < 2.6 * error[0]
    assert error[0] < 0.25
    assert abs(beta[1] - stated["signups_competitor_price"]) < 2.6 * error[1]


def test_the_usage_elasticity_can_be_recovered_from_the_experiments(big_world: WorldRef) -> None:
    """Least squares of log usage in the first eight weeks on the log of a price that was dealt at random."""
    cells = pd.read_parquet(big_world.truth("experiments.parquet"))
    stated = json.loads(big_world.truth("world.json").read_text())["elasticities"]["api_calls_price"]
    usage = latest_usage(big_world)
    usage = usage[(usage["signup_date"] >= pd.Timestamp(big_world.start))]
    age = (usage["day"] - usage["signup_date"]).dt.days
    level = np.log(usage[age < 28].groupby("customer_id")["api_calls"].mean().clip(lower=0.5)).rename("level")
    first = pd.read_parquet(big_world.table("subscriptions")).sort_values("event_time").drop_duplicates("customer_id")
    who = usage.drop_duplicates("customer_id").merge(first[["customer_id", "plan", "monthly_price"]], on="customer_id")
    who = who.merge(level, on="customer_id")
    dealt = who.merge(cells, on=["plan", "region"])
    dealt = dealt[dealt["signup_date"].between(dealt["first_day"], dealt["last_day"])]
    group = dealt["plan"] + dealt["region"] + dealt["kind"] + dealt["experiment"]
    x = np.log(dealt["multiplier"])
    kinds = pd.get_dummies(dealt["plan"] + dealt["kind"]).astype(float)
    design = np.column_stack([x, kinds])
    beta, *_ = np.linalg.lstsq(design, dealt["level"], rcond=None)
    residual = dealt["level"] - design @ beta
    error = np.sqrt(residual.var() * np.linalg.inv(design.T @ design)[0, 0])
    assert len(group) > 1500
    assert abs(beta[0] - stated) < 2.6 * error
    assert error < 0.15


def test_corrections_come_late_and_change_something(world: WorldRef) -> None:
    usage = pd.read_parquet(world.table("usage_daily")).sort_values("recorded_at")
    again = usage[usage.duplicated(["customer_id", "day"], keep=False)]
    share = again.duplicated(["customer_id", "day"]).sum() / len(usage)
    assert 0.003 < share < 0.005
    first = again.drop_duplicates(["customer_id", "day"], keep="first").set_index(["customer_id", "day"])
    last = again.drop_duplicates(["customer_id", "day"], keep="last").set_index(["customer_id", "day"]).loc[first.index]
    assert (last["recorded_at"] - first["recorded_at"] > timedelta(days=2)).all()
    assert (last["energy_kwh"] != first["energy_kwh"]).mean() > 0.9


def test_everybody_can_be_told_from_the_file_alone(world: WorldRef, tmp_path: Path) -> None:
    """The truth of a seed does not depend on where it is written or on what lay there before."""
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "stale.parquet").write_bytes(b"")
    again = build(tmp_path, end=world.end)
    for name in ("usage_daily", "subscriptions"):
        assert again.table(name).read_bytes() == world.table(name).read_bytes()
    assert again.truth("world.json").read_bytes() == world.truth("world.json").read_bytes()
    assert not (tmp_path / "tables" / "stale.parquet").exists()
