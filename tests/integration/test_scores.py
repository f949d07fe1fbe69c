"""Batches of scores on real SQLite and real Postgres: whole or not at all, the same whoever writes them again."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from store import scores
from store.database import session
from store.errors import EmptyData, InvalidValue, MissingColumn, UnknownEntity, WrongType
from store.score_rows import ScoreRows, checked
from store.scores import LabelCount, Movement, Score
from store.settings import Settings
from store.tables.decisions import ScoreBatchRow, ScoreRow

DAY = datetime(2026, 3, 1)


def frame(**more: object) -> pd.DataFrame:
    body = {"label": ["high", "low", "low"], "value": [0.9, 0.1, 0.25], "reasons": [["a", "b"], [], ["ü"]], **more}
    return pd.DataFrame(body, index=pd.Index(["C1", "C2", "Ć3"], name="customer_id"))


def test_a_batch_is_read_as_it_was_written(on_both: Settings) -> None:
    assert scores.latest(on_both, "churn") is None
    aware = DAY.replace(tzinfo=UTC) + timedelta(hours=2)
    written = scores.write(
        on_both, "churn", 2, aware, frame(x=[np.nan, 1, 2]), snapshot="ab", uri="/s.parquet", flow_run="f"
    )
    assert written == 3
    batch = scores.latest(on_both, "churn")
    assert batch is not None
    assert (batch.version, batch.as_of, batch.rows) == (2, DAY + timedelta(hours=2), 3)
    assert (batch.snapshot, batch.uri, batch.flow_run) == ("ab", "/s.parquet", "f")
    assert scores.get(on_both, "churn", "Ć3") == [
        Score(model="churn", version=2, as_of=batch.as_of, entity_id="Ć3", label="low", value=0.25,
              output={"reasons": ["ü"], "x": 2.0})
    ]  # fmt: skip
    assert scores.get(on_both, "churn", "C1")[0].output == {"reasons": ["a", "b"], "x": None}
    assert scores.get(on_both, "churn", "nobody") == []
    assert scores.get(on_both, "other", "C1") == []
    found = scores.counts(on_both, "churn", version=2, as_of=batch.as_of)
    assert found == [LabelCount("high", 1, 0.9, 0.9), LabelCount("low", 2, pytest.approx(0.175), pytest.approx(0.35))]


def test_the_same_scores_in_any_order_change_nothing(on_both: Settings) -> None:
    assert scores.write(on_both, "churn", 1, DAY, frame(), uri="first") == 3
    first = scores.latest(on_both, "churn")
    again = frame()[["reasons", "value", "label"]].iloc[::-1]
    assert scores.write(on_both, "churn", 1, DAY, again, uri="second") == 0
    assert scores.latest(on_both, "churn") == first


def test_other_scores_of_the_same_moment_replace_the_batch(on_both: Settings) -> None:
    scores.write(on_both, "churn", 1, DAY, frame())
    first = scores.latest(on_both, "churn")
    changed = frame().drop(index="C1").assign(label=["medium", "low"])
    assert scores.write(on_both, "churn", 1, DAY, changed) == 2
    batch = scores.latest(on_both, "churn")
    assert batch is not None
    assert first is not None
    assert batch.digest != first.digest
    assert [count[:2] for count in scores.counts(on_both, "churn", version=1, as_of=DAY)] == [("low", 1), ("medium", 1)]
    assert scores.get(on_both, "churn", "C1") == []
    assert len(scores.batches(on_both, "churn")) == 1


def test_what_a_killed_writer_left_is_not_seen_and_made_whole(on_both: Settings) -> None:
    scores.write(on_both, "churn", 1, DAY, frame())
    whole = scores.latest(on_both, "churn")
    with session(on_both) as opened:  # as after a kill between two batches of rows
        opened.execute(sa.delete(ScoreBatchRow))
        opened.execute(sa.delete(ScoreRow).where(ScoreRow.entity_id == "C2"))
        opened.execute(sa.update(ScoreRow).values(label="half"))
    assert scores.latest(on_both, "churn") is None
    assert scores.get(on_both, "churn", "C1") == []
    with pytest.raises(UnknownEntity, match="Version 1 of 'churn' has no scores as of 2026-03-01"):
        scores.page(on_both, "churn", version=1, as_of=DAY)
    assert scores.write(on_both, "churn", 1, DAY, frame()) == 3
    made = scores.latest(on_both, "churn")
    assert made is not None
    assert whole is not None
    assert made.digest == whole.digest
    assert {one.label for one in scores.page(on_both, "churn", version=1, as_of=DAY).items} == {"high", "low"}


@pytest.mark.parametrize("order", ["value", "entity"])
def test_pages_hold_everybody_once_in_order(on_both: Settings, order: scores.Order) -> None:
    values = [0.5, 0.5, 0.5, 0.1 + 0.2, 0.3, 1.0, 0.0]
    ids = [f"C{place}" for place in range(len(values))]
    rows = pd.DataFrame({"label": "a", "value": values}, index=ids)
    rows.loc["C6", "label"] = "b"
    scores.write(on_both, "m", 1, DAY, rows)
    seen: list[Score] = []
    cursor = None
    while True:
        page = scores.page(on_both, "m", version=1, as_of=DAY, order=order, limit=2, cursor=cursor)
        seen += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    expected = sorted(ids, key=lambda one: (-values[int(one[1])], one)) if order == "value" else ids
    assert [one.entity_id for one in seen] == expected
    only = scores.page(on_both, "m", version=1, as_of=DAY, label="b", order=order)
    assert [one.entity_id for one in only.items] == ["C6"]
    for wrong in ("", "x", "%%%", "W10", "bnVsbA"):
        with pytest.raises(InvalidValue, match="does not continue a list"):
            scores.page(on_both, "m", version=1, as_of=DAY, order=order, cursor=wrong)


def test_history_and_movements_between_two_moments(on_both: Settings) -> None:
    later = DAY + timedelta(days=7)
    scores.write(on_both, "m", 1, DAY, pd.DataFrame({"label": ["a", "a", "b"], "value": 1.0}, index=["1", "2", "3"]))
    scores.write(on_both, "m", 2, later, pd.DataFrame({"label": ["a", "b", "c"], "value": 2.0}, index=["1", "2", "4"]))
    after, before = scores.batches(on_both, "m")
    assert (before.as_of, after.as_of) == (DAY, later)
    found = scores.movements(on_both, "m", before, after)
    assert found == [Movement("a", "a", 1), Movement("a", "b", 1), Movement("b", None, 1), Movement(None, "c", 1)]
    assert [(one.as_of, one.label) for one in scores.get(on_both, "m", "2")] == [(later, "b"), (DAY, "a")]
    assert [one.version for one in scores.batches(on_both, "m", version=1)] == [1]
    assert scores.latest(on_both, "m", version=1) == before


def test_two_writers_leave_the_batch_of_one_of_them(on_both: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = threading.Barrier(2)

    def checked_together(rows: pd.DataFrame) -> ScoreRows:
        found = checked(rows)
        meeting.wait(timeout=60)
        return found

    monkeypatch.setattr(scores, "checked", checked_together)
    ids = [f"C{number:05}" for number in range(6_000)]
    ones = pd.DataFrame({"label": "one", "value": 1.0}, index=ids)
    others = pd.DataFrame({"label": "other", "value": 2.0}, index=ids[:5_500])
    writers = [threading.Thread(target=scores.write, args=(on_both, "m", 1, DAY, rows)) for rows in (ones, others)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    batch = scores.latest(on_both, "m")
    assert batch is not None
    assert [one[:2] for one in scores.counts(on_both, "m", version=1, as_of=DAY)] in (
        [("one", 6_000)],
        [("other", 5_500)],
    )
    assert batch.rows in (6_000, 5_500)


@pytest.mark.parametrize(
    ("rows", "error", "words"),
    [
        (frame().iloc[:0], EmptyData, "nobody"),
        (frame().drop(columns="label"), MissingColumn, "no column 'label'"),
        (frame(value=[1.0, np.inf, 0]), InvalidValue, "'C2' has the value 'inf'"),
        (frame(value=[1.0, None, 0]), InvalidValue, "'C2' has the value 'nan'"),
        (frame(value=["1", "much", "2"]), WrongType, "'C2' has the value 'much'"),
        (frame(label=["a", None, "b"]), InvalidValue, "'C2' has no label"),
        (frame(label=["a", "b" * 65, "c"]), InvalidValue, "65 characters"),
        (frame().set_axis(["1", "2", "1"]), InvalidValue, "'1' twice"),
        (frame().set_axis(["1", "2", None]), InvalidValue, "without an id, in row 3"),
        (frame().set_axis(["1", "2", "x" * 257]), InvalidValue, "257 characters"),
    ],
)  # fmt: skip
def test_unsuitable_scores_are_refused_by_name(
    settings: Settings, rows: pd.DataFrame, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        scores.write(settings, "m", 1, DAY, rows)
    assert scores.batches(settings, "m") == []
