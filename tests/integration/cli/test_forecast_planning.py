"""`merit forecast` with totals and thresholds, `merit decompose`, as somebody brings a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

if TYPE_CHECKING:
    from tests.integration.cli.conftest import Merit


def shops() -> pd.DataFrame:
    """Two regions with two shops each; sales jump by a quarter in the middle."""
    rng = np.random.default_rng(4)
    days = pd.date_range("2025-01-01", periods=160)
    parts = []
    for region in ("Süd", "Nord"):
        for shop in ("1", "2"):
            y = 40 + 8 * np.sin(2 * np.pi * np.arange(160) / 7) + 1.5 * rng.standard_normal(160)
            y = y * np.where(np.arange(160) >= 80, 1.25, 1.0)
            parts.append(pd.DataFrame({"region": region, "shop": shop, "day": days, "sales": y}))
    return pd.concat(parts)


def test_totals_thresholds_and_breaks_of_a_file(merit: Merit, tmp_path: Path) -> None:
    shops().to_csv(tmp_path / "shops.csv", index=False)
    columns = ("--data", "shops.csv", "--time", "day", "--target", "sales")
    arguments = ("--horizon", "14", "--models", "SeasonalNaive", "--hierarchy", "region,shop", "--cross", "225")
    done = merit("forecast", *columns, *arguments, "--json")
    assert done.code == 0, done.err
    wide = pd.DataFrame(done.json["forecasts"]).pivot(index="ds", columns="unique_id", values="forecast")
    parts = [f"total/{region}/{shop}" for region in ("Süd", "Nord") for shop in ("1", "2")]
    assert wide["total"].to_numpy() == pytest.approx(wide[parts].sum(axis=1).to_numpy(), rel=1e-9)
    crossings = {row["unique_id"]: row for row in done.json["crossings"]}
    assert crossings["total"]["probability"] > 0.5 > crossings["total/Süd"]["probability"]
    assert crossings["total/Süd"]["by_50"] is None
    assert "Not within the horizon" in crossings["total/Süd"]["summary"]

    frame = shops()
    frame.assign(unique_id=frame["region"] + " " + frame["shop"]).to_csv(tmp_path / "ids.csv", index=False)
    columns = ("--data", "ids.csv", "--time", "day", "--target", "sales")
    done = merit("decompose", *columns, "--series", "Süd 2", "--plot", "made.png", "--out", "parts.csv", "--json")
    assert done.code == 0, done.err
    # Nothing is set up for a file.
    assert {file.name for file in (tmp_path / "home").rglob("*")} == {"mlflow.db"}, "which the fixture had put there"
    (found,) = done.json
    (point,) = found["change_points"]
    assert point["between"][0] <= "2025-03-22" <= point["between"][1]
    assert point["jump"]["low"] < 0.25 < point["jump"]["high"]
    assert (tmp_path / "made.png").read_bytes()[:4] == b"\x89PNG"
    made = pd.read_csv(tmp_path / "parts.csv")
    assert (made["trend"] + made["seasonal.7"] + made["remainder"]).to_numpy() == pytest.approx(made["y"].to_numpy())
