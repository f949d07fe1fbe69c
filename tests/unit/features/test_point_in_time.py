"""Nothing that happened or became known later reaches a row: planted leaks never show."""

from __future__ import annotations

from datetime import datetime, timedelta

import duckdb
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from features.point_in_time import asof_join, latest_known
from store.errors import InvalidValue, MissingColumn, WrongType

START = datetime(2026, 1, 1)

moments = st.integers(0, 12).map(lambda hours: START + timedelta(hours=hours))
versions = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 2), moments, moments, st.integers(0, 99)), max_size=25
)


def facts_frame(rows: list[tuple[str, int, datetime, datetime, int]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["who", "fact", "event_time", "recorded_at", "value"])
    frame["who"] = frame["who"].astype("str")
    frame = frame.astype({"event_time": "datetime64[us]", "recorded_at": "datetime64[us]", "fact": "int64"})
    return frame.drop_duplicates(["who", "fact", "recorded_at"], ignore_index=True)


def expected(frame: pd.DataFrame, as_of: datetime) -> dict[tuple[str, int], int]:
    """The definition, row by row."""
    best: dict[tuple[str, int], tuple[datetime, int]] = {}
    for row in frame.to_dict("records"):
        if row["event_time"] <= as_of and row["recorded_at"] <= as_of:
            key = (row["who"], row["fact"])
            if key not in best or best[key][0] < row["recorded_at"]:
                best[key] = (row["recorded_at"], row["value"])
    return {key: value for key, (_, value) in best.items()}


@given(versions, moments)
@hypothesis_settings(max_examples=60, deadline=None)
def test_latest_known_is_the_definition_in_pandas_and_duckdb(rows, as_of) -> None:
    frame = facts_frame(rows)
    found = latest_known(frame, ["who", "fact"], as_of)
    assert {(r["who"], r["fact"]): r["value"] for r in found.to_dict("records")} == expected(frame, as_of)
    with duckdb.connect() as connection:
        relation = latest_known(connection.from_df(frame), ["who", "fact"], as_of)
        assert {(r[0], r[1]): r[4] for r in relation.fetchall()} == expected(frame, as_of)


@given(versions, st.lists(st.tuples(st.sampled_from("abcd"), moments), max_size=12))
@hypothesis_settings(max_examples=60, deadline=None)
def test_planted_leaks_never_reach_a_row(rows, spine_rows) -> None:
    frame = facts_frame(rows)
    spine = pd.DataFrame(spine_rows, columns=["who", "as_of"]).astype({"who": "str", "as_of": "datetime64[us]"})
    spine.index = pd.Index(range(100, 100 + len(spine)))
    joined = asof_join(spine, frame, by="who", key=["who", "fact"], columns=["value"])
    assert joined.index.equals(spine.index)
    pd.testing.assert_frame_equal(joined[["who", "as_of"]], spine)

    # Leaks: facts that happen later, and corrections of known facts that are recorded later.
    late = [frame.assign(value=-1, recorded_at=START + timedelta(days=2))]
    late.append(frame.assign(value=-2, event_time=START + timedelta(days=2), recorded_at=frame["recorded_at"]))
    leaking = pd.concat([frame, *late], ignore_index=True)
    again = asof_join(spine, leaking, by="who", key=["who", "fact"], columns=["value"])
    pd.testing.assert_frame_equal(again, joined)

    for row in joined.to_dict("records"):
        latest = latest_known(frame[frame["who"] == row["who"]], ["who", "fact"], row["as_of"])
        if latest.empty:
            assert pd.isna(row["value"])
        else:
            newest = latest[latest["event_time"] == latest["event_time"].max()]
            assert row["value"] in set(newest["value"])


def test_a_correction_that_moves_an_event_replaces_it() -> None:
    frame = facts_frame(
        [
            ("a", 1, START + timedelta(hours=10), START + timedelta(hours=10), 1),
            ("a", 1, START + timedelta(hours=5), START + timedelta(hours=12), 2),
            ("a", 2, START + timedelta(hours=7), START + timedelta(hours=7), 3),
        ]
    )
    spine = pd.DataFrame({"who": ["a", "a"], "as_of": [START + timedelta(hours=11), START + timedelta(hours=20)]})
    spine["as_of"] = spine["as_of"].astype("datetime64[us]")
    joined = asof_join(spine, frame, by="who", key=["who", "fact"], columns=["value"])
    assert joined["value"].tolist() == [1, 3]


def test_repeated_rows_of_the_spine_stay() -> None:
    frame = facts_frame([("a", 1, START, START, 7)])
    spine = pd.DataFrame({"who": ["a", "a", "z"], "as_of": [START] * 3}, index=[5, 5, 6])
    spine["as_of"] = spine["as_of"].astype("datetime64[us]")
    joined = asof_join(spine, frame, by="who", suffix="_last")
    assert list(joined.columns) == ["who", "as_of", "fact_last", "value_last"]
    assert joined["value_last"].tolist()[:2] == [7, 7]
    assert pd.isna(joined["value_last"].iloc[2])
    assert joined.index.tolist() == [5, 5, 6]


def test_events_may_be_limited_further_than_knowledge_but_not_beyond_it() -> None:
    frame = facts_frame(
        [("a", 1, START, START, 1), ("a", 2, START + timedelta(hours=3), START + timedelta(hours=3), 2)]
    )
    early = latest_known(frame, ["fact"], START + timedelta(hours=4), at=START + timedelta(hours=1))
    assert early["fact"].tolist() == [1]
    capped = latest_known(frame, ["fact"], START + timedelta(hours=1), at=START + timedelta(hours=9))
    assert capped["fact"].tolist() == [1]


def test_errors_name_the_column() -> None:
    frame = facts_frame([("a", 1, START, START, 1)])
    spine = pd.DataFrame({"who": ["a"], "as_of": ["2026-01-01"]})
    with pytest.raises(WrongType, match="as_of"):
        asof_join(spine, frame, by="who")
    with pytest.raises(MissingColumn, match="Did you mean 'who'"):
        asof_join(spine, frame, by="whom")
    with pytest.raises(InvalidValue, match="value"):
        asof_join(spine.assign(value=1), frame, by="who")
