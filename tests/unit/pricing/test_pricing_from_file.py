"""Sales files as people have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from features.snapshot import read_dataset
from models.pricing.family import PricingFamily, PricingOptions
from models.pricing.from_file import prepare
from store.errors import DataError, EmptyData, InvalidValue, MissingColumn, WrongType


def _write(folder: Path, text: str) -> Path:
    path = folder / "sales.csv"
    path.write_text(text, encoding="utf-8")
    return path


def _prepare(folder: Path, text: str, **columns: object) -> tuple[pd.DataFrame, tuple[str, ...], dict[str, str]]:
    names = {"product": "item", "price": "price", "quantity": "qty"}
    ref, notes = prepare(_write(folder, text), folder / "data", **(names | columns))  # type: ignore[arg-type]  # any column
    return read_dataset(ref), notes, dict(ref.roles)


def test_a_file_with_commas_umlauts_and_day_first_dates(tmp_path: Path) -> None:
    text = "item;date;price;qty\nKäse;31.01.2025;1,99;3\nKäse;01.02.2025;2,49;0\n"
    frame, notes, roles = _prepare(tmp_path, text, time="date")
    assert frame["price"].tolist() == [1.99, 2.49]
    assert frame["date"].dt.strftime("%m-%d").tolist() == ["01-31", "02-01"]
    assert frame["item"].tolist() == ["Käse", "Käse"]
    assert roles == {"product": "item", "price": "price", "quantity": "qty", "time": "date"}
    assert any("1 rows sold nothing" in note for note in notes)


def test_rows_of_one_moment_are_added_up_and_said_so(tmp_path: Path) -> None:
    text = "item,date,price,qty,promo\na,2025-01-01,1,3,x\na,2025-01-01,2,1,x\na,2025-01-02,1,0,y\na,2025-01-02,1,0,y\n"
    frame, notes, _ = _prepare(tmp_path, text, time="date", controls=["promo"])
    assert frame["qty"].tolist() == [4.0, 0.0]
    assert frame["price"].tolist() == pytest.approx([1.25, 1.0])
    assert frame["promo"].tolist() == ["x", "y"]
    assert any("4 rows were added up to 2" in note and "--group" in note for note in notes)


def test_rows_that_say_nothing_of_demand_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = "".join(f"a,{5 + w % 2},{20 + w},2025-03-{w:02d}\n" for w in range(1, 25))
    odd = "a,,3,2025-04-01\na,5,n/a,2025-04-02\n ,5,3,2025-04-03\na,0,3,2025-04-04\na,5,-2,2025-04-05\na,5,3,-\n"
    frame, notes, _ = _prepare(tmp_path, "item,price,qty,day\n" + odd + rows, time="day")
    assert len(frame) == 24
    assert notes[:6] == tuple(
        f"Left out, since {why}: 1 of 30 rows."
        for why in (
            "item is missing",
            "price is missing",
            "qty is missing",
            "day is missing",
            "price is not above zero",
            "qty is negative, as of goods given back",
        )
    )
    # What cannot be read is named by its row in the file, whatever was left out before it.
    with pytest.raises(InvalidValue, match="'day', row 31: 'soon'"):
        _prepare(tmp_path, "item,price,qty,day\n" + odd + rows + "a,5,3,soon\n", time="day")


def test_a_lost_decimal_point_is_told_with_its_row(tmp_path: Path) -> None:
    rows = "".join(f"a,{4.5 + w % 2},{20 + w}\n" for w in range(20))
    _, notes, _ = _prepare(tmp_path, "item,price,qty\n" + rows + "a,550,20\n")
    assert any(
        "In 1 of 21 rows price is more than 10 times" in note and "550 for a in row 21" in note for note in notes
    )
    assert not any("more than 10 times" in note for note in _prepare(tmp_path, "item,price,qty\n" + rows)[1])


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (lambda day: f"{day:%Y-W%V}", ""),
        (lambda day: str(int(day.timestamp())), "was read as Unix time"),
        (lambda day: str(int(day.timestamp()) * 1000), "was read as Unix time"),
        (lambda day: f"{day:%Y%m%d}", "was read as YYYYMMDD"),
        # Local midnights: the day that begins there, not the one that has not ended in Greenwich.
        (lambda day: day.tz_localize("Europe/Berlin").isoformat(), ""),
        (lambda day: f"{day:%d.%m.%Y}", ""),
    ],
)
def test_days_are_read_however_they_are_written(tmp_path: Path, written: Any, said: str) -> None:
    days = pd.date_range("2025-01-06", periods=30, freq="7D", unit="us")
    rows = "".join(f"a,{5 + at % 2},{20 + at},{written(day)}\n" for at, day in enumerate(days))
    frame, notes, _ = _prepare(tmp_path, "item,price,qty,t\n" + rows, time="t")
    assert frame["t"].tolist() == days.tolist()
    assert said in " ".join(notes)
    assert "taken as weeks" not in " ".join(notes)


def test_years_are_dates_and_other_numbers_are_periods(tmp_path: Path) -> None:
    for begin, first in ((2001, pd.Timestamp("2001-01-01")), (1, 1)):
        rows = "".join(f"a,{5 + at % 2},{20 + at},{begin + at}\n" for at in range(20))
        frame, _, _ = _prepare(tmp_path, "item,price,qty,t\n" + rows, time="t")
        assert frame["t"].iloc[0] == first


def test_notes_tell_what_cannot_be_known(tmp_path: Path) -> None:
    text = "item,week,price,qty,rival\n" + "".join(f"a,{w},5,{w},{'' if w == 3 else 4}\n" for w in range(1, 9))
    _, notes, _ = _prepare(tmp_path, text, time="week", competitor="rival")
    said = " ".join(notes)
    assert "The price of a never varied" in said
    assert "taken as weeks" in said
    assert "rival is missing in 1 of 8 rows" in said
    assert "Without --time" in " ".join(_prepare(tmp_path, text)[1])


@pytest.mark.parametrize(
    ("text", "columns", "error", "said"),
    [
        ("item,price,qty\n", {}, EmptyData, "no rows"),
        ("item,price,qty\na,1,2\n", {"quantity": "sold"}, MissingColumn, "no column 'sold' (--quantity)"),
        ("Item,price,qty\na,1,2\n", {}, MissingColumn, "Did you mean 'Item'?"),
        ("item,price,qty\na,cheap,2\n", {}, WrongType, "price (price) is no number: 'cheap' in row 1"),
        (
            "item,price,qty\na,1,2\na,,3\n",
            {},
            InvalidValue,
            "price (price) is missing or infinite in 1 of 2 rows, first in row 2",
        ),
        ("item,price,qty\na,inf,2\n", {}, DataError, "price"),
        ("item,price,qty\na,1,-2\n", {}, InvalidValue, "qty (quantity) is negative in 1 of 1 rows, first -2 in row 1"),
        ("item,price,qty\na,0,2\n", {}, InvalidValue, "price (price) is not above zero"),
        ("item,price,qty\na,1,0\na,2,0\n", {}, InvalidValue, "nothing was ever sold"),
        ("item,price,qty\n,1,2\na,1,2\n", {}, InvalidValue, "item (product) is missing in 1 of 2 rows"),
        ("item,price,qty,d\na,1,2,2025-01-01\na,1,2,soon\n", {"time": "d"}, InvalidValue, "'d', row 2: 'soon'"),
        ("item,price,qty\na,1,2\n", {"quantity": "price"}, InvalidValue, "two roles"),
        ("item,price,price,qty\na,1,2,3\n", {}, DataError, "price"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    tmp_path: Path, text: str, columns: dict[str, str], error: type[DataError], said: str
) -> None:
    with pytest.raises(error) as caught:
        _prepare(tmp_path, text, **columns)
    assert said in str(caught.value)
    assert caught.value.remedy


def test_one_series_of_its_own_goes_the_whole_way(tmp_path: Path) -> None:
    """A single shop without groups, segments or controls, in numbered weeks."""
    rows = "".join(
        f"tea,{w},{2 + 0.1 * (w * 7 % 5):.1f},{round(60 - 12 * (w * 7 % 5) + w % 3)}\n" for w in range(1, 61)
    )
    path = _write(tmp_path, "item,week,price,qty\n" + rows)
    ref, _ = prepare(path, tmp_path / "data", product="item", price="price", quantity="qty", time="week")
    family = PricingFamily(PricingOptions(trees=10, blocks=2, origins=1, holdout_share=0.4, replicates=100))
    frame = read_dataset(ref)
    train = family.split(frame, ref.roles).train
    loglog = family.fit(family.candidates()[1], train, ref.roles, {})
    final = family.finalise(loglog, frame, ref.roles)
    own = next(one for one in final.elasticities if one.of == "own")
    assert own.product == "tea"
    assert own.identified
    assert own.value < -2
    assert final.products == {"tea": ()}
