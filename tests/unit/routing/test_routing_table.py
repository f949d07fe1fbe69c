"""A user's own table: what fits, what does not and how that is told, how its rows are divided, what is kept of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.csv as pa_csv
import pytest

from features.snapshot import read_dataset
from models.lifecycle.family import Candidate
from models.routing.deciding import checked_tradeoffs, decisions, write
from models.routing.family import RoutingFamily, RoutingModel
from models.routing.from_file import Prepared, prepare
from models.routing.options import RoutingOptions
from store.errors import EmptyData, IntegrityFailed, InvalidValue, MissingColumn, WrongType

Table = Callable[..., pd.DataFrame]


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[..., Prepared]:
    def make(frame: pd.DataFrame, **how: str) -> Prepared:
        frame.to_csv(tmp_path / "outcomes.csv", index=False)
        return prepare(tmp_path / "outcomes.csv", tmp_path / "datasets", **how)

    return make


Make = Callable[..., Prepared]


def test_no_word_of_a_prompt_is_in_the_data_set(table: Table, prepared: Make) -> None:
    frame = table(60)
    frame.loc[0, "prompt"] = "supersecretword in here"
    made = prepared(frame)
    assert b"supersecretword" not in made.ref.path.read_bytes()
    assert made.models == ("cheap", "dear", "other")
    assert made.scale == (0.0, 1.0)


@pytest.mark.parametrize(
    ("change", "error", "named", "remedy"),
    [
        (lambda t: t.rename(columns={"prompt": "question"}), MissingColumn, "prompt", "There is"),
        (lambda t: t.drop(columns="dear|cost"), MissingColumn, "dear|cost", "Add it"),
        (lambda t: t.drop(columns="dear|score"), MissingColumn, "dear|score", "remove the column"),
        (lambda t: t[["prompt", "cheap|cost"]], MissingColumn, "score", "MODEL|score"),
        (lambda t: t[["prompt", "cheap|score", "cheap|cost"]], InvalidValue, "1 models", "nothing to choose"),
        (lambda t: t.assign(**{"dear|score": "good"}), WrongType, "dear|score", "Write numbers"),
        (lambda t: t.assign(**{"dear|cost": -1.0}), InvalidValue, "dear|cost", "at least 0"),
        (lambda t: t.assign(**{"dear|cost": float("inf")}), InvalidValue, "dear|cost", "at least 0"),
        (lambda t: t.assign(**{"dear|score": float("nan")}), InvalidValue, "'dear'", "fill them"),
        (lambda t: t.assign(**{f"{m}|score": 1.0 for m in ("cheap", "other", "dear")}), InvalidValue, "1", "differ"),
        (lambda t: t.assign(prompt=t["prompt"].where(t.index != 5)), InvalidValue, "row 6", "Remove these rows"),
        (lambda t: t.head(20), EmptyData, "20 rows", "more rows"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_with_what_to_do(
    table: Table,
    prepared: Make,
    change: Callable[[pd.DataFrame], pd.DataFrame],
    error: type[Exception],
    named: str,
    remedy: str,
) -> None:
    with pytest.raises(error) as told:
        prepared(change(table(60)))
    assert named in str(told.value)
    assert remedy in str(told.value)


def test_other_scales_are_told_and_kept(table: Table, prepared: Make, few: RoutingOptions) -> None:
    frame = table(120)
    for name in ("cheap", "other", "dear"):
        frame[f"{name}|score"] = 1.0 + 9.0 * frame[f"{name}|score"]
    made = prepared(frame)
    assert made.scale == (1.0, 10.0)
    assert "from 1 to 10" in " ".join(made.notes)
    family = RoutingFamily(replace(few, scale=made.scale))
    model = family.fit(Candidate("blind"), read_dataset(made.ref), made.ref.roles, {})
    _, quality, _ = model.decide(["add 3 apples"], [0.0])[0]
    assert 5.0 < quality[0] <= 10.0


def test_prompts_are_divided_by_what_they_say(table: Table, prepared: Make, few: RoutingOptions) -> None:
    frame = table(300)
    family = RoutingFamily(few)

    def held(of: pd.DataFrame) -> set[bytes]:
        made = prepared(of)
        return set(family.split(read_dataset(made.ref), made.ref.roles).holdout["words"])

    twice = pd.concat([frame, frame.sample(100, random_state=1)], ignore_index=True)
    made = prepared(twice)
    split = family.split(read_dataset(made.ref), made.ref.roles)
    assert not set(split.train["words"]) & set(split.holdout["words"])
    assert 0.1 < len(split.holdout) / 400 < 0.3
    assert "hash of the prompt" in split.rule
    # A prompt keeps its side when the table grows.
    assert held(frame) <= held(pd.concat([frame, table(200, 5)], ignore_index=True))


def test_groups_stay_together(table: Table, prepared: Make, few: RoutingOptions) -> None:
    frame = table(400)
    frame["set"] = [f"set {number % 25}" for number in range(400)]
    made = prepared(frame, group="set")
    split = RoutingFamily(few).split(read_dataset(made.ref), made.ref.roles)
    assert not set(split.train["group"]) & set(split.holdout["group"])
    assert "never learned from" in split.rule
    with pytest.raises(MissingColumn, match="--group"):
        prepared(frame, group="sets")


def test_the_latest_rows_are_the_holdout(table: Table, prepared: Make, few: RoutingOptions) -> None:
    frame = table(200)
    frame["day"] = pd.date_range("2026-01-01", periods=200).strftime("%Y-%m-%d")
    made = prepared(frame, time="day")
    split = RoutingFamily(few).split(read_dataset(made.ref), made.ref.roles)
    assert split.train["time"].max() < split.holdout["time"].min()
    assert len(split.holdout) == 40
    frame.loc[3, "day"] = "soon"
    broken = prepared(frame, time="day")
    with pytest.raises(InvalidValue, match="'soon'"):
        RoutingFamily(few).split(read_dataset(broken.ref), broken.ref.roles)


@pytest.fixture
def model(table: Table, prepared: Make, few: RoutingOptions) -> RoutingModel:
    made = prepared(table(300))
    family = RoutingFamily(few)
    frame = read_dataset(made.ref)
    split = family.split(frame, made.ref.roles)
    fitted = family.fit(Candidate("blend"), split.train, made.ref.roles, {})
    final = family.finalise(fitted, frame, made.ref.roles)
    assert isinstance(final, RoutingModel)
    return final


def test_a_policy_comes_back_as_it_was_saved(model: RoutingModel, tmp_path: Path) -> None:
    model.save(tmp_path / "one")
    model.save(tmp_path / "two")
    names = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert [str(name) for name in names] == [
        "arrays.npz", "contract.json", "judged/arrays.npz", "judged/contract.json",
    ]  # fmt: skip
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    again = RoutingModel.load(tmp_path / "one")
    given, expected = model.signature()
    pd.testing.assert_frame_equal(again.answer(given), expected)
    assert again.judged is not None
    pd.testing.assert_frame_equal(again.judged.answer(given), model.judged.answer(given))  # type: ignore[union-attr]
    assert RoutingModel.load(tmp_path / "one", judged=False).judged is None


def test_half_a_policy_and_one_of_another_format_are_refused(model: RoutingModel, tmp_path: Path) -> None:
    model.save(tmp_path / "one")
    contract = tmp_path / "one" / "contract.json"
    body = json.loads(contract.read_text())
    contract.write_text(json.dumps({**body, "gist": 99}))
    with pytest.raises(IntegrityFailed, match="99"):
        RoutingModel.load(tmp_path / "one")
    contract.write_text(json.dumps({**body, "rivals": {"ghost": body["quality"]}}))
    with pytest.raises(IntegrityFailed, match="half a policy"):
        RoutingModel.load(tmp_path / "one")
    (tmp_path / "one" / "arrays.npz").write_bytes(b"nothing")
    with pytest.raises(IntegrityFailed):
        RoutingModel.load(tmp_path / "one")


def test_decisions_are_written_row_by_row(model: RoutingModel, table: Table, tmp_path: Path) -> None:
    texts = table(50, 3)["prompt"].tolist()
    out = tmp_path / "decisions.csv"
    steps = [0.0, 0.5, 1.0]
    assert write(decisions(model, texts, steps), out) == 150
    read = pa_csv.read_csv(out).to_pandas()
    assert list(read.columns) == ["row", "tradeoff", "model", "quality", "cost"]
    assert read["row"].tolist() == [row for row in range(50) for _ in steps]
    assert read["tradeoff"].tolist() == steps * 50
    wide = read.pivot(index="row", columns="tradeoff", values=["quality", "cost"])
    assert (wide["cost"][0.0] >= wide["cost"][1.0] - 1e-12).all()
    assert (wide["quality"][0.0] >= wide["quality"][1.0] - 1e-12).all()
    assert not list(tmp_path.glob(".*partial"))
    alone = next(decisions(model, texts[7:8], steps)).to_pandas()
    pd.testing.assert_frame_equal(
        alone.drop(columns="row"), read[read["row"] == 7].drop(columns="row").reset_index(drop=True), rtol=1e-6
    )


def test_trade_offs_lie_between_quality_and_cost() -> None:
    assert checked_tradeoffs([0, 1]) == [0.0, 1.0]
    with pytest.raises(InvalidValue, match=r"1\.5"):
        checked_tradeoffs([0.5, 1.5])
    with pytest.raises(InvalidValue, match="0 numbers"):
        checked_tradeoffs([])


def test_an_evaluation_stands_beside_others_on_the_same_rows(table: Table, prepared: Make, few: RoutingOptions) -> None:
    frame = table(400)
    frame["set"] = [f"set {number % 40}" for number in range(400)]
    made = prepared(frame, group="set")
    family = RoutingFamily(few)
    data = read_dataset(made.ref)
    split = family.split(data, made.ref.roles)
    fitted = family.fit(Candidate("blend"), split.train, made.ref.roles, {})
    found = family.evaluate(fitted, split.holdout, split.train, made.ref.roles)
    names = {row["candidate"] for row in found.details["references"]}
    assert {"random", "cheapest", "best single", "oracle"} <= names
    ahead = {row["against"]: row["aiq"] for row in found.details["differences"]}
    assert ahead["oracle"]["value"] < 0 < ahead["blind"]["value"]
    assert found.metrics["aiq"].low <= found.metrics["aiq"].value <= found.metrics["aiq"].high
    assert found.losses["loss"].min() >= -1e-12
    assert found.losses["group"].nunique() == split.holdout["group"].nunique()
    assert found.plots["cost_quality.png"].startswith(b"\x89PNG")
    # Made again from all rows, it is judged by what it was before it had seen these.
    final = family.finalise(fitted, data, made.ref.roles)
    again = family.evaluate(final, split.holdout, split.train, made.ref.roles)
    assert np.allclose(again.losses["loss"], found.losses["loss"])


def test_a_policy_of_other_models_cannot_be_judged_here(
    table: Table, prepared: Make, few: RoutingOptions, model: RoutingModel
) -> None:
    frame = table(200)
    frame.columns = [name.replace("cheap", "tiny").replace("dear", "huge") for name in frame.columns]
    made = prepared(frame)
    split = RoutingFamily(few).split(read_dataset(made.ref), made.ref.roles)
    with pytest.raises(MissingColumn, match="knows 1 of the models"):
        RoutingFamily(few).evaluate(model, split.holdout, split.train, made.ref.roles)
