"""Panels and files: incidents, causes, plots, and what strangers bring."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.anomaly.from_file import watch_frame
from models.anomaly.plots import plot
from models.anomaly.report import check_table, event_rows
from models.anomaly.watch import Watched, WatchOptions
from store.errors import DataError, InvalidValue, MissingColumn

DAYS = pd.date_range("2024-01-01", periods=120, freq="D")


def sales() -> pd.DataFrame:
    """Sales of three regions; at day 90 and 91 the south loses two thirds of its own."""
    rng = np.random.default_rng(0)
    parts = []
    for region, size in (("north", 60.0), ("south", 100.0), ("øst", 30.0)):
        week = 1 + 0.2 * np.sin(2 * np.pi * np.arange(120) / 7)
        value = size * week * np.exp(0.03 * rng.standard_normal(120))
        if region == "south":
            value[90:92] /= 3
        parts.append(pd.DataFrame({"day": DAYS.strftime("%d.%m.%Y"), "region": region, "sales": value}))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def found() -> Watched:
    watched, _ = watch_frame(sales(), WatchOptions(), time_column="day", value_column="sales", by=("region",))
    return watched


def test_an_anomaly_of_the_total_is_traced_to_the_part_that_caused_it(found: Watched) -> None:
    assert set(found.checks) == {"sales/total", "sales/region=north", "sales/region=south", "sales/region=øst"}
    rows = {row["series"]: row for row in event_rows(found)}
    assert set(rows) == {"sales/total", "sales/region=south"}
    total = rows["sales/total"]
    assert (total["start"], total["end"], total["kind"]) == ("2024-03-31", "2024-04-01", "dip")
    assert total["incident"] == rows["sales/region=south"]["incident"] == 1
    first = total["causes"][0]
    assert first["series"] == "sales/region=south"
    assert first["share"] == pytest.approx(1.0, abs=0.15)
    assert first["usual"] == pytest.approx(100 / 190, abs=0.05)
    assert first["excess"] == pytest.approx(total["excess"], rel=0.15)
    assert total["caused_by"].startswith("region=south -")
    assert rows["sales/region=south"]["causes"] == []


def test_every_value_is_in_the_table_of_checks(found: Watched) -> None:
    table = check_table(found)
    assert len(table) == 4 * 120
    assert table["ds"].dtype.kind == "M"
    assert list(table.columns[:3]) == ["unique_id", "ds", "value"]


def test_a_series_is_judged_by_itself(found: Watched) -> None:
    alone = sales()[lambda frame: frame["region"] == "north"]
    other, _ = watch_frame(alone, WatchOptions(), time_column="day", value_column="sales")
    pd.testing.assert_frame_equal(other.checks["series"], found.checks["sales/region=north"])


def test_parts_of_a_file_with_decimal_commas_are_the_same(found: Watched) -> None:
    written = sales().assign(sales=lambda frame: [f"{value:.12f}".replace(".", ",") for value in frame["sales"]])
    other, _ = watch_frame(written, WatchOptions(), time_column="day", value_column="sales", by=("region",))
    assert [row["start"] for row in event_rows(other)] == [row["start"] for row in event_rows(found)]


def test_what_is_missing_is_told_in_the_options_of_the_command() -> None:
    frame = pd.DataFrame({"id": "a", "ds": DAYS, "y": 1.0})
    with pytest.raises(MissingColumn) as caught:
        watch_frame(frame, WatchOptions(), id_column="id", value_column="z")
    assert "--value" in caught.value.remedy
    assert "--target" not in caught.value.remedy


def test_the_plot_is_a_picture_of_the_worst_series(found: Watched) -> None:
    picture = plot(found)
    assert picture.startswith(b"\x89PNG")
    assert plot(found) == picture


def test_missing_rows_stay_missing_and_several_for_one_time_are_one() -> None:
    frame = pd.DataFrame({"ds": DAYS, "y": 10 + np.arange(120) % 7 + 0.01 * np.arange(120)})
    frame.loc[50, "y"] = np.inf
    frame.loc[60, "y"] = np.nan
    frame = pd.concat([frame.drop(70), frame.iloc[[80]]])
    watched, _ = watch_frame(frame, WatchOptions(rules=("missing 1",)))
    checks = watched.checks["series"]
    assert len(checks) == 120
    assert checks.loc[[50, 60, 70], "kind"].tolist() == ["missing"] * 3
    assert checks.loc[[50, 60, 70], "value"].isna().all()
    assert any("3 steps have no value" in note for note in watched.notes)
    assert any("1 rows repeat a time" in note for note in watched.notes)


def test_wide_files_many_short_series_and_plain_steps() -> None:
    wide = pd.DataFrame({"ds": range(40), "a": np.arange(40) % 5 + 1.0, "b": 3.0, "c": [1.0] * 5 + [np.nan] * 35})
    watched, _ = watch_frame(wide, WatchOptions(season=5), value_column="y")
    assert set(watched.checks) == {"a", "b", "c"}
    assert watched.events == ()
    assert any("Too short to be judged" in note and "c" in note for note in watched.notes)
    many = pd.DataFrame({"unique_id": np.repeat(np.arange(200), 3), "ds": np.tile([1, 2, 3], 200), "y": 1.0})
    watched, _ = watch_frame(many, WatchOptions(), id_column="unique_id")
    assert len(watched.checks) == 200


@pytest.mark.parametrize(
    ("frame", "options", "error", "said"),
    [
        (pd.DataFrame({"ds": [], "y": []}), {}, DataError, "no row"),
        (pd.DataFrame({"when": [1], "y": [1]}), {}, MissingColumn, "'ds'"),
        (pd.DataFrame({"ds": DAYS, "y": 1.0}), {"by": ("region",)}, MissingColumn, "'region'"),
        (
            pd.DataFrame({"ds": DAYS, "y": "ten", "r": "a"}),
            {"by": ("r",)},
            InvalidValue,
            "'y', row 1: 'ten' is no number",
        ),
        (pd.DataFrame({"ds": DAYS, "y": 1.0}), {"by": ("y",)}, InvalidValue, "'y' has two roles"),
        (
            pd.DataFrame({"id": "a", "ds": DAYS, "y": 1.0}),
            {"id_column": "id", "by": ("id",)},
            InvalidValue,
            "two roles",
        ),
        (pd.DataFrame({"ds": DAYS, "y": "ten"}), {}, DataError, "ten"),
        (
            pd.DataFrame({"ds": np.repeat(DAYS, 6), "y": 1.0, "r": range(720)}),
            {"by": ("r",)},
            InvalidValue,
            "720 different",
        ),
    ],
)
def test_files_that_do_not_fit_are_refused_by_name(
    frame: pd.DataFrame, options: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        watch_frame(frame, WatchOptions(), **options)  # type: ignore[arg-type]


def test_without_the_extra_the_autoencoder_says_so_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.anomaly.autoencoder.find_spec", lambda name: None)
    with pytest.raises(InvalidValue, match=r"autoencoder: not installed.*make install-deep"):
        watch_frame(sales(), WatchOptions(detectors=("autoencoder",)), time_column="day", value_column="sales")
