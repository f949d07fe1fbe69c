"""The digest sees every cell and every type, and nothing else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from features.digest import TableDigest, frame_digest, frame_to_arrow, table_digest
from store.errors import WrongType

texts = st.one_of(st.none(), st.text(max_size=20), st.sampled_from(["", "a", "a" * 600, "ü" * 9]))
floats = st.floats(allow_nan=True, allow_infinity=True)
rows = st.lists(
    st.tuples(texts, st.integers(-(2**63), 2**63 - 1), floats, st.booleans(), st.integers(0, 10**15)),
    min_size=1,
    max_size=20,
)


def as_frame(values) -> pd.DataFrame:
    frame = pd.DataFrame(values, columns=["text", "whole", "number", "flag", "moment"])
    return frame.astype({"text": "str", "whole": "int64", "number": "float64", "flag": "bool"}).assign(
        moment=lambda f: f["moment"].astype("datetime64[us]")
    )


@given(rows, st.randoms())
@hypothesis_settings(max_examples=80, deadline=None)
def test_order_and_batches_play_no_part(values, random) -> None:
    frame = as_frame(values)
    digest = frame_digest(frame)
    order = list(range(len(frame)))
    random.shuffle(order)
    assert frame_digest(frame.iloc[order]) == digest
    table = frame_to_arrow(frame)
    stream = TableDigest(table.schema)
    for start in range(0, len(frame), 3):
        for batch in table.slice(start, 3).to_batches():
            stream.update(batch)
    assert stream.hexdigest() == digest
    # Slices share buffers with an offset, chunks do not: neither may show.
    assert table_digest(pa.concat_tables([table.slice(i, 1) for i in range(len(frame))])) == digest
    assert frame_digest(table.to_pandas()) == digest


def same(one, other) -> bool:
    if isinstance(one, float) and np.isnan(one):
        one = None
    if isinstance(other, float) and np.isnan(other):
        other = None
    return bool(one == other)


@given(rows, rows, st.data())
@hypothesis_settings(max_examples=150, deadline=None)
def test_any_changed_cell_changes_it(values, others, data) -> None:
    row = data.draw(st.integers(0, len(values) - 1))
    column = data.draw(st.integers(0, 4))
    value = others[0][column]
    assume(not same(values[row][column], value))
    changed = [list(r) for r in values]
    changed[row][column] = value
    assert frame_digest(as_frame(changed)) != frame_digest(as_frame(values))


@given(rows)
@hypothesis_settings(max_examples=40, deadline=None)
def test_a_lost_or_repeated_row_changes_it(values) -> None:
    digest = frame_digest(as_frame(values))
    assert frame_digest(as_frame([*values, values[0]])) != digest
    assert frame_digest(as_frame(values).iloc[1:]) != digest


def test_swapping_two_cells_changes_it() -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [1, 2]})
    assert frame_digest(frame) != frame_digest(pd.DataFrame({"a": [1, 2], "b": [2, 1]}))
    assert frame_digest(frame) != frame_digest(frame.rename(columns={"a": "b", "b": "a"}))
    assert frame_digest(frame) != frame_digest(frame[["b", "a"]])


@pytest.mark.parametrize(
    "dtype", ["float64", "int32", "str", "bool", "datetime64[us]", "category", "uint64", "float32"]
)
def test_another_type_is_another_digest(dtype: str) -> None:
    frame = pd.DataFrame({"a": [0, 1, 1]})
    assert frame_digest(frame.astype(dtype)) != frame_digest(frame)


def test_what_counts_as_the_same() -> None:
    assert frame_digest(pd.DataFrame({"a": [-0.0]})) == frame_digest(pd.DataFrame({"a": [0.0]}))
    other_nan = np.array([0xFFF8000000000001], dtype=np.uint64).view(np.float64)
    assert frame_digest(pd.DataFrame({"a": other_nan})) == frame_digest(pd.DataFrame({"a": [np.nan]}))
    text = pd.DataFrame({"a": ["x", None]})
    assert frame_digest(text.astype("object")) == frame_digest(text.astype("str"))
    assert frame_digest(text) != frame_digest(pd.DataFrame({"a": ["x", ""]}))
    assert frame_digest(pd.DataFrame({"a": [1, 2]}, index=[8, 9])) == frame_digest(pd.DataFrame({"a": [1, 2]}))
    nullable = pd.DataFrame({"a": pd.array([1, None], dtype="Int64")})
    assert frame_digest(nullable) == frame_digest(pd.DataFrame({"a": [1.0, np.nan]}))


def test_it_is_the_same_on_every_machine() -> None:
    frame = as_frame([("a", 1, 0.5, True, 0), (None, -1, np.nan, False, 10**15), ("üb" * 400, 0, -1e300, True, 1)])
    assert frame_digest(frame) == "39e63d86f6571049b388de3cdfcef34f70155c0f94cd35e9914a72b097ed9cab"


def test_mixed_and_nested_columns_are_named() -> None:
    with pytest.raises(WrongType, match="'odd'"):
        frame_digest(pd.DataFrame({"odd": [1, "x"]}))
    with pytest.raises(WrongType, match="'deep'"):
        frame_digest(pd.DataFrame({"deep": [[1], [2]]}))
