"""Moments at the rim: stored as naive UTC, told with their zone, taken with or without one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator

_FIRST, _LAST = datetime(2, 1, 1), datetime(9999, 12, 31, 23)
_NO_MOMENT = "should lie between the years 2 and 9999, UTC"


def with_zone(moment: datetime) -> datetime:
    """A naive UTC moment as what it is."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def without_zone(moment: datetime) -> datetime:
    """A moment as it is stored; one that came without a zone counts as UTC.

    Raises
    ------
    ValueError : so near to the first or the last moment there is that nothing can be reckoned from it.
    """
    try:
        stored = moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        raise ValueError(_NO_MOMENT) from None
    if not _FIRST <= stored <= _LAST:
        raise ValueError(_NO_MOMENT)
    return stored


def unix(moment: datetime) -> int:
    """A naive UTC moment as seconds since 1970, as OpenAI's objects tell moments."""
    return int(moment.replace(tzinfo=UTC).timestamp())


Moment = Annotated[datetime, AfterValidator(with_zone)]
GivenMoment = Annotated[datetime, AfterValidator(without_zone)]
