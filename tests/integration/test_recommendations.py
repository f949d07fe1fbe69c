"""Recommendations on real SQLite and real Postgres: each moves once along each step, and the sums are right."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from store import recommendations as stored
from store.database import migrate
from store.errors import InvalidValue, StateConflict, UnknownEntity
from store.recommendation_totals import Sum, overall, totals
from store.recommendations import Recommendation
from store.settings import Settings
from store.tables.base import utc_now


def bounds(value: float, width: float = 1.0) -> dict[str, float]:
    return {"value": value, "low": value - width, "high": value + width}


def made(product: str = "tea", *, gain: float | None = 5.0, **values: Any) -> Recommendation:
    advice = {"advised": True, "price": 2.5, "gain_revenue": bounds(gain or 0), "gain_margin": bounds((gain or 0) / 2)}
    if gain is None:
        advice = {"advised": False, "reason": "cannot advise, because …", "gain_revenue": None, "gain_margin": None}
    given = {
        "model": "pricing",
        "version": 1,
        "product": product,
        "state": "proposed" if gain is not None else "cannot_advise",
        "request": {"product": product, "level": 0.9},
        "advice": advice,
        **values,
    }
    return Recommendation(**given)


def test_a_recommendation_comes_back_whole(on_both: Settings) -> None:
    one = made(
        segment="süd",
        digest="d" * 64,
        run_id="r",
        git_commit="g",
        request_id="q",
        caller="shop",
        advice={"advised": np.bool_(True), "price": np.float64(2.5), "position": float("nan"), "binding": ["floor"]},
    )
    stored.create(on_both, [one])
    stored.create(on_both, [])
    seen = stored.get(on_both, one.id)
    assert seen == replace(one, advice={"advised": True, "price": 2.5, "position": None, "binding": ["floor"]})
    for unknown in ("nope", "\x00"):
        with pytest.raises(UnknownEntity):
            stored.get(on_both, unknown)
        with pytest.raises(UnknownEntity):
            stored.dismiss(on_both, unknown)


def test_all_of_a_batch_or_none(on_both: Settings) -> None:
    with pytest.raises((sa.exc.StatementError, TypeError)):
        stored.create(on_both, [made(), made(request={"x": object()})])
    assert stored.page(on_both).items == ()
    one = made("a\x00b", caller="\x00")
    stored.create(on_both, [one])
    assert stored.page(on_both, product="a\x00b").items[0].product == "a\ufffdb"


def test_pages_and_filters(on_both: Settings) -> None:
    start = utc_now()
    rows = [
        made(
            f"p{n % 3}",
            gain=None if n == 4 else 1.0,
            version=1 + n % 2,
            segment="north" if n % 2 else None,
            caller=f"c{n}",
        )
        for n in range(9)
    ]
    stored.create(on_both, rows)
    seen: list[str] = []
    cursor = None
    while True:
        page = stored.page(on_both, limit=4, cursor=cursor)
        seen += [one.id for one in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [one.id for one in reversed(rows)]

    def ids(**filters: Any) -> set[str]:
        return {one.id for one in stored.page(on_both, **filters).items}

    assert ids(product="p2") == {rows[n].id for n in (2, 5, 8)}
    assert ids(product="p2", version=2) == {rows[5].id}
    assert ids(segment="north") == {rows[n].id for n in (1, 3, 5, 7)}
    assert ids(state="cannot_advise") == {rows[4].id}
    assert ids(caller="c3") == {rows[3].id}
    assert ids(model="other") == set()
    assert ids(since=start) == set(seen)
    assert ids(until=start) == set()
    assert ids(since=rows[6].created_at) == {one.id for one in rows if one.created_at >= rows[6].created_at}
    assert ids(since=start + timedelta(hours=1)) == set()
    with pytest.raises(InvalidValue):
        stored.page(on_both, limit=0)


def test_each_move_happens_once(on_both: Settings) -> None:
    one, other, unsure = made(), made(), made(gain=None)
    stored.create(on_both, [one, other, unsure])
    with pytest.raises(StateConflict, match=r"is proposed since .* cannot become measured"):
        stored.measure(on_both, one.id, {"days": 3})
    done = stored.implement(on_both, one.id, price=2.4, at=date(2026, 3, 1), by="ada")
    assert done.state == "implemented"
    assert done.implemented == {**(done.implemented or {}), "price": 2.4, "at": "2026-03-01", "by": "ada"}
    assert done.updated_at > done.created_at
    for again in (
        lambda: stored.implement(on_both, one.id, price=9.0, at=date(2026, 4, 1)),
        lambda: stored.dismiss(on_both, one.id),
    ):
        with pytest.raises(StateConflict, match=r"implemented at 2\.4 from 2026-03-01") as caught:
            again()
        assert (caught.value.field, caught.value.value) == ("state", "implemented")
        assert "outcome" in caught.value.remedy
    assert stored.get(on_both, one.id) == done
    last = stored.measure(on_both, one.id, {"days": 3, "revenue": 7.0, "low": float("nan")}, by="bo")
    assert last.state == "measured"
    assert last.measured == {**(last.measured or {}), "days": 3, "revenue": 7.0, "low": None, "by": "bo"}
    assert last.implemented == done.implemented
    with pytest.raises(StateConflict, match="is measured"):
        stored.measure(on_both, one.id, {"days": 4})

    gone = stored.dismiss(on_both, other.id, reason="too\x00 dear", by="bo")
    assert (gone.state, (gone.dismissed or {})["reason"], gone.implemented) == ("dismissed", "too\ufffd dear", None)
    with pytest.raises(StateConflict, match="is dismissed"):
        stored.implement(on_both, other.id, price=1.0, at=date(2026, 1, 1))
    # The price of an experiment is set where no advice could be given.
    assert stored.implement(on_both, unsure.id, price=1.0, at=date(2026, 1, 1)).state == "implemented"


def test_of_many_who_decide_at_once_one_does(on_both: Settings) -> None:
    migrate(on_both)
    one = made()
    stored.create(on_both, [one])
    won: list[float] = []
    refused: list[StateConflict] = []
    barrier = threading.Barrier(8)

    def decide(price: float) -> None:
        barrier.wait()
        try:
            if price % 2:
                stored.implement(on_both, one.id, price=price, at=date(2026, 1, 1))
            else:
                stored.dismiss(on_both, one.id, reason=str(price))
        except StateConflict as conflict:
            refused.append(conflict)
        else:
            won.append(price)

    threads = [threading.Thread(target=decide, args=(float(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(refused)) == (1, 7)
    kept = stored.get(on_both, one.id)
    said = (kept.implemented or {}).get("price") or float((kept.dismissed or {}).get("reason", "nan"))
    assert said == won[0]
    assert (kept.implemented is None) != (kept.dismissed is None)


def test_totals_by_product_count_the_newest_question_once(on_both: Settings) -> None:
    rows = [
        made("tea", gain=100.0, segment="north"),  # asked again below
        made("tea", gain=10.0, segment="north"),
        made("tea", gain=1.0, segment="south"),
        made("jam", gain=7.0, segment="north"),  # covered by the next, which is for all segments
        made("jam", gain=8.0),
        made("jam", gain=None, caller="shop"),
        made("tea", gain=20.0, segment="west"),
        made("tea", gain=30.0, segment="west"),
    ]
    stored.create(on_both, rows)
    for row in rows[6:]:
        stored.implement(on_both, row.id, price=2.4, at=date(2026, 3, 1))
    outcome = {
        "revenue": 50.0,
        "verdict": "above",
        "expected_revenue": bounds(40.0, 4.0),
        "gained_revenue": bounds(12.0, 3.0),
    }
    stored.measure(on_both, rows[7].id, outcome)
    stored.dismiss(on_both, rows[5].id)
    found = totals(on_both)
    assert list(found) == ["jam", "tea"]
    tea, jam = found["tea"], found["jam"]
    assert tea.counts == {"proposed": 3, "cannot_advise": 0, "implemented": 1, "dismissed": 0, "measured": 1}
    assert tea.open_revenue == Sum(2, 11.0, 9.0, 13.0)
    assert tea.open_margin == Sum(2, 5.5, 3.5, 7.5)
    assert tea.implemented_revenue == Sum(2, 50.0, 48.0, 52.0)
    assert (tea.revenue, tea.expected_revenue) == (50.0, Sum(1, 40.0, 36.0, 44.0))
    assert tea.gained_revenue == Sum(1, 12.0, 9.0, 15.0)
    assert tea.verdicts == {"above": 1}
    assert (jam.asked, jam.advised, jam.open_revenue) == (3, 2, Sum(1, 8.0, 7.0, 9.0))
    whole = overall(found.values())
    assert (whole.asked, whole.advised, whole.open_revenue) == (8, 7, Sum(3, 19.0, 16.0, 22.0))
    assert whole.counts["dismissed"] == 1
    assert list(totals(on_both, caller="shop")) == ["jam"]
    assert totals(on_both, product="tea", version=2) == {}
    assert overall([]).asked == 0
