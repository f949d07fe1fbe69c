"""What `merit retain` refuses before any work, and what customers it takes from a table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from cli.main import app
from models.churn.family import ChurnModel
from models.churn.retention.from_file import customers_of, is_scored, scored_customers
from store.errors import DataError, EmptyData, InvalidValue, MeritError, MissingColumn


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        ((), InvalidValue, "Neither --offers nor --campaign"),
        (("--budget", "5", "--campaign", "x.csv"), InvalidValue, "--budget goes with --offers"),
        (("--campaign", "x.csv"), InvalidValue, "--treatment is missing"),
        (("--campaign", "x.csv", "--treatment", "t"), InvalidValue, "--outcome is missing"),
        (("--offers", "offers.csv", "--outcome", "left"), InvalidValue, "--outcome goes with --campaign"),
        (("--offers", "offers.csv", "--save", "x"), InvalidValue, "--save goes with --campaign"),
        (("--campaign", "x.csv", "--treatment", "t", "--outcome", "o", "--save", "."), InvalidValue, "not an empty"),
        (("--campaign", "x.csv", "--treatment", "t", "--outcome", "o", "--plot", "q.pdf"), InvalidValue, "SVG or PNG"),
        (("--offers", "offers.csv", "--out", "no/plan.csv"), InvalidValue, "cannot be written"),
        (("--offers", "offers.csv", "--out", "plan.xlsx"), InvalidValue, "'.xlsx' is unknown"),
        (("--offers", "offers.csv", "--data", "empty.csv"), DataError, "empty.csv"),
        (("--offers", "offers.csv", "--data", "twice.csv"), InvalidValue, "'b' occurs twice"),
        (("--offers", "offers.csv", "--data", "scores.csv", "--budget", "-1"), InvalidValue, "budget = -1"),
        (("--offers", "offers.csv", "--data", "scores.csv", "--months", "0"), InvalidValue, "horizon of 0 months"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], kind: type[MeritError], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MERIT_HOME", str(tmp_path / "home"))
    (tmp_path / "offers.csv").write_text("name,cost,success\ncall,8,0.3\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "twice.csv").write_text("id,probability\na,0.5\nb,0.2\nb,0.3\n")
    (tmp_path / "scores.csv").write_text("id,probability\na,0.5\nb,0.2\n")
    found = CliRunner().invoke(app, ["retain", *arguments]).exception
    assert isinstance(found, kind)
    assert said in found.message


def test_scores_bring_their_own_probabilities() -> None:
    frame = pd.DataFrame(
        {"who": ["a", "b"], "probability": ["0,25", "0,5"], "band": [" High", None], "fee": ["10", "20"]}
    )
    assert is_scored(frame)
    found = scored_customers(frame, revenue="fee")
    assert list(found.ids) == ["a", "b"]
    assert list(found.probability) == [0.25, 0.5]
    assert list(found.band) == ["high", ""]
    assert list(found.value) == [120.0, 240.0]
    assert "period of the probability is not known" in found.basis
    assert list(scored_customers(frame.assign(value_if_kept=[7, 8])).value) == [7.0, 8.0]


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"probability": [0.5, 1.5]}, InvalidValue, "probability is 1.5 in row 2"),
        ({"probability": [0.5, float("nan")]}, InvalidValue, "missing or not finite in row 2"),
        ({"band": ["high", "huge"]}, InvalidValue, "band holds 'huge'"),
    ],
)
def test_scores_that_do_not_fit_say_so(change: dict[str, object], kind: type[DataError], said: str) -> None:
    frame = pd.DataFrame({"who": ["a", "b"], "probability": [0.1, 0.2]}).assign(**change)
    with pytest.raises(kind, match=said):
        scored_customers(frame, otherwise=100.0)


def test_a_model_scores_customers(blend: ChurnModel, customers: pd.DataFrame) -> None:
    found = customers_of(blend, customers.head(50))
    np.testing.assert_array_equal(found.probability, blend.predict(customers.head(50)))
    assert list(found.ids) == list(customers["customer_id"].head(50))
    assert list(found.frame["band"]) == list(found.band)
    with pytest.raises(MissingColumn, match="'plan'"):
        customers_of(blend, customers.drop(columns="plan"))
    with pytest.raises(EmptyData):
        customers_of(blend, customers.head(0))


def test_a_plan_for_scores_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MERIT_HOME", str(tmp_path / "home"))
    rng = np.random.default_rng(0)
    pd.DataFrame({"who": range(50), "probability": rng.random(50), "band": "high"}).to_csv(tmp_path / "s.csv")
    (tmp_path / "offers.csv").write_text("name,cost,success\ncall,1,0.3\n")
    arguments = ["--data", str(tmp_path / "s.csv"), "--entity", "who", "--offers", str(tmp_path / "offers.csv")]
    done = CliRunner().invoke(app, ["retain", *arguments, "--budget", "7"])
    assert done.exit_code == 0, done.exception
    said = " ".join(done.output.split())
    assert "7 offers for 7 of a budget of 7" in said
    assert "No other choice of these offers is expected to bring more." in said
    assert "The same budget by risk alone" in said
    assert "No intervals" in said
    (tmp_path / "offers.csv").write_text("name,cost,success\ngold,1e9,1\n")
    body = json.loads(CliRunner().invoke(app, ["retain", *arguments, "--json"]).output)
    assert body["assignments"] == []
    assert body["not_offered"]["costs_more_than_it_saves"] == body["customers"] == 50


def test_a_past_campaign_is_judged_kept_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MERIT_HOME", str(tmp_path / "home"))
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"id": range(1500), "usage": rng.normal(size=1500), "age": rng.normal(size=1500)})
    frame["offered"] = rng.choice(["yes", "no"], 1500)
    effect = np.where(frame["offered"] == "yes", 0.1 - 0.25 * np.tanh(2 * frame["usage"]), 0.0)
    frame["left"] = (rng.random(1500) < 0.4 - effect).astype(int)
    frame.to_csv("past.csv", index=False)
    campaign = ["--campaign", "past.csv", "--treatment", "offered", "--outcome", "left", "--entity", "id"]
    done = CliRunner().invoke(app, ["retain", *campaign, "--save", "learned", "--plot", "qini.svg"])
    assert done.exit_code == 0, done.exception
    assert "Choosing customers by effect pays" in done.output
    assert "by risk" in done.output
    assert Path("qini.svg").read_bytes().startswith(b"<?xml")

    people = frame.drop(columns=["offered", "left"]).head(200).assign(probability=0.4, worth=100)
    people.to_csv("people.csv", index=False)
    Path("offers.csv").write_text("name,cost,effect\ncall,5,campaign\n", encoding="utf-8")
    arguments = ["--data", "people.csv", "--entity", "id", "--value", "worth", "--offers", "offers.csv"]
    alone = CliRunner().invoke(app, ["retain", *arguments])
    assert "come from a campaign" in str(alone.exception)
    done = CliRunner().invoke(app, ["retain", *arguments, "--campaign", "learned", "--budget", "100", "--json"])
    assert done.exit_code == 0, done.exception
    body = json.loads(done.output)
    chosen = people.set_index("id").loc[[row["customer"] for row in body["assignments"]]]
    assert len(chosen) == 20
    assert chosen["usage"].mean() < -0.5  # whom it truly helps
    assert body["campaign"]["supported"] is True
    done = CliRunner().invoke(
        app, ["retain", "--campaign", "learned", "--data", "people.csv", "--entity", "id", "--out", "effects.csv"]
    )
    assert done.exit_code == 0, done.exception
    effects = pd.read_csv("effects.csv")
    assert list(effects.columns) == ["id", "effect"]
    assert effects["effect"].is_monotonic_decreasing
