"""What came of an implemented price: told by the version that recommended it, which alone knows what was expected."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd

from models.families import Spec
from serving.dependencies import Services
from serving.pricing_requests import FAMILY, Observation
from store.errors import InvalidValue
from store.recommendations import Recommendation


def measured(services: Services, found: Recommendation, observed: Sequence[Observation]) -> dict[str, Any]:
    """Realised against expected revenue of an implemented recommendation; JSON-ready.

    Raises
    ------
    InvalidValue : a day comes twice, lies before the price held or in the future, or the model cannot speak of it.
    UnknownVersion, IntegrityFailed : the version that recommended it is no longer there.
    """
    from models.pricing import outcomes  # with its demand models, which serving needs for nothing else

    assert found.implemented is not None
    frame = _frame(observed, date.fromisoformat(found.implemented["at"]))
    return outcomes.measured(
        _model(services, found),
        found.product,
        found.segment,
        price=float(found.implemented["price"]),
        before=float(found.advice["current_price"]),
        observed=frame,
        level=float(found.request["level"]),
    )


def _frame(observed: Sequence[Observation], since: date) -> pd.DataFrame:
    """`date` (datetime64) and `quantity` (float64), in the order of days."""
    latest = (datetime.now(UTC) + timedelta(days=1)).date()
    seen: set[date] = set()
    for place, one in enumerate(observed):
        problem, remedy = "", ""
        if one.date in seen:
            problem, remedy = "comes twice", "Send each day once, with the sum of what was sold."
        elif one.date < since:
            problem = f"lies before {since}, the first day of the implemented price"
            remedy = "Send the days on which it held."
        elif one.date > latest:
            problem, remedy = "lies in the future", "Send days that are over."
        if problem:
            raise InvalidValue(
                f"observed[{place}].date = {one.date} {problem}.",
                remedy=remedy,
                field=f"observed.{place}.date",
                value=one.date.isoformat(),
            )
        seen.add(one.date)
    frame = pd.DataFrame({"date": [one.date for one in observed], "quantity": [one.quantity for one in observed]})
    frame["date"] = pd.to_datetime(frame["date"])
    return frame.sort_values("date", ignore_index=True)


def _model(services: Services, found: Recommendation) -> Any:
    """The version that made a recommendation: the champion in memory, or read again from the registry."""
    standing = next((one for one in services.champions.standings() if one.name == found.model), None)
    if standing is not None and standing.champion is not None and standing.champion.version == found.version:
        return standing.champion.model
    return Spec(FAMILY, found.model).build().load(services.registry.fetch(found.model, found.version))
