"""A look at a champion as a flow run: nothing new, all well, drifted, worse, rolled back."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from prefect import flow
from typer.testing import CliRunner

import models.families as families
from cli.main import app
from features.bulk_insert import insert_rows
from features.contracts import CONTRACTS
from features.contracts.schema import arrow_schema
from features.stored_rows import sql_table
from flows import monitor as module
from flows.lifecycle import Trained, finished, name_of_run, train_family
from flows.run import FLOWS, run_flow
from models.families import Spec
from models.monitoring import watch
from models.monitoring.policy import MonitorPolicy
from store import events, monitor_reports
from store.database import engine
from store.dataset import SnapshotRef
from store.errors import InvalidValue, NoChampion, UnknownModel
from store.promotions import history, promote
from store.registry import Registry
from store.settings import Settings

from .conftest import END, EnergyFamily, EnergyModel, load_usage

CUSTOMERS = 60


class WatchedFamily(EnergyFamily):
    """The energy family with something to drift: the mean of the last two weeks."""

    def online(self, snapshot: SnapshotRef) -> pd.DataFrame | None:
        usage = pd.read_parquet(snapshot.table("usage_daily"))
        recent = usage[usage["day"] > usage["day"].max() - timedelta(days=14)]
        means = recent.groupby("customer_id")[["energy_kwh", "active_users"]].mean()
        customers = pd.read_parquet(snapshot.table("customers")).drop_duplicates("customer_id", keep="last")
        return means.join(customers.set_index("customer_id")["region"])


@flow(name="train-energy", flow_run_name=name_of_run)
def train_energy(name: str = "energy", as_of: datetime | None = None, only: list[str] | None = None) -> Trained:
    """Train it."""
    return finished(train_family(Spec("energy", name, {"only": only or ["overall", "region"]}), as_of))


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {**families.FAMILIES, "energy": ("watched_family_of_tests", "WatchedFamily", "EnergyOptions")}
    monkeypatch.setattr(families, "FAMILIES", known)
    monkeypatch.setattr(module, "FAMILIES", known)
    here = sys.modules[__name__]
    monkeypatch.setattr(here, "EnergyOptions", sys.modules[EnergyFamily.__module__].EnergyOptions, raising=False)
    monkeypatch.setitem(sys.modules, "watched_family_of_tests", here)
    monkeypatch.setitem(FLOWS, "train-energy", ("watched_family_of_tests", "train_energy"))  # type: ignore[arg-type]


def load_more(settings: Settings, begin: datetime, days: int, *, level: float = 20.0, effect: float = 3.0) -> datetime:
    """More days of usage from `begin` on; returns the moment after them."""
    rng = np.random.default_rng(int(begin.timestamp()))
    grid = pd.MultiIndex.from_product([range(CUSTOMERS), range(days)], names=["who", "when"]).to_frame(index=False)
    day = pd.Timestamp(begin) + pd.to_timedelta(grid["when"], unit="D")
    usage = pd.DataFrame(
        {
            "customer_id": [f"C{who:03}" for who in grid["who"]],
            "day": day,
            "api_calls": 5,
            "storage_gb": 1.0,
            "compute_hours": 0.5,
            "energy_kwh": level + effect * (grid["who"] % 3) + rng.normal(0, 1, len(grid)),
            "active_users": 2,
            "event_time": day + timedelta(days=1),
            "recorded_at": day + timedelta(days=1),
        }
    )
    contract = CONTRACTS["usage_daily"]
    schema = arrow_schema(contract)
    with engine(settings).begin() as connection:
        rows = pa.Table.from_pandas(usage[schema.names], schema=schema, preserve_index=False)
        insert_rows(connection, sql_table(contract), rows)
    return begin + timedelta(days=days)


def look(settings: Settings, **parameters: Any) -> dict[str, Any]:
    (report,) = run_flow(settings, "monitor", {"name": "energy", **parameters})
    return dict(report)


@pytest.mark.usefixtures("watched")
def test_a_champion_is_looked_at_as_time_goes_by(flow_settings: Settings) -> None:
    load_usage(flow_settings, customers=CUSTOMERS)
    with pytest.raises(UnknownModel, match="'energy'"):
        look(flow_settings)
    assert run_flow(flow_settings, "monitor") == []
    run_flow(flow_settings, "train-energy", {"as_of": END})
    fresh = look(flow_settings, as_of=END)
    assert (fresh["verdict"], fresh["version"], fresh["retrain"]) == ("no_news", 1, False)
    assert "It learned from what was known on 2026-03-01 00:00" in fresh["notes"][0]

    later = load_more(flow_settings, END, 14)
    # Without a name, whatever has a champion.
    (calm,) = run_flow(flow_settings, "monitor", {"as_of": later})
    assert calm["verdict"] == "ok", calm["headline"]
    assert {feature["feature"] for feature in calm["features"]} == {"energy_kwh", "active_users", "region"}
    arrived = calm["truths"][0]
    assert (arrived["rows"], arrived["groups"]) == (14 * CUSTOMERS, CUSTOMERS)
    assert arrived["metrics"][0]["promised"]["value"] == pytest.approx(1.0, abs=0.2)
    assert events.recent(flow_settings, "drift") == []

    end = load_more(flow_settings, later, 21, level=26.0)
    seen: list[str] = []
    (found,) = run_flow(
        flow_settings, "monitor", {"name": "energy", "as_of": end}, progress=lambda label, *_: seen.append(label)
    )
    assert "compare the features" in seen
    assert found["verdict"] == "worse"
    assert [(alarm["kind"], alarm["about"]) for alarm in found["alarms"]] == [
        ("performance", "squared_error"),
        ("drift", "energy_kwh"),
    ]
    assert found["retrain"]
    (drift,) = events.recent(flow_settings, "drift")
    assert (drift.payload["model"], drift.payload["version"], drift.payload["features"]) == ("energy", 1, 1)
    assert len(events.recent(flow_settings, "performance")) == 1
    kept = monitor_reports.page(flow_settings, "energy").items
    assert [record.verdict for record in kept] == ["worse", "ok", "no_news"]
    assert kept[0].report["truths"] == found["truths"]
    assert monitor_reports.get(flow_settings, drift.payload["report"]) == kept[0]
    pages = [path.read_text() for path in (flow_settings.root / "artifacts").rglob("monitor.html")]
    assert len(pages) == 3
    assert all("http" not in page for page in pages)
    assert any("energy_kwh" in page and "Worse than promised" in page for page in pages)

    # The same again within a few days is not told again.
    again = look(flow_settings, as_of=end)
    assert (again["verdict"], again["repeated"], again["retrain"]) == ("worse", True, False)
    assert len(events.recent(flow_settings, "drift")) == 1


@pytest.mark.usefixtures("watched")
def test_a_champion_worse_than_its_predecessor_is_rolled_back_once(flow_settings: Settings) -> None:
    load_usage(flow_settings, customers=CUSTOMERS)
    for _ in range(2):
        run_flow(flow_settings, "train-energy", {"as_of": END})
    registry = Registry(flow_settings)
    # Somebody promotes what knows nothing of regions.
    folder = flow_settings.root / "worse"
    folder.mkdir()
    model = EnergyModel("overall", 9.0, {"": 23.0})
    model.save(folder)
    tags = {"family": "energy", "as_of": END.isoformat()}
    with registry.run("energy", "by hand") as run:
        worse = registry.register("energy", folder, run.id, model.signature(), tags)
    promote(flow_settings, registry, "energy", worse, expected=1, actor="ada", reason="by hand")
    end = load_more(flow_settings, END, 10)

    found = look(flow_settings, as_of=end)
    assert found["verdict"] == "rolled_back", found["headline"]
    assert found["rollback"]["to"] == 1
    assert "on the same 600 arrived outcomes" in found["guards"][0]["broken"]
    assert registry.alias("energy", "champion") == 1
    line = history(flow_settings, "energy")[-1]
    assert (line.kind, line.state, line.from_version, line.to_version, line.actor) == (
        "rollback",
        "done",
        worse,
        1,
        "guard",
    )
    assert len(events.recent(flow_settings, "rollback")) == 1

    # Back where it was, nobody is rolled back any more.
    again = look(flow_settings, as_of=end)
    assert (again["version"], again["verdict"], again["guards"]) == (1, "ok", [])
    assert "by a rollback, not by a promotion" in " ".join(again["notes"])
    lines = len(history(flow_settings, "energy"))

    # A look that comes late changes nothing: the champion is another by now.
    spec = Spec("energy", "energy", {"only": ("overall", "region")})
    promote(flow_settings, registry, "energy", worse, expected=1, actor="ada", reason="again")
    late = watch.look(flow_settings, "energy", flow_settings.root / "look", as_of=end, spec_of=lambda *_: spec)
    assert late.guards[0].broken
    promote(flow_settings, registry, "energy", 2, expected=worse, actor="ada", reason="newer")
    after = watch.act(flow_settings, late)
    assert after.rollback is not None
    assert not after.rollback["done"]
    assert "is version 2, not version 3" in after.rollback["problem"]
    assert registry.alias("energy", "champion") == 2
    assert after.verdict == "worse"
    assert len(history(flow_settings, "energy")) == lines + 3

    # Nor is one that was promoted long ago rolled back.
    promote(flow_settings, registry, "energy", worse, expected=2, actor="ada", reason="and again")
    old = look(flow_settings, as_of=end, thresholds={"watch_days": 0})
    assert old["guards"] == []
    assert registry.alias("energy", "champion") == worse

    # One that had learned for longer knows what came: it is no judge of a champion that had not.
    tags["as_of"] = (END - timedelta(days=20)).isoformat()
    with registry.run("energy", "earlier") as run:
        earlier = registry.register("energy", folder, run.id, model.signature(), tags)
    promote(flow_settings, registry, "energy", earlier, expected=worse, actor="ada", reason="of old")
    unequal = watch.look(flow_settings, "energy", flow_settings.root / "unequal", as_of=end, spec_of=lambda *_: spec)
    assert "it may know these outcomes" in unequal.guards[0].problem
    assert unequal.guards[0].test is None


def test_thresholds_are_known_and_within_their_ranges() -> None:
    with pytest.raises(InvalidValue, match="no threshold 'phi'"):
        module.policy_of({"phi": 1.0})
    with pytest.raises(InvalidValue, match="psi = -1"):
        module.policy_of({"psi": -1.0})
    with pytest.raises(InvalidValue, match=r"bins = 2\.5 is no whole number"):
        module.policy_of({"bins": 2.5})
    assert module.policy_of({"watch_days": 3.0}) == MonitorPolicy(watch_days=3)


def test_the_training_that_is_asked_for_is_the_champions_own(
    flow_settings: Settings, watched: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    load_usage(flow_settings, customers=CUSTOMERS)
    run_flow(flow_settings, "train-energy", {"as_of": END, "only": ["overall", "region", "shrunk"]})
    found = watch.look(
        flow_settings, "energy", flow_settings.root / "look", as_of=END, spec_of=module.spec_maker(flow_settings)
    )
    given = module.training_parameters(flow_settings, found, None)
    assert given == {"name": "energy", "as_of": None, "only": ["overall", "region", "shrunk"]}
    moment = END + timedelta(days=3)
    assert module.training_parameters(flow_settings, found, moment)["as_of"] == "2026-03-04T00:00:00"

    # The same at the prompt, on the same server.
    monkeypatch.setenv("MERIT_HOME", str(flow_settings.home))
    monkeypatch.setenv("MERIT_PREFECT_API_URL", str(flow_settings.prefect_api_url))
    wanted = tmp_path / "look.html"
    shown = CliRunner().invoke(app, ["monitor", "energy", "--as-of", "2026-03-01", "--report", str(wanted)])
    assert shown.exit_code == 0, shown.output
    assert "energy v1 nothing new" in shown.output
    assert "<h1>energy v1</h1>" in wanted.read_text()
    for arguments in (["--report", str(wanted)], ["energy", "--report", "x.pdf"], ["energy", "--threshold", "psi"]):
        assert isinstance(CliRunner().invoke(app, ["monitor", *arguments]).exception, InvalidValue)
    Registry(flow_settings).delete_alias("energy", "champion")
    with pytest.raises(NoChampion, match="no champion to look at"):
        look(flow_settings)
