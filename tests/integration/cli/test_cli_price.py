"""Prices from a user's own file, with no server running and no set-up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cli.price import price
from store.errors import DataError, InvalidValue, MeritError, MissingColumn, NoChampion

Merit = Callable[..., Any]

COLUMNS = ("--product", "Artikel", "--price", "Preis", "--quantity", "Menge", "--time", "Woche", "--group", "Filiale")


def sales(weeks: int = 40, stores: int = 5) -> pd.DataFrame:
    """Two products with elasticities −2.5 and −1.2, and one whose price never varied."""
    rng = np.random.default_rng(4)
    grid = pd.MultiIndex.from_product([range(weeks), range(stores), range(3)], names=["w", "s", "p"]).to_frame(
        index=False
    )
    step = rng.choice([0.8, 0.9, 1.0, 1.1, 1.2], len(grid))
    step[grid["p"] == 2] = 1.0
    price = np.array([4.0, 2.5, 9.0])[grid["p"]] * step
    response = np.array([-2.5, -1.2, -1.5])[grid["p"]] * np.log(step)
    level = 3.4 + 0.1 * grid["s"]
    return pd.DataFrame(
        {
            "Artikel": np.array(["Tee grün", "Kaffee", "Käse"])[grid["p"]],
            "Filiale": "F" + grid["s"].astype(str),
            "Woche": pd.Timestamp("2025-01-06") + pd.to_timedelta(7 * grid["w"], unit="D"),
            "Preis": price.round(2),
            "Kosten": np.array([1.0, 1.0, 5.0])[grid["p"]],
            "Menge": rng.poisson(np.exp(level + response)),
        }
    )


@pytest.fixture(scope="module")
def priced(
    tmp_path_factory: pytest.TempPathFactory, merit_in: Callable[[Path, Path], Merit]
) -> tuple[Merit, Path, Any]:
    """A home where `merit price` was run once on a German export: semicolons, decimal commas, Windows-1252."""
    folder = tmp_path_factory.mktemp("prices")
    sales().to_csv(folder / "verkauf.csv", index=False, sep=";", decimal=",", encoding="cp1252")
    merit = merit_in(folder / "home", folder)
    written = ("--out", "recs.csv", "--plot", "curve.png", "--report", "report.json", "--json")
    done = merit("price", "--data", "verkauf.csv", *COLUMNS, "--cost", "Kosten", "--min-margin", "0.3", *written)
    assert done.code == 0, done.err
    return merit, folder, done.json


def test_elasticities_and_recommendations_from_a_file(priced: Any) -> None:
    _, folder, body = priced
    own = {one["product"]: one for one in body["elasticities"] if one["of"] == "own" and one["segment"] is None}
    for product, truth in (("Tee grün", -2.5), ("Kaffee", -1.2)):
        one = own[product]
        assert one["identified"], one["reason"]
        assert one["low"] < one["value"] < one["high"]
        assert abs(one["value"] - truth) < 0.4
    assert not own["Käse"]["identified"]
    advice = {one["question"]["product"]: one for one in body["recommendations"]}
    # Elastic and far above its cost: cheaper. Hardly elastic: dearer.
    assert advice["Tee grün"]["advised"]
    assert advice["Tee grün"]["price"] < advice["Tee grün"]["current_price"]
    assert advice["Kaffee"]["price"] > advice["Kaffee"]["current_price"]
    assert advice["Tee grün"]["question"]["unit_cost"] == 1.0
    silent = advice["Käse"]
    assert silent["reason"].startswith("cannot advise, because")
    assert silent["experiment"]
    assert body["model"]["name"] == "pricing-own"
    assert body["verdict"] in ("promote", "keep")
    written = pd.read_csv(folder / "recs.csv")
    assert list(written["product"]) == [one["question"]["product"] for one in body["recommendations"]]
    assert list(written["price"]) == pytest.approx([one["price"] for one in body["recommendations"]])
    assert written.loc[written["product"] == "Käse", "experiment"].item() == silent["experiment"]
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert '"elasticities"' in (folder / "report.json").read_text(encoding="utf-8")


def test_the_trained_model_is_asked_again_without_the_file(priced: Any) -> None:
    merit, _, body = priced
    # Whatever the gate said of the sales it foresees: a person may decide otherwise.
    if body["model"]["champion"] is None:
        assert merit("registry", "promote", "pricing-own", "1").code == 0
    done = merit("price", "--name", "pricing-own", "--objective", "revenue", "--max-change", "0.05")
    assert done.code == 0, done.err
    shown = " ".join(done.out.split())
    assert "Elasticities" in shown
    assert "Kaffee own -1." in shown
    assert "Recommendations for revenue over 90 days" in shown
    assert "cannot advise, because" in shown
    assert "pricing-own v1 is champion." in shown


@pytest.mark.parametrize(
    ("given", "kind", "says"),
    [
        ({"data": "tiny.csv", "product": "p", "price": "price"}, InvalidValue, "--quantity is missing"),
        (
            {"data": "tiny.csv", "product": "p", "price": "cost", "quantity": "q"},
            MissingColumn,
            "no column 'cost' (--price). Columns: p, price, q",
        ),
        ({"data": "tiny.csv", "product": "p", "price": "price", "quantity": "q"}, DataError, "at least 30 and 10"),
        ({"product": "p"}, InvalidValue, "--product p goes with --data"),
        ({"control": ["a,b", "c"]}, InvalidValue, "--control a, b, c goes with --data"),
        ({"plot": Path("curve.txt")}, InvalidValue, "'.txt' is unknown"),
        ({"plot": Path("no/where.png")}, InvalidValue, "no/where.png cannot be written"),
        ({"report": Path("a.csv")}, InvalidValue, ".json"),
        ({"cost": "-3"}, InvalidValue, "--cost -3 is no cost"),
        ({"name": "nothing"}, NoChampion, "Nothing is champion under 'nothing'"),
    ],
)
def test_what_does_not_fit_is_named_with_the_next_step(
    priced: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    given: dict[str, Any],
    kind: type[MeritError],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MERIT_HOME", str(priced[1] / "home"))
    monkeypatch.setenv("MERIT_THREADS", "1")
    (tmp_path / "tiny.csv").write_text("p,price,q\na,1.5,3\n")
    with pytest.raises(kind) as caught:
        price(**given)
    assert says in str(caught.value)
    assert caught.value.remedy
