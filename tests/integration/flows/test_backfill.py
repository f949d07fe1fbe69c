"""Backfill: a range of dates, each trained once."""

from __future__ import annotations

from datetime import date, datetime

import pytest
import sqlalchemy as sa

import flows.backfill as module
from flows.run import run_flow
from models.families import Spec
from store import feature_rows
from store.database import session
from store.errors import InvalidValue, UnknownEntity
from store.promotions import history, promote
from store.registry import Registry
from store.settings import Settings
from store.tables.platform import FeatureRow

from .conftest import EnergyFamily, load_usage


@pytest.fixture(autouse=True)
def known(energy: type[EnergyFamily], monkeypatch: pytest.MonkeyPatch) -> None:
    """The small family in place of the forecasts."""
    monkeypatch.setattr(module, "forecasting_spec", lambda _settings, name, **options: Spec("energy", name, options))


RANGE = {"family": "forecasting", "start": date(2026, 2, 1), "end": date(2026, 2, 15), "every_days": 14}


def test_each_date_is_trained_once(flow_settings: Settings, energy: type[EnergyFamily]) -> None:
    load_usage(flow_settings)
    seen: list[str] = []
    rows = run_flow(flow_settings, "backfill", RANGE, actor="ada", progress=lambda label, *_: seen.append(label))
    assert [(row["as_of"], row["state"], row["version"]) for row in rows] == [
        ("2026-02-01", "trained", 1),
        ("2026-02-15", "trained", 2),
    ]
    assert rows[0]["verdict"] == "promote"
    assert "fit region" in seen
    registry = Registry(flow_settings)
    digests = {version.tags["dataset_digest"] for version in registry.versions("forecasting")}
    assert len(digests) == 2
    assert {line.actor for line in history(flow_settings, "forecasting")} == {"ada"}
    energy.fitted.clear()

    again = run_flow(flow_settings, "backfill", RANGE)
    assert [(row["as_of"], row["state"], row["version"]) for row in again] == [
        ("2026-02-01", "skipped", 1),
        ("2026-02-15", "skipped", 2),
    ]
    assert again[1]["reason"] == "trained as of 2026-02-15T00:00 on the same data with the same options before."
    assert energy.fitted == []
    assert len(registry.versions("forecasting")) == 2

    # Other options are another training. What knows less than the champion never replaces it.
    promote(flow_settings, registry, "forecasting", 2, expected=1, actor="ada", reason="by hand")
    other = run_flow(
        flow_settings, "backfill", {**RANGE, "end": date(2026, 2, 1), "options": {"only": ["overall", "region"]}}
    )
    assert [(row["state"], row["verdict"], row["version"]) for row in other] == [("trained", "keep", 3)]
    assert "trained as of 2026-02-15T00:00, later than 2026-02-01T00:00" in other[0]["reason"]
    assert registry.alias("forecasting", "champion") == 2
    # Nor do the features of an earlier day replace those of a later one.
    assert newest(flow_settings) == datetime(2026, 2, 15)
    assert set(feature_rows.lookup(flow_settings, "forecasting", ["C000"])) == {"C000"}


def newest(settings: Settings) -> datetime | None:
    with session(settings, readonly=True) as opened:
        return opened.scalar(sa.select(sa.func.max(FeatureRow.as_of)))


def test_a_range_that_makes_no_sense_is_refused(flow_settings: Settings) -> None:
    with pytest.raises(InvalidValue, match="ends on 2026-01-01, before it starts on 2026-02-01"):
        run_flow(flow_settings, "backfill", {**RANGE, "end": date(2026, 1, 1)})


def test_unknown_flows_and_parameters_are_named(flow_settings: Settings) -> None:
    with pytest.raises(UnknownEntity, match="no flow 'train-weather'"):
        run_flow(flow_settings, "train-weather")
    with pytest.raises(InvalidValue, match="horizon"):
        run_flow(flow_settings, "backfill", {"family": "churn", "horizon": 3})
    with pytest.raises(InvalidValue, match="every_days"):
        run_flow(flow_settings, "backfill", {"family": "churn", "every_days": "often"})


@pytest.mark.parametrize("family", ["churn", "segmentation", "pricing"])
def test_every_family_of_the_platform_can_be_trained_for_the_past(settings: Settings, family: str) -> None:
    spec = module.spec_of(settings, family, None, {"seed": 3})
    assert (spec.family, spec.name, spec.options["seed"]) == (family, family, 3)
    assert spec.build().name == family


def test_moments_are_midnights() -> None:
    assert module.moments(date(2026, 1, 30), date(2026, 2, 2), 2) == [datetime(2026, 1, 30), datetime(2026, 2, 1)]
    with pytest.raises(InvalidValue, match="every_days = 0"):
        module.moments(date(2026, 1, 1), date(2026, 1, 1), 0)
