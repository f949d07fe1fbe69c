"""The bill of the demo world's ledger: forecast, months, budgets, over the API and on the command line."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from cli.main import app
from features.views.spend import daily_cells, end_of_ledger, hourly_cells, panel_of, spent_between
from features.world.llm_calls import LlmTruth
from gateway.account.retention import enforce
from gateway.account.workspaces import Workspaces
from models.spend.bill import bill_of, budget_outlooks, panel_as_of
from store import budgets
from store.budgets import NANOS
from store.errors import EmptyData
from store.settings import Settings
from tests.integration.spend.conftest import END

BY = ("workspace", "model")


def test_frames_of_the_ledger_hold_every_nano(ledger: Settings, truth: LlmTruth) -> None:
    for cells in (daily_cells(ledger, END), hourly_cells(ledger, END, hours=24 * 90)):
        assert round(cells["cost"].sum() * NANOS) == truth.spent
        assert cells["calls"].sum() == truth.calls
    assert round(spent_between(ledger, datetime(2026, 1, 1), END)["cost"].sum() * NANOS) == truth.spent
    half = END.replace(month=10, day=12, hour=13)
    assert hourly_cells(ledger, half, hours=48)["hour"].between("2026-10-10 13:00", "2026-10-12 12:00").all()
    alone = daily_cells(ledger, END, workspace="support")
    assert set(alone["workspace"]) == {"support"}


def test_what_was_seen_at_a_moment_is_seen_again_later(ledger: Settings, truth: LlmTruth) -> None:
    moment = datetime(2026, 10, 10, 9, 30)
    earlier = daily_cells(ledger, moment)
    whole = daily_cells(ledger, END)
    assert earlier["day"].max() == pd.Timestamp("2026-10-09")
    pd.testing.assert_frame_equal(earlier, whole[whole["day"] < "2026-10-10"].reset_index(drop=True))


def test_the_ledger_ends_where_nobody_calls_any_more(ledger: Settings, truth: LlmTruth, settings: Settings) -> None:
    assert end_of_ledger(ledger) == END
    assert end_of_ledger(ledger, datetime(2026, 9, 1)) == datetime(2026, 9, 1)
    with pytest.raises(EmptyData, match="no call"):
        end_of_ledger(settings)


def test_the_last_fortnight_lies_within_what_was_forecast_for_it(ledger: Settings, truth: LlmTruth) -> None:
    as_of = END - timedelta(days=14)
    bill = bill_of(ledger, as_of, 90)
    came = panel_of(daily_cells(ledger, END), END, BY)
    joined = bill.outlook.forecast(bill.outlook.model.ids, 14).merge(came, on=["unique_id", "ds"])
    inside = (joined["y"] >= joined["lo-80"]) & (joined["y"] <= joined["hi-80"])
    assert 0.7 <= inside.mean() <= 0.95
    total = joined[joined["unique_id"] == "total"]
    assert abs(total["y"] - total["forecast"]).sum() < 0.25 * total["y"].sum()
    assert any("engineering is set aside" in note for note in bill.outlook.notes)
    # The month's projection holds what was spent, and its interval what came.
    (october, *_) = bill.months("total", 90)
    spent = spent_between(ledger, datetime(2026, 10, 1), as_of)["cost"].sum()
    assert october.spent == pytest.approx(spent)
    assert october.low < spent_between(ledger, datetime(2026, 10, 1), END)["cost"].sum() < october.high


def test_sums_by_day_that_retention_left_are_forecast_alike(own_ledger: Settings) -> None:
    before, _ = panel_as_of(own_ledger, END)
    workspaces = Workspaces(own_ledger)
    workspaces.refresh()
    for name in workspaces.every():
        workspaces.change(name, {"calls_days": 30})
    assert enforce(own_ledger, END)["calls"] > 1000
    after, _ = panel_as_of(own_ledger, END)
    pd.testing.assert_frame_equal(before, after)


def test_budgets_of_every_scope_are_headed_somewhere(own_ledger: Settings) -> None:
    made = {
        scope: budgets.create(own_ledger, scope=scope, subject=subject, amount=round(amount * NANOS), period=period)
        for scope, subject, amount, period in (
            ("workspace", "support", 0.5, "month"),
            ("organisation", "merit-energy", 50.0, "month"),
            ("provider", "simulated", 0.05, "day"),
            ("user", "", 0.5, "day"),
            ("project", "portal", 0.01, "month"),
            ("key", "", 10.0, "month"),
            ("request", "", 1.0, "request"),
        )
    }
    bill = bill_of(own_ledger, datetime(2026, 10, 20, 12), 60)
    found = budget_outlooks(own_ledger, bill, 60)
    of = {one.budget.scope: one for one in reversed(found)}
    assert set(of) == set(made) - {"request"}
    assert of["workspace"].probability > 0.9
    assert of["organisation"].probability == 0.0
    assert of["provider"].by[95] is not None
    assert of["project"].summary.endswith("used up.")
    assert any(one.subject == "key=support-app" for one in found)
    assert all(one.subject.startswith("user=") and "/" in one.subject for one in found if one.budget.scope == "user")
    probabilities = [one.probability for one in found]
    assert probabilities == sorted(probabilities, reverse=True)
    own = budget_outlooks(own_ledger, bill_of(own_ledger, END, 60, workspace="support"), 60, workspace="support")
    assert {one.subject for one in own} == {"workspace=support"}


def test_over_the_api(api: TestClient, own_ledger: Settings) -> None:
    budgets.create(own_ledger, scope="workspace", subject="support", amount=NANOS // 2, period="month")
    told = api.get("/v1/costs/forecast", params={"horizon": 61, "by": "workspace", "level": 95}).json()
    assert told["as_of"].startswith("2026-11-01T00:00:00")
    assert told["model"] == "worked out now"
    names = [one["series"] for one in told["series"]]
    assert names == sorted(names)
    assert "workspace=support" in names
    assert all(len(one["days"]) == 61 for one in told["series"])
    assert [month["month"] for month in told["series"][0]["months"]] == ["2026-11", "2026-12"]
    total = api.get("/v1/costs/forecast", params={"horizon": 61}).json()["series"][0]
    assert total["expected"] == pytest.approx(sum(one["expected"] for one in told["series"]))
    one = api.get("/v1/costs/forecast", params={"workspace": "support", "by": "model"}).json()
    assert all(row["series"].startswith("model=") for row in one["series"])
    (crossing,) = api.get("/v1/costs/crossings").json()["budgets"]
    assert crossing["subject"] == "workspace=support"
    assert crossing["probability"] > 0.5
    advice = api.get("/v1/costs/budgets").json()
    verdicts = {row["subject"]: row["verdict"] for row in advice["months"]}
    assert verdicts["workspace=support"] == "tight"
    assert advice["users"]["hits"][0]["user"] == "engineering-user-07"


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("/v1/costs/forecast?horizon=0", 422, "horizon"),
        ("/v1/costs/forecast?by=user", 422, "by"),
        ("/v1/costs/forecast?level=100", 422, "level"),
        ("/v1/costs/forecast?workspace=nobody", 422, "as_of"),
        ("/v1/costs/crossings?horizon=400", 422, "horizon"),
        ("/v1/costs/forecast?as_of=2020-01-01T00:00:00", 422, "as_of"),
    ],
)
def test_what_cannot_be_told_is_a_problem_that_names_the_field(
    api: TestClient, path: str, status: int, field: str
) -> None:
    answer = api.get(path)
    assert answer.status_code == status
    problem = answer.json()
    named = problem.get("field") or problem["errors"][0]["field"]
    assert field in str(named)


def merit(settings: Settings, *arguments: str) -> str:
    """What the command prints, run in this process."""
    done = CliRunner().invoke(app, list(arguments), env={"MERIT_HOME": str(settings.root), "COLUMNS": "140"})
    assert done.exit_code == 0, done.output
    return done.stdout


def test_on_the_command_line(ledger: Settings, truth: LlmTruth, tmp_path: Path) -> None:
    picture, days = tmp_path / "bill.png", tmp_path / "days.csv"
    told = merit(ledger, "spend", "forecast", "--by", "workspace", "--plot", str(picture), "--out", str(days))
    assert "workspace=support" in told
    assert picture.read_bytes()[:4] == b"\x89PNG"
    written = pd.read_csv(days)
    assert np.isfinite(written["forecast"]).all()
    found = json.loads(merit(ledger, "spend", "budgets", "--json"))
    assert found["users"]["hits"][0]["user"] == "engineering-user-07"
    assert json.loads(merit(ledger, "spend", "crossings", "--json"))["budgets"] == []
