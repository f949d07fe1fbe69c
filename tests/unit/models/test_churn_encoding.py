"""One row of numbers for every customer, the same from a frame as from a record."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.tabular import Column
from models.churn.encoding import Encoder
from store.errors import MissingColumn, WrongType

COLUMNS = (
    Column("age", "number"),
    Column("charge", "number", ","),
    Column("paperless", "flag"),
    Column("plan", "category"),
    Column("city", "category"),
    Column("sex", "category"),
    Column("used_m1", "number"),
    Column("used_m2", "number"),
    Column("used_m3", "number"),
)


def _frame(rows: int = 2000) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    plan = rng.choice(["basic", "plus", "pro"], rows, p=[0.6, 0.3, 0.1]).astype(object)
    plan[:3] = "trial"
    plan[100:160] = None
    return pd.DataFrame(
        {
            "plan": plan,
            "age": np.where(rng.random(rows) < 0.1, np.nan, rng.integers(18, 90, rows)),
            "charge": [f"{x:.2f}".replace(".", ",") for x in rng.gamma(2, 20, rows)],
            "paperless": rng.choice(["Yes", "No", ""], rows, p=[0.5, 0.4, 0.1]),
            "city": rng.choice([f"c{i}" for i in range(30)], rows),
            "sex": rng.choice(["f", "m"], rows, p=[0.6, 0.4]),
            "used_m1": rng.gamma(2, 3, rows),
            "used_m2": rng.gamma(2, 3, rows),
            "used_m3": rng.gamma(2, 3, rows),
            "unrelated": 1,
        }
    )


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.fit(_frame(), COLUMNS)


def test_layout(encoder: Encoder) -> None:
    assert encoder.names == (
        "age", "charge", "paperless", "used_m1", "used_m2", "used_m3", "sum of used_m_*",
        "plan = basic", "plan = plus", "plan = pro", "plan = (missing)", "sex = m", "city",
    )  # fmt: skip
    assert encoder.native == (12,)
    assert encoder.cardinalities == (31,)


def test_record_and_frame_agree(encoder: Encoder) -> None:
    frame = _frame().iloc[:200]
    matrix = encoder.matrix(frame)
    rows = [encoder.row(record) for record in frame.astype(object).where(frame.notna(), None).to_dict("records")]
    np.testing.assert_array_equal(matrix, np.asarray(rows))


VALUES = {
    "number": st.none() | st.floats(-1e6, 1e6) | st.integers(-1000, 1000) | st.sampled_from(["", " 3.5", "12", "NA"]),
    "flag": st.sampled_from([None, True, False, "Yes", "no", 0, 1, ""]),
    "category": st.sampled_from([None, "basic", "never seen", "", 3, 3.0, "c7", "f", "m", "(missing)"]),
}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_record_and_frame_agree_on_anything(data: st.DataObject) -> None:
    encoder = Encoder.fit(_frame(400), COLUMNS)
    record = {
        column.name: data.draw(VALUES[column.kind] if column.decimal == "." else st.sampled_from(["1,5", 2.5, None]))
        for column in COLUMNS
    }
    frame = pd.DataFrame({name: pd.Series([value], dtype=object) for name, value in record.items()})
    np.testing.assert_array_equal(encoder.matrix(frame)[0], np.asarray(encoder.row(record)))


def test_json_and_back(encoder: Encoder) -> None:
    again = Encoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert again.names == encoder.names
    np.testing.assert_array_equal(again.matrix(_frame()), encoder.matrix(_frame()))


def test_unseen_rare_and_missing_levels(encoder: Encoder) -> None:
    frame = _frame().iloc[[0] * 4].copy()
    frame["plan"] = ["trial", "never", None, "pro"]
    frame["city"] = ["c1", "never", None, "c2"]
    plan = encoder.matrix(frame)[:, 7:11]
    assert plan.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
    assert (encoder.matrix(frame)[:, 12] == 0).tolist() == [False, True, True, False]


def test_every_missing_column_is_listed(encoder: Encoder) -> None:
    with pytest.raises(MissingColumn) as caught:
        encoder.matrix(_frame().drop(columns=["plan", "age"]))
    assert caught.value.value == ["age", "plan"]
    with pytest.raises(MissingColumn, match="'age', 'plan'") as caught:
        encoder.row({k: v for k, v in _frame().iloc[0].items() if k not in {"age", "plan"}})
    assert caught.value.remedy


def test_a_wrong_value_is_named(encoder: Encoder) -> None:
    frame = _frame().astype({"age": object}).iloc[:5].copy()
    frame.loc[3, "age"] = "old"
    with pytest.raises(WrongType, match="Row 4: age = 'old': expected a number, found str") as caught:
        encoder.matrix(frame)
    assert (caught.value.field, caught.value.value) == ("age", "old")
    record = dict.fromkeys(frame.columns)
    with pytest.raises(WrongType, match="paperless = 'perhaps': expected yes or no"):
        encoder.row({**record, "paperless": "perhaps"})
    with pytest.raises(WrongType, match="city = \\['a'\\]: expected text"):
        encoder.row({**record, "city": ["a"]})
    assert math.isnan(encoder.row({**record, "age": float("inf")})[0])
