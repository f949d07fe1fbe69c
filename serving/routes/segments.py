"""Segments of customers: what they are, who is in them, and who went where."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query

from serving.champions import Champion
from serving.dependencies import Application, Services, ServicesDep
from serving.limits import LARGEST_NUMBER
from serving.moments import GivenMoment
from serving.segment_answers import (
    Analytics,
    Flow,
    History,
    HistoryEntry,
    Member,
    MemberPage,
    MomentOfSegments,
    Movements,
    SegmentAnswer,
    SegmentDetail,
    SegmentList,
    SegmentSize,
    Typical,
)
from store import scores
from store.errors import MeritError, UnknownEntity
from store.scores import LabelCount, Score, ScoreBatch

router = APIRouter(prefix="/v1/segments", tags=["Segments"])

FAMILY = "segmentation"
MOST_BATCHES = 1000

Model = Annotated[str, Query(description="Name of a registered segmentation model", max_length=256)]
At = Annotated[
    GivenMoment | None, Query(description="The newest scores not later than this moment (UTC unless it says)")
]
SegmentId = Annotated[int, Path(description="Id of a segment", ge=1, le=LARGEST_NUMBER)]


@router.get("", summary="List segments")
def listed(services: ServicesDep, _caller: Application, model: Model = FAMILY) -> SegmentList:
    """What the champion divides the customers into, in words, with size and value.

    Counted over the champion's newest scores (`merit score segmentation`); before there are any, over the customers
    that it was made with.
    """
    champion = services.champions.get(model, FAMILY)
    batch, counts = _counts(services, champion)
    segments = [_segment(one, counts, batch) for one in _ordered(champion)]
    value = champion.model.value
    return SegmentList(
        segments=segments,
        customers=sum(one.customers for one in segments),
        value_days=round(value.terms.value_days) if value else None,
        model=champion.name,
        version=champion.version,
        as_of=batch.as_of if batch else None,
    )


@router.get("/analytics", summary="Sizes and values over time")
def analytics(
    services: ServicesDep,
    _caller: Application,
    model: Model = FAMILY,
    limit: Annotated[int, Query(ge=1, le=100, description="Moments at most")] = 24,
) -> Analytics:
    """Every moment that was scored, newest first; of one moment the version that was scored last."""
    names = _names(services, model)
    moments = []
    for batch in _by_moment(services, model)[:limit]:
        counts = scores.counts(services.settings, model, version=batch.version, as_of=batch.as_of)
        total = sum(one.rows for one in counts)
        moments.append(
            MomentOfSegments(
                as_of=batch.as_of,
                version=batch.version,
                customers=total,
                total_value=sum(one.total_value for one in counts),
                segments=[
                    SegmentSize(
                        segment=int(one.label),
                        name=names.get(int(one.label)),
                        customers=one.rows,
                        share=one.rows / total,
                        mean_value=one.mean_value,
                        total_value=one.total_value,
                    )
                    for one in sorted(counts, key=lambda item: int(item.label))
                ],
            )
        )
    return Analytics(model=model, moments=moments)


@router.get("/movements", summary="Who went where between two moments")
def movements(
    services: ServicesDep,
    _caller: Application,
    model: Model = FAMILY,
    before: At = None,
    after: At = None,
) -> Movements:
    """The matrix of customers by the segment they were in and the one they are in, and the flows between them.

    By default between the newest moment that was scored and the one before it. Segments keep their ids, so that two
    versions can be compared.
    """
    batches = _by_moment(services, model)
    later = _at(batches, after, model)
    earlier = _at([one for one in batches if one.as_of < later.as_of], before, model, later)
    names = _names(services, model)
    found = scores.movements(services.settings, model, earlier, later)
    cells = {(_id(move.before), _id(move.after)): move.rows for move in found}
    ids = sorted({one for pair in cells for one in pair if one is not None})
    sizes = {one: sum(rows for (here, _), rows in cells.items() if here == one) for one in ids}
    moved = [
        Flow(before=here, after=there, customers=rows, share_of_before=rows / sizes[here] if here is not None else None)
        for (here, there), rows in cells.items()
        if here != there
    ]
    return Movements(
        model=model,
        before=earlier.as_of,
        before_version=earlier.version,
        after=later.as_of,
        after_version=later.version,
        segments=ids,
        names={one: names.get(one) for one in ids},
        matrix=[[cells.get((row, column), 0) for column in ids] for row in ids],
        flows=sorted(moved, key=lambda flow: (-flow.customers, flow.before or 0, flow.after or 0)),
        stayed=sum(rows for (here, there), rows in cells.items() if here == there),
        moved=sum(rows for (here, there), rows in cells.items() if None not in (here, there) and here != there),
        came=sum(rows for (here, _), rows in cells.items() if here is None),
        left=sum(rows for (_, there), rows in cells.items() if there is None),
    )


@router.get("/customers/{customer_id}/history", summary="A customer's segments over time")
def history(
    services: ServicesDep,
    _caller: Application,
    customer_id: Annotated[str, Path(description="Id of a customer", max_length=256)],
    model: Model = FAMILY,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> History:
    """Every moment at which the customer was scored, newest first."""
    found = scores.get(services.settings, model, customer_id, limit=limit)
    if not found:
        raise UnknownEntity(
            f"No segment is known of the customer {customer_id[:80]!r}.",
            remedy=f"Check the id, or score everybody with `merit score {model}`.",
            field="customer_id",
            value=customer_id[:80],
        )
    entries = [
        HistoryEntry(
            as_of=one.as_of,
            version=one.version,
            segment=int(one.label),
            name=one.output.get("name"),
            value=one.value,
            p_alive=one.output.get("p_alive"),
        )
        for one in found
    ]
    return History(customer_id=customer_id, model=model, history=entries)


@router.get("/{segment_id}", summary="One segment")
def read(segment_id: SegmentId, services: ServicesDep, _caller: Application, model: Model = FAMILY) -> SegmentDetail:
    """The words and the numbers behind them: what its customers do, and what they did in the period after."""
    champion = services.champions.get(model, FAMILY)
    segment = champion.model.segment(segment_id)
    batch, counts = _counts(services, champion)
    place = champion.model.segments.index(segment)
    ahead = champion.model.outlook.means[place]
    return SegmentDetail(
        **_segment(segment, counts, batch).model_dump(),
        sides=dict(segment.wording.sides),
        typical={name: Typical(segment=one, all=all_) for name, (one, all_) in segment.wording.typical.items()},
        next_period={
            name.removeprefix("next_"): round(math.expm1(value), 6)
            for name, value in zip(champion.model.outlook.targets, ahead.tolist(), strict=True)
        },
        horizon_days=champion.model.horizon_days,
        model=champion.name,
        version=champion.version,
        as_of=batch.as_of if batch else None,
    )


@router.get("/{segment_id}/members", summary="Members of a segment")
def members(
    segment_id: SegmentId,
    services: ServicesDep,
    _caller: Application,
    model: Model = FAMILY,
    as_of: At = None,
    order: Annotated[Literal["value", "customer"], Query(description="Highest value first, or by id")] = "value",
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before", max_length=2_000)] = None,
) -> MemberPage:
    """The customers that were in the segment when everybody was last scored, or at an earlier moment."""
    batch = _at(_by_moment(services, model), as_of, model)
    counted = scores.counts(services.settings, model, version=batch.version, as_of=batch.as_of)
    if str(segment_id) not in {one.label for one in counted}:
        known = {one.id for one in _champion_segments(services, model)} | {int(one.label) for one in counted}
        if segment_id not in known:
            raise UnknownEntity(
                f"There is no segment {segment_id}.",
                remedy=f"The segments are {', '.join(str(one) for one in sorted(known))}.",
                field="segment_id",
                value=segment_id,
            )
    found = scores.page(
        services.settings,
        model,
        version=batch.version,
        as_of=batch.as_of,
        label=str(segment_id),
        order="value" if order == "value" else "entity",
        limit=limit,
        cursor=cursor,
    )
    return MemberPage(
        members=[_member(one) for one in found.items],
        model=model,
        version=batch.version,
        as_of=batch.as_of,
        next_cursor=found.next_cursor,
    )


def _counts(services: Services, champion: Champion) -> tuple[ScoreBatch | None, Mapping[int, LabelCount]]:
    """The newest scores of the champion's own version, and its segments in them."""
    batch = scores.latest(services.settings, champion.name, version=champion.version)
    if batch is None:
        return None, {}
    counts = scores.counts(services.settings, champion.name, version=batch.version, as_of=batch.as_of)
    return batch, {int(one.label): one for one in counts}


def _segment(one: Any, counts: Mapping[int, LabelCount], batch: ScoreBatch | None) -> SegmentAnswer:
    words = {"id": one.id, "name": one.name, "description": one.wording.description}
    if batch is None:
        total = None if one.mean_value is None else one.mean_value * one.rows
        numbers = {"customers": one.rows, "share": one.share, "mean_value": one.mean_value, "total_value": total}
        return SegmentAnswer(**words, **numbers)
    count = counts.get(one.id)
    rows = count.rows if count else 0
    return SegmentAnswer(
        **words,
        customers=rows,
        share=rows / batch.rows if batch.rows else 0.0,
        mean_value=count.mean_value if count else None,
        total_value=count.total_value if count else 0.0,
    )


def _ordered(champion: Champion) -> list[Any]:
    return sorted(champion.model.segments, key=lambda one: one.id)


def _champion_segments(services: Services, model: str) -> Sequence[Any]:
    try:
        return _ordered(services.champions.get(model, FAMILY))
    except MeritError:
        return ()


def _names(services: Services, model: str) -> dict[int, str]:
    """Names of the champion's segments; an id that only earlier versions know has none."""
    services.champions.get(model, FAMILY)  # an unknown model is an error rather than an empty list
    return {one.id: one.name for one in _champion_segments(services, model)}


def _by_moment(services: Services, model: str) -> list[ScoreBatch]:
    """One batch a moment, newest first: of several versions the one that was scored last.

    Raises
    ------
    UnknownEntity : nothing was scored.
    """
    services.champions.get(model, FAMILY)
    seen: set[datetime] = set()
    out = []
    for batch in scores.batches(services.settings, model, limit=MOST_BATCHES):
        if batch.as_of not in seen:
            seen.add(batch.as_of)
            out.append(batch)
    if not out:
        raise UnknownEntity(
            f"{model} has not scored anybody yet.", remedy=f"Run `merit score {model}`.", field="model", value=model
        )
    return out


def _at(
    batches: Sequence[ScoreBatch], moment: datetime | None, model: str, later: ScoreBatch | None = None
) -> ScoreBatch:
    found = next((one for one in batches if moment is None or one.as_of <= moment), None)
    if found is None:
        which = f"before {later.as_of.isoformat(sep=' ')}" if later else "at or before that moment"
        raise UnknownEntity(
            f"Nobody was scored {which}.",
            remedy=f"Ask for a later moment, or score an earlier one: `merit score {model} --as-of DATE`.",
            field="before" if later else "as_of",
            value=moment.isoformat() if moment else None,
        )
    return found


def _id(label: str | None) -> int | None:
    return None if label is None else int(label)


def _member(one: Score) -> Member:
    known = {name: one.output.get(name) for name in ("value_low", "value_high", "expected_purchases", "p_alive")}
    return Member(
        customer_id=one.entity_id,
        segment=int(one.label),
        name=one.output.get("name"),
        value=one.value,
        confidence=one.output.get("confidence"),
        **known,
    )
