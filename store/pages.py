"""Long lists in pages: newest first, each page naming where the next one starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute

from store.database import session
from store.errors import InvalidValue
from store.settings import Settings

MOST = 1000
Item = TypeVar("Item")
Row = TypeVar("Row")


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Part of a list.

    Attributes
    ----------
    next_cursor : give it as `cursor` to get the page after this one; None on the last.
    """

    items: tuple[Item, ...]
    next_cursor: str | None


def storable(text: str) -> str:
    """`text` without the character NUL, which Postgres cannot hold; it would fail every row written along with it."""
    return text.replace("\x00", "\ufffd")


def checked_limit(limit: int) -> int:
    """`limit`, when it lies between 1 and 1,000.

    Raises
    ------
    InvalidValue : it does not.
    """
    if not 1 <= limit <= MOST:
        raise InvalidValue(
            f"limit={limit} is not between 1 and {MOST}.",
            remedy=f"Ask for 1 to {MOST} at a time.",
            field="limit",
            value=limit,
        )
    return limit


def foreign_cursor(cursor: str) -> InvalidValue:
    """The error for a cursor that cannot be read."""
    return InvalidValue(
        f"The cursor {cursor[:80]!r} was given by no page.",
        remedy="Use `next_cursor` of the page before as it is.",
        field="cursor",
        value=cursor[:80],
    )


def moment_and_id(cursor: str) -> tuple[datetime, str]:
    """What a cursor `MOMENT_ID` of a list ordered by time says.

    Raises
    ------
    InvalidValue : it is none.
    """
    at, _, row_id = cursor.partition("_")
    try:
        return datetime.fromisoformat(at).replace(tzinfo=None), storable(row_id)
    except ValueError:
        raise foreign_cursor(cursor) from None


def page_of(rows: Sequence[Row], limit: int, item: Callable[[Row], Item], key: Callable[[Row], str]) -> Page[Item]:
    """A page from up to `limit + 1` rows: the one too many only says that there is more."""
    shown = rows[:limit]
    return Page(tuple(item(row) for row in shown), key(shown[-1]) if len(rows) > limit else None)


def newest(
    settings: Settings,
    query: sa.Select[tuple[Row]],
    key: InstrumentedAttribute[str],
    item: Callable[[Row], Item],
    *,
    limit: int,
    cursor: str | None,
) -> Page[Item]:
    """A page of rows whose ids sort by the time they were made, newest first.

    Parameters
    ----------
    query : of whole rows, as yet in no order.
    key : the column of their ids.

    Raises
    ------
    InvalidValue : `limit` lies outside 1 to 1,000.
    """
    query = query.order_by(key.desc()).limit(checked_limit(limit) + 1)
    if cursor is not None:
        query = query.where(key < storable(cursor))
    with session(settings, readonly=True) as opened:
        rows: Sequence[Any] = opened.scalars(query).all()
        return page_of(rows, limit, item, lambda row: str(getattr(row, key.key)))
