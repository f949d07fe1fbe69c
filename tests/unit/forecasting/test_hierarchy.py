from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.frequency import Grid
from models.forecasting.family import ForecastingFamily, ForecastModel
from models.forecasting.forecast_file import forecast_frame
from models.forecasting.hierarchy import Sum, sums_of, sums_that_hold
from models.forecasting.options import ForecastOptions
from models.forecasting.reconciliation import reconciled, shrunk_correlation, systems
from models.forecasting.series import Series
from store.errors import InvalidValue, MissingColumn

DAILY = Grid("fixed", 86_400 * 10**9)
PLATFORM = ["calls/total", "calls/kind=a", "calls/kind=b", "calls/region=n", "calls/region=s", "signups/total"]


def test_each_dimension_of_a_total_adds_up() -> None:
    assert sums_of(PLATFORM, "/") == (
        Sum("calls/total", ("calls/kind=a", "calls/kind=b")),
        Sum("calls/total", ("calls/region=n", "calls/region=s")),
    )


def test_ids_that_nest() -> None:
    ids = ["total", "total/EU", "total/US", "total/EU/DE", "total/EU/FR"]
    assert sums_of(ids, "/") == (
        Sum("total", ("total/EU", "total/US")),
        Sum("total/EU", ("total/EU/DE", "total/EU/FR")),
    )
    assert sums_of(["a-x", "a-y", "b"], "-") == ()
    assert sums_of(["ä.ö", "ä"], ".") == (Sum("ä", ("ä.ö",)),)


def test_a_sum_that_does_not_hold_in_the_data_is_told_and_left_alone() -> None:
    y = np.arange(50.0)
    total, part = Series("t", 2 * y, (), DAILY), Series("t/a", y, (), DAILY)
    late = Series("t/b", y[20:], (), DAILY, first=20)
    assert sums_that_hold([total, part, Series("t/b", y, (), DAILY)], [Sum("t", ("t/a", "t/b"))])[1] == ()
    kept, notes = sums_that_hold([total, part, late], [Sum("t", ("t/a", "t/b"))])
    assert kept == ()
    assert "add up to something else at 38%" in notes[0]
    begun = replace(total, y=y + np.append(np.zeros(20), y[20:]))
    assert sums_that_hold([begun, part, late], [Sum("t", ("t/a", "t/b"))])[0]
    early = replace(part, y=y[:40])
    assert "does not end with it" in sums_that_hold([total, early, late], [Sum("t", ("t/a", "t/b"))])[1][0]


def constraints() -> tuple[tuple[str, ...], np.ndarray]:
    (found,) = systems(sums_of(PLATFORM, "/"))
    return found


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.booleans(), st.booleans())
def test_what_is_reconciled_adds_up_and_stays_above_zero(seed: int, stop: bool, together: bool) -> None:
    rng = np.random.default_rng(seed)
    names, matrix = constraints()
    base = rng.normal(1, 2, (len(names), 6))
    base = np.maximum(base, 0) if stop else base
    scales = rng.uniform(0.1, 3, base.shape)
    correlation = shrunk_correlation(rng.standard_normal((12, len(names)))) if together else None
    found = reconciled(base, matrix, scales, correlation, np.full(len(names), stop))
    assert np.abs(matrix @ found).max() < 1e-9
    assert not stop or found.min() >= 0
    again = reconciled(found, matrix, scales, correlation, np.full(len(names), stop))
    assert again == pytest.approx(found, abs=1e-9)


def test_the_least_certain_moves_most_and_errors_that_go_together_move_together() -> None:
    matrix = np.array([[1.0, -1.0, -1.0]])
    base = np.array([[12.0], [5.0], [5.0]])  # the total says 12, the parts 10
    scales = np.array([[0.1], [1.0], [1.0]])
    alone = reconciled(base, matrix, scales, None, np.zeros(3, dtype=bool))
    assert alone == pytest.approx(reconciled(base, matrix, scales, np.eye(3), np.zeros(3, dtype=bool)))
    assert alone[:, 0] == pytest.approx([12, 6, 6], abs=0.02)
    uneven = reconciled(base, matrix, np.array([[0.1], [2.0], [1.0]]), np.eye(3), np.zeros(3, dtype=bool))
    assert uneven[1, 0] - 5 == pytest.approx(4 * (uneven[2, 0] - 5), rel=1e-6)
    # For the identity it is the orthogonal projection: each of three moves by a third of the gap.
    equal = reconciled(base, matrix, np.ones((3, 1)), np.eye(3), np.zeros(3, dtype=bool))
    assert equal[:, 0] == pytest.approx([12 - 2 / 3, 5 + 2 / 3, 5 + 2 / 3])


def test_correlation_is_shrunk_where_there_is_little_to_learn_it_from() -> None:
    rng = np.random.default_rng(0)
    common = rng.standard_normal(400)
    errors = np.column_stack((common + 0.3 * rng.standard_normal(400), common + 0.3 * rng.standard_normal(400)))
    many, few = shrunk_correlation(errors), shrunk_correlation(errors[:4])
    assert many is not None
    assert few is not None
    assert many[0, 1] > 0.85
    assert 0 <= few[0, 1] < many[0, 1] + 0.1
    assert shrunk_correlation(errors[:2]) is None
    assert np.array_equal(shrunk_correlation(np.zeros((10, 2))), np.eye(2))  # type: ignore[arg-type]


def sales(n: int = 120) -> pd.DataFrame:
    """Regions and stores; one store opens later."""
    rng = np.random.default_rng(0)
    parts = []
    for region in ("EU", "US"):
        for store in ("a", "b"):
            length = n - 50 if (region, store) == ("US", "b") else n
            days = pd.date_range(end="2025-06-30", periods=length)
            y = 20 + 6 * np.sin(2 * np.pi * days.day_of_week / 7) + 3 * rng.standard_normal(length)
            parts.append(pd.DataFrame({"region": region, "store": store, "ds": days, "y": np.maximum(y, 0)}))
    return pd.concat(parts, ignore_index=True)


OPTIONS = ForecastOptions(horizon=7, freq="D", members=("SeasonalNaive", "DynamicOptimizedTheta"))


def test_columns_of_a_file_become_totals_that_are_the_sums_of_their_parts() -> None:
    made = forecast_frame(sales(), OPTIONS, id_column=None, hierarchy="region,store")
    wide = made.frame.pivot(index="ds", columns="unique_id", values="forecast")
    assert list(wide) == [
        "total", "total/EU", "total/EU/a", "total/EU/b", "total/US", "total/US/a", "total/US/b",
    ]  # fmt: skip
    assert wide["total"].to_numpy() == pytest.approx((wide["total/EU"] + wide["total/US"]).to_numpy(), rel=1e-12)
    for region in ("EU", "US"):
        parts = wide[f"total/{region}/a"] + wide[f"total/{region}/b"]
        assert wide[f"total/{region}"].to_numpy() == pytest.approx(parts.to_numpy(), rel=1e-12)
    assert (made.frame["lo-80"] < made.frame["forecast"]).all()
    alone = forecast_frame(sales(), OPTIONS, id_column=None, hierarchy="region,store", threads=1)
    pd.testing.assert_frame_equal(alone.frame, made.frame, check_exact=True)
    note = made.report.set_index("unique_id")["note"]
    assert note["total"] == note["total/EU"] == "added up from its parts"


def test_a_hierarchy_that_cannot_be_is_refused_by_name() -> None:
    with pytest.raises(MissingColumn, match=r"'shop'.*"):
        forecast_frame(sales(), OPTIONS, id_column=None, hierarchy="region,shop")
    with pytest.raises(InvalidValue, match="hierarchy '='"):
        forecast_frame(sales(), OPTIONS, id_column="store", hierarchy="=")
    frame = sales()
    frame.loc[2, "region"] = "E/U"
    with pytest.raises(InvalidValue, match=r"'region'.*row 3 holds 'E/U'"):
        forecast_frame(frame, OPTIONS, id_column=None, hierarchy="region,store")
    with pytest.raises(InvalidValue, match="hierarchy 'x'"):
        ForecastOptions(hierarchy="x")


def platform() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    days = pd.date_range("2025-01-01", periods=110)
    week = np.array([5.0, 5, 5, 5, 4, 1, 0])[np.arange(110) % 7]
    cells = {
        (kind, region): np.maximum(0, (10 + 4 * k + 3 * r) + week + 2 * rng.standard_normal(110))
        for k, kind in enumerate("ab")
        for r, region in enumerate("ns")
    }
    series = {"calls/total": sum(cells.values())}
    for place, dimension in enumerate(("kind", "region")):
        for level in "ab" if place == 0 else "ns":
            series[f"calls/{dimension}={level}"] = sum(y for key, y in cells.items() if key[place] == level)
    return pd.concat(
        [pd.DataFrame({"unique_id": name, "ds": days, "y": y}) for name, y in series.items()], ignore_index=True
    )


def test_the_registered_model_adds_up_at_every_step_and_level_of_its_life(tmp_path) -> None:  # type: ignore[no-untyped-def]
    options = ForecastOptions(horizon=7, freq="D", members=("DynamicOptimizedTheta", "SeasonalNaive"), hierarchy="/")
    family = ForecastingFamily(options)
    split = family.split(platform(), {})
    models: dict[str, ForecastModel] = {}
    for candidate in family.candidates():
        models[candidate.name] = family.fit(
            candidate, split.train, {}, {need: models[need] for need in candidate.needs}
        )
    final = family.finalise(models["combination"], platform(), {})
    final.save(tmp_path / "m")
    loaded = family.load(tmp_path / "m")
    for model in (models["combination"], loaded):
        wide = model.forecast().pivot(index="ds", columns="unique_id", values="forecast")
        for total, parts in model.contract["sums"]:
            assert wide[total].to_numpy() == pytest.approx(wide[parts].sum(axis=1).to_numpy(), rel=1e-10)
    assert len(loaded.contract["sums"]) == 2
    # Another recipe gives other paths; a champion is judged by its own.
    plain = ForecastingFamily(replace(options, hierarchy=None))
    assert np.array_equal(plain.rerun(final, split.train, {}).paths, models["combination"].paths)
    broken = platform()
    broken.loc[broken["unique_id"] == "calls/total", "y"] *= 1.2
    left = family.fit(family.candidates()[0], broken, {}, {})
    assert left.contract["sums"] == []
    assert "calls/total is not reconciled" in left.contract["series"]["calls/total"]["notes"][0]
