"""Reasons: contributions that add up, phrases in the data's own units, importance with intervals."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.tabular import Column
from features.views.churn_features import FEATURES
from models.churn.family import ChurnFamily, ChurnModel
from models.churn.linear import LinearBasis
from models.churn.reasons.contributions import contributions
from models.churn.reasons.explanation import explain
from models.churn.reasons.importance import importance
from models.churn.reasons.vocabulary import terms
from models.churn.reasons.words import phrase

MEMBERS = ("prevalence", "logistic", "catboost", "lightgbm", "xgboost", "blend")
CAUSAL = ("because", "caus", "due to", "leads to", "makes")


@pytest.mark.parametrize("name", MEMBERS)
def test_contributions_add_up_to_the_log_odds_before_calibration(
    models: dict[str, ChurnModel], customers: pd.DataFrame, name: str
) -> None:
    model = models[name]
    found = contributions(model, customers)
    said = model.log_odds(model.encoder.matrix(customers))
    # XGBoost counts in float32.
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), said, atol=5e-5)
    assert found.values.shape == (len(customers), len(model.columns))
    if name != "prevalence":
        assert np.ptp(said) > 0.5


def test_sums_codes_flags_and_holes_are_mapped_back_to_their_columns(
    own_model: tuple[ChurnModel, pd.DataFrame],
) -> None:
    model, frame = own_model
    assert model.encoder.sums
    assert model.encoder.native
    found = contributions(model, frame)
    said = model.log_odds(model.encoder.matrix(frame))
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), said, atol=1e-9)
    strongest = np.abs(found.values).mean(axis=0)
    assert {model.columns[i] for i in np.argsort(-strongest)[:4]} >= {"Contract", "total_day_charge"}


def test_a_rows_contributions_do_not_depend_on_its_batch(blend: ChurnModel, customers: pd.DataFrame) -> None:
    whole = contributions(blend, customers).values
    np.testing.assert_array_equal(contributions(blend, customers.iloc[[5]]).values[0], whole[5])
    np.testing.assert_array_equal(contributions(blend, customers.iloc[::-1]).values[::-1], whole)
    assert contributions(blend, customers.iloc[:0]).values.shape == (0, len(blend.columns))
    assert explain(blend, customers.iloc[:0]) == []


def test_contributions_survive_saving_and_models_of_the_first_release_still_add_up(
    models: dict[str, ChurnModel], customers: pd.DataFrame, tmp_path: Path
) -> None:
    model = models["logistic"]
    model.save(tmp_path / "m")
    loaded = ChurnFamily().load(tmp_path / "m")
    np.testing.assert_array_equal(contributions(loaded, customers).values, contributions(model, customers).values)
    contract = json.loads((tmp_path / "m" / "contract.json").read_text())
    del contract["members"]["logistic"]["basis"]["mean"]
    (tmp_path / "m" / "contract.json").write_text(json.dumps(contract))
    old = ChurnFamily().load(tmp_path / "m")
    found = contributions(old, customers)
    np.testing.assert_allclose(
        found.base + found.values.sum(axis=1), old.log_odds(old.encoder.matrix(customers)), atol=1e-9
    )
    assert isinstance(old.members[0].basis, LinearBasis)  # type: ignore[attr-defined]


def test_reasons_are_ranked_signed_and_told_once_per_topic(blend: ChurnModel, customers: pd.DataFrame) -> None:
    found = explain(blend, customers.head(200), top=3)
    for one in found:
        assert len(one.raises) <= 3
        assert len(one.lowers) <= 3
        up, down = [r.effect for r in one.raises], [r.effect for r in one.lowers]
        assert up == sorted(up, reverse=True)
        assert down == sorted(down)
        assert all(effect > 0 for effect in up)
        assert all(effect < 0 for effect in down)
        topics = [r.column.split("_")[0] for r in (*one.raises, *one.lowers)]
        assert len([topic for topic in topics if topic in ("tickets", "api")]) <= 2
        for reason in (*one.raises, *one.lowers):
            assert not any(word in reason.text for word in CAUSAL)
            assert "nan" not in reason.text
            assert json.dumps(reason.to_dict(), allow_nan=False)
    assert 0 < found[0].usual_probability < 1


def test_who_opens_tickets_is_told_so(blend: ChurnModel, customers: pd.DataFrame) -> None:
    one = customers.head(1).assign(tickets_30d=4.0, tickets_90d=4.0)
    texts = [reason.text for reason in explain(blend, one)[0].raises]
    assert texts[0] == "support tickets up from 0 to 4 in 30 days"


def test_a_table_of_ones_own_is_told_in_its_own_words(own_model: tuple[ChurnModel, pd.DataFrame]) -> None:
    model, frame = own_model
    one = frame.head(1).assign(Contract="Two year", monthly_price=np.nan)
    texts = [reason.text for reason in explain(model, one, top=7)[0].lowers]
    assert "Contract is Two year (usual: Month-to-month)" in texts
    told = [r.text for row in explain(model, frame.head(80), top=7) for r in (*row.raises, *row.lowers)]
    assert not any("EUR" in text for text in told)  # whatever currency it is in, nobody said


ALL = tuple(FEATURES)
LATE = {"late_invoices_365d": 2.0}
CASES: tuple[tuple[str, Any, Any, dict[str, float], str], ...] = (
    ("tickets_30d", 4.0, 0.0, {"tickets_90d": 4.0}, "support tickets up from 0 to 4 in 30 days"),
    ("tickets_30d", 0.0, 0.0, {"tickets_90d": 6.0}, "support tickets down from 3 to 0 in 30 days"),
    ("tickets_30d", 1.0, 0.0, {"tickets_90d": 3.0}, "1 support ticket in 30 days (usual: 0)"),
    ("tickets_90d", 6.0, 1.0, {}, "6 support tickets in 90 days (usual: 1)"),
    ("api_calls_7d", 40.0, 100.0, {"api_calls_28d": 100.0}, "API calls down from 120 to 40 a day in 7 days"),
    ("api_calls_trend_28d", math.log(0.5), 0.0, {}, "API calls down 50 % over 28 days against the time before"),
    ("api_calls_trend_28d", 9.0, 0.0, {}, "API calls up more than tenfold over 28 days against the time before"),
    ("api_calls_trend_28d", 0.01, 0.0, {}, "API calls steady over 28 days"),
    ("price_change_90d", 0.08, 0.0, {}, "price up 8 % in 90 days"),
    ("price_change_90d", 0.0, 0.0, {}, "price unchanged in 90 days"),
    ("competitor_gap", 0.12, -0.03, {}, "pays 12 % above the competitors' price (usual: 3 % below)"),
    ("tenure_days", 45.0, 800.0, {}, "customer for 45 days (usual: 2.2 years)"),
    ("days_to_contract_end", 12.0, 150.0, {}, "contract ends or renews in 12 days (usual: 5 months)"),
    ("monthly_price", 49.0, 120.5, {}, "monthly price is EUR 49 (usual: EUR 120)"),
    ("idle_days_28d", 0.5, 0.1, {}, "no active user on 50 % of the last 28 days (usual: 10 %)"),
    ("satisfaction_90d", math.nan, 4.0, {}, "mean rating of support tickets in 90 days is not known (usual: 4)"),
    ("late_invoices_90d", 0.0, 0.0, LATE, "invoices overdue down: 0 in 90 days, 2 in the 275 before"),
    ("late_invoices_90d", 1.0, 0.0, LATE, "invoices overdue up: 1 in 90 days, 1 in the 275 before"),
    ("logins_trend_28d", math.log(3), 0.0, {}, "logins up 200 % over 28 days against the time before"),
    ("energy_kwh_28d", 86.1, 46.94, {}, "86.1 kWh of energy a day in 28 days (usual: 46.9)"),
    ("energy_kwh_trend_28d", math.nan, 0.0, {}, "the way energy goes is not known"),
    ("list_gap", -0.05, 0.0, {}, "pays 5 % below the list price (usual: about it)"),
    ("storage_gb", 1394.2, None, {}, "storage in GB is 1,394"),
)  # fmt: skip


@pytest.mark.parametrize(("name", "value", "usual", "others", "expected"), CASES, ids=lambda value: str(value)[:30])
def test_phrases(name: str, value: Any, usual: Any, others: dict[str, float], expected: str) -> None:
    term = terms(ALL)[name]
    assert phrase(Column(name, "number"), term, value, usual, {name: value, **others}) == expected


@pytest.mark.parametrize("name", ALL)
def test_every_feature_can_be_told_whatever_its_value(name: str) -> None:
    term = terms(ALL)[name]
    kind = "category" if FEATURES[name][0] == "" else "number"
    values: tuple[Any, ...] = ("x" * 500, None, "Größe") if kind == "category" else (0.0, -3.2, 1e9, 1e-9, math.nan)
    for value in values:
        for usual in (None, values[0]):
            text = phrase(Column(name, kind), term, value, usual, dict.fromkeys(ALL, 2.0))  # type: ignore[arg-type]
            assert 3 < len(text) < 250
            assert "nan" not in text


def test_importance_ranks_what_matters_with_intervals(blend: ChurnModel, customers: pd.DataFrame) -> None:
    found = importance(blend, customers, customers["customer_id"].to_numpy())
    assert [one.value for one in found] == sorted((one.value for one in found), reverse=True)
    assert {found[0].column, found[1].column, found[2].column} & {"tickets_30d", "api_calls_trend_28d"}
    assert sum(one.share for one in found) == pytest.approx(1)
    for one in found:
        assert one.low <= one.value <= one.high
        assert one.meaning == FEATURES[one.column][1]
    expected = np.abs(contributions(blend, customers).values).mean(axis=0)
    assert {one.column: one.value for one in found} == pytest.approx(dict(zip(blend.columns, expected, strict=True)))
    # Each row twice under one key is no more evidence than once.
    twice = pd.concat([customers, customers])
    same = importance(blend, twice, twice["customer_id"].to_numpy())
    assert same[0].high - same[0].low == pytest.approx(found[0].high - found[0].low, rel=0.2)


def test_score_is_ready_to_be_written_down(blend: ChurnModel, customers: pd.DataFrame) -> None:
    rows = customers.set_index("customer_id").drop(columns="churned").head(120)
    rows.loc[rows.index[3], "monthly_price"] = np.nan
    found = ChurnFamily().score(blend, rows)
    assert found.index.equals(rows.index)
    assert list(found["value"]) == list(blend.predict(rows))
    assert list(found["label"]) == [blend.band(p) for p in found["value"]]
    assert set(found["decision"]) <= {"offer", "no_offer"}
    json.dumps(found.to_dict("records"), allow_nan=False)
    assert found["revenue_at_risk"].iloc[3] is None
    assert found["revenue_at_risk"].iloc[4] == pytest.approx(found["value"].iloc[4] * found["value_if_kept"].iloc[4])
    assert all(len(reasons) <= 3 for reasons in found["reasons"])
    pd.testing.assert_frame_equal(ChurnFamily().score(blend, rows.iloc[40:50]), found.iloc[40:50])
