"""Implemented prices measured by the platform's own sign-ups: only days at that price count, and each price once."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from features.bulk_insert import insert_rows
from features.contracts import CONTRACTS
from features.contracts.schema import arrow_schema
from features.stored_rows import sql_table
from flows.run import run_flow
from models.pricing.advice import Elasticity, Question, plain
from models.pricing.encoding import Encoder
from models.pricing.market import WEEKS_AHEAD, WEEKS_BACK, Cell, Market
from models.pricing.members import Demand, Noise
from models.pricing.model import PricingModel
from store import recommendations as stored
from store.database import engine, migrate
from store.recommendations import Recommendation
from store.registry import Registry
from store.settings import Settings

LEARNED = date(2026, 1, 1)
RISE, TRIAL = pd.Timestamp("2026-02-01"), pd.Timestamp("2026-02-21")
AS_OF = pd.Timestamp("2026-03-01")
# Of demand models nothing is asked here: elasticities and the market are given.
NOWHERE = Encoder((), (), rival=False, gap={}, first=0.0, last=0.0, seasonal=False, weekly=False)
A_DAY = {"north": 4, "south": 2}


def pricing_model() -> PricingModel:
    """Basic at 10 in the north and 12 in the south, elasticity −1.5; six sign-ups a day."""
    weeks = WEEKS_BACK + WEEKS_AHEAD
    cells = tuple(
        Cell("basic", region, price, None, None, 0.8 * price, 1.2 * price, np.full(weeks, float(A_DAY[region])))
        for region, price in (("north", 10.0), ("south", 12.0))
    )
    known = [
        Elasticity("basic", region, "own", -1.5, -1.8, -1.2, 0.18, 0.9, "double_ml", 100, 5, identified=True)
        for region in (None, "north", "south")
    ]
    return PricingModel("mean", 1.0, Demand(NOWHERE, (), (), Noise()), tuple(known), Market(cells, LEARNED, 1.0, 0.05))


def insert(settings: Settings, table: str, frame: pd.DataFrame) -> None:
    schema = arrow_schema(CONTRACTS[table])
    with engine(settings).begin() as connection:
        rows = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)
        insert_rows(connection, sql_table(CONTRACTS[table]), rows)


def load_business(settings: Settings) -> None:
    """Sign-ups from January on; both prices a tenth higher from RISE on, and a trial price in the north from TRIAL."""
    migrate(settings)
    days = pd.date_range("2026-01-01", AS_OF - pd.Timedelta(days=1), freq="D")
    who = pd.DataFrame([(day, region) for day in days for region in A_DAY for _ in range(A_DAY[region])])
    people = who.set_axis(["signup_date", "region"], axis=1)
    people["customer_id"] = [f"C{number:05d}" for number in range(len(people))]
    people = people.assign(kind="business", channel="web", employees=10, country="DE")
    people["event_time"] = people["recorded_at"] = people["signup_date"]
    insert(settings, "customers", people)
    states = people[["customer_id", "event_time", "recorded_at"]].assign(
        subscription_id=people["customer_id"],
        plan="basic",
        status="active",
        monthly_price=10.0,
        contract_months=12,
        started_on=people["signup_date"],
        ended_on=pd.NaT,
        reason=None,
    )
    insert(settings, "subscriptions", states)
    steps = [
        ("north", days[0], 10.0),
        ("south", days[0], 12.0),
        ("north", RISE, 11.0),
        ("south", RISE, 13.2),
        ("north", TRIAL, 9.0),
    ]
    prices = pd.DataFrame(steps, columns=["region", "valid_from", "price"]).assign(
        plan="basic", competitor_price=11.0, experiment=None
    )
    prices["event_time"] = prices["recorded_at"] = prices["valid_from"]
    insert(settings, "prices", prices)


@pytest.fixture
def business(flow_settings: Settings, tmp_path: Path) -> Settings:
    """The tables, and the model in the registry."""
    load_business(flow_settings)
    pricing_model().save(tmp_path / "model")
    registry = Registry(flow_settings)
    with registry.run("pricing", "by hand", {}) as run:
        registry.register("pricing", tmp_path / "model", run.id, pricing_model().signature(), {"family": "pricing"})
    return flow_settings


def implemented(settings: Settings, segment: str | None, price: float, day: date) -> str:
    question = Question("basic", segment, horizon_days=28)
    said: dict[str, Any] = plain(pricing_model().advise(question))
    made = Recommendation(
        model="pricing",
        version=1,
        product="basic",
        segment=segment,
        state="proposed",
        request=said.pop("question"),
        advice=said,
    )
    stored.create(settings, [made])
    stored.implement(settings, made.id, price=price, at=day)
    return made.id


def test_implemented_prices_are_measured_once_by_the_days_at_that_price(business: Settings) -> None:
    south = implemented(business, "south", 13.2, RISE.date())
    north = implemented(business, "north", 11.0, RISE.date())
    elsewhere = implemented(business, "south", 14.0, RISE.date())
    # A mean of 11 weighted by 2 : 1 sign-ups is a rise by a tenth of both.
    together = stored.get(business, implemented(business, None, 1.1 * 32 / 3, RISE.date()))
    parameters = {"as_of": AS_OF.to_pydatetime()}
    found = {one["id"]: one for one in run_flow(business, "measure-prices", parameters)}
    assert (found[south]["days"], found[south]["note"]) == (28, "")
    # The trial price holds from the 21st on: 20 days are too few, and it says so.
    assert (found[north]["days"], found[north]["verdict"]) == (20, "")
    assert found[north]["note"] == "the tables know 20 of 28 days at 11 from 2026-02-01"
    assert (found[elsewhere]["days"], found[elsewhere]["verdict"]) == (0, "")
    assert found[together.id]["days"] == 20
    outcome = stored.get(business, south)
    assert outcome.state == "measured"
    kept = dict(outcome.measured or {})
    assert (kept["quantity"], kept["first_day"], kept["last_day"]) == (56.0, "2026-02-01", "2026-02-28")
    assert kept["revenue"] == pytest.approx(56 * 13.2)
    assert kept["expected_revenue"]["value"] == pytest.approx(28 * 2 * 1.1**-1.5 * 13.2, rel=0.01)
    assert kept["gained_revenue"]["value"] == pytest.approx(56 * 13.2 - 56 * 12.0, rel=0.01)
    again = run_flow(business, "measure-prices", {**parameters, "days": 20})
    assert {one["id"]: one["verdict"] != "" for one in again} == {north: True, elsewhere: False, together.id: True}
    assert stored.get(business, south) == outcome
    assert (stored.get(business, together.id).measured or {})["quantity"] == 120.0
    one_more_day = {"days": 1, "as_of": (RISE + timedelta(days=1)).to_pydatetime()}
    (left,) = run_flow(business, "measure-prices", one_more_day)
    assert left["id"] == elsewhere
