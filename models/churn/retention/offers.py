"""Offers as they are brought: a table of what each costs, what it changes, and who may have it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.parsing import as_number, as_text
from store.errors import EmptyData, InvalidValue, MissingColumn, WrongType

COLUMNS = ("name", "cost", "success", "effect", "eligible")
FROM_CAMPAIGN = "campaign"
MOST_OFFERS = 50

# Two conditions run together, as in "band = high, plan = basic"; a level such as "<=18" is none.
_ANOTHER = re.compile(r".*[^<>=!|\s].*=")
_CONDITION = re.compile(r"\s*(?P<column>.+?)\s*(?P<sign>>=|<=|!=|==|=|>|<)\s*(?P<value>.+?)\s*")


@dataclass(frozen=True)
class Condition:
    """One part of a rule: a column, a comparison, and the value or values."""

    column: str
    sign: str
    values: tuple[str, ...]

    def holds(self, frame: pd.DataFrame) -> NDArray[np.bool_]:
        """Whether each row meets it; a missing value meets none but `!=`.

        Raises
        ------
        MissingColumn, WrongType : the column is not there, or holds no numbers to compare with > or <.
        """
        if self.column not in frame.columns:
            listed = ", ".join(map(str, list(frame.columns)[:20]))
            raise MissingColumn(
                f"eligible: there is no column {self.column!r}.", remedy=f"Columns: {listed}.", field=self.column
            )
        series = frame[self.column]
        if self.sign in ("=", "!="):
            wanted = {value.casefold() for value in self.values}
            same = np.asarray([(as_text(one) or "").casefold() in wanted for one in series], dtype=bool)
            return same if self.sign == "=" else ~same
        try:
            found = np.asarray([as_number(one) for one in series], dtype=np.float64)
        except ValueError as error:
            raise WrongType(
                f"eligible: {self.column} {self.sign} {self.values[0]} compares numbers, but {error}.",
                remedy="Use = or != for text.",
                field=self.column,
            ) from None
        bound = float(self.values[0])
        with np.errstate(invalid="ignore"):
            return {">=": found >= bound, "<=": found <= bound, ">": found > bound, "<": found < bound}[self.sign]


@dataclass(frozen=True)
class RetentionOffer:
    """Something that may be offered to a customer.

    Attributes
    ----------
    cost : of making it once, in currency; also where the customer would have stayed.
    success : share of the customers about to leave who stay because of it; or
    effect : by how much it lowers the probability of leaving, at most to 0; or
    from_campaign : whether its effect on each customer comes from a campaign that was handed out at random.
    eligible : all conditions must hold; none: everybody.
    """

    name: str
    cost: float
    success: float | None = None
    effect: float | None = None
    from_campaign: bool = False
    eligible: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        given = [self.success is not None, self.effect is not None, self.from_campaign]
        if sum(given) != 1:
            raise InvalidValue(
                f"The offer {self.name!r} tells {'nothing' if not any(given) else 'more than one thing'} about what "
                "it changes.",
                remedy="Give exactly one of `success` (share of leavers kept) and `effect` (points of probability, or "
                f"{FROM_CAMPAIGN!r}).",
                field="success",
            )
        for field, value, most in (
            ("cost", self.cost, float("inf")),
            ("success", self.success, 1.0),
            ("effect", self.effect, 1.0),
        ):
            if value is not None and not (0.0 <= value <= most and np.isfinite(value)):
                raise InvalidValue(
                    f"The offer {self.name!r} has {field} = {value:g}.",
                    remedy=f"Give {field} between 0 and {'1' if most == 1.0 else 'any amount'}.",
                    field=field,
                    value=value,
                )

    def saved(self, probability: NDArray[np.float64], uplift: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """By how much the probability of leaving falls, per customer.

        Parameters
        ----------
        uplift : from the campaign, for an offer whose effect comes from there; below zero it drives customers away.
        """
        if self.from_campaign:
            if uplift is None:
                raise InvalidValue(
                    f"The effect of the offer {self.name!r} is to come from a campaign, and there is none.",
                    remedy="Give the campaign (--campaign FILE --treatment COLUMN --outcome COLUMN), or a number.",
                    field="effect",
                    value=FROM_CAMPAIGN,
                )
            return np.minimum(uplift, probability)
        if self.success is not None:
            return self.success * probability
        return np.minimum(self.effect or 0.0, probability)

    def may_have(self, frame: pd.DataFrame) -> NDArray[np.bool_]:
        """Which rows are eligible."""
        allowed = np.ones(len(frame), dtype=bool)
        for condition in self.eligible:
            allowed &= condition.holds(frame)
        return allowed

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "cost": self.cost,
            "success": self.success,
            "effect": FROM_CAMPAIGN if self.from_campaign else self.effect,
            "eligible": " and ".join(f"{one.column} {one.sign} {'|'.join(one.values)}" for one in self.eligible)
            or None,
        }


def offer_of(given: Mapping[str, Any], place: str = "") -> RetentionOffer:
    """One offer from its fields.

    Parameters
    ----------
    place : where it stands, for messages: "row 3", "offers[2]".

    Raises
    ------
    MissingColumn, WrongType, InvalidValue : naming the offer, the field and the value.
    """
    where = f"{place}: " if place else ""
    name = as_text(given.get("name"))
    if not name:
        raise InvalidValue(f"{where}an offer has no name.", remedy="Give every offer a name.", field="name")
    effect = given.get("effect")
    from_campaign = isinstance(effect, str) and effect.strip().casefold() == FROM_CAMPAIGN
    cost = _number(given.get("cost"), f"{where}{name}", "cost")
    if cost is None:
        raise InvalidValue(f"{where}the offer {name!r} has no cost.", remedy="Give its cost; 0 is one.", field="cost")
    return RetentionOffer(
        name,
        cost,
        success=_number(given.get("success"), f"{where}{name}", "success"),
        effect=None if from_campaign else _number(effect, f"{where}{name}", "effect"),
        from_campaign=from_campaign,
        eligible=conditions(as_text(given.get("eligible")), name),
    )


def conditions(rule: str | None, name: str = "") -> tuple[Condition, ...]:
    """`"band = high and plan = basic|plus and monthly_price >= 50"` → conditions, all of which must hold.

    Raises
    ------
    InvalidValue : a part is no condition.
    """
    if not rule:
        return ()
    found = []
    for part in re.split(r"\s+and\s+|;", rule, flags=re.IGNORECASE):
        match = _CONDITION.fullmatch(part)
        values = tuple(one.strip() for one in match["value"].split("|") if one.strip()) if match else ()
        numeric = match is not None and match["sign"] in (">=", "<=", ">", "<")
        wrong = numeric and (len(values) > 1 or not _plain_number(values[0])) if values else True
        if match is None or wrong or any(_ANOTHER.match(one) for one in values):
            raise InvalidValue(
                f"The offer {name!r} has eligible = {rule!r}: {part.strip()!r} is no condition.",
                remedy="Write conditions like: band = high and plan = basic|plus and monthly_price >= 50.",
                field="eligible",
                value=rule,
            )
        found.append(Condition(match["column"], match["sign"].replace("==", "="), values))
    return tuple(found)


def offers_of(table: pd.DataFrame) -> list[RetentionOffer]:
    """Offers from a table with the columns name, cost, success or effect, and optionally eligible.

    Raises
    ------
    EmptyData, MissingColumn, WrongType, InvalidValue : saying which row and field, and what to do.
    """
    frame = table.rename(columns=lambda name: str(name).strip().lower())
    absent = [name for name in ("name", "cost") if name not in frame.columns]
    if not {"success", "effect"} & set(frame.columns):
        absent.append("success")
    if absent:
        raise MissingColumn(
            f"The table of offers has no column {', '.join(map(repr, absent))}.",
            remedy=f"Its columns are {', '.join(COLUMNS)}; one of success and effect is enough, eligible may be left "
            "out.",
            field=absent[0],
        )
    if not len(frame):
        raise EmptyData("The table of offers has no rows.", remedy="Give at least one offer.")
    rows = frame.to_dict("records")
    return checked([offer_of({str(k): v for k, v in row.items()}, f"row {i + 1}") for i, row in enumerate(rows)])


def checked(offers: Sequence[RetentionOffer]) -> list[RetentionOffer]:
    """The same offers, when their names differ and they are not too many.

    Raises
    ------
    EmptyData, InvalidValue
    """
    if not offers:
        raise EmptyData("There are no offers.", remedy="Give at least one.", field="offers")
    if len(offers) > MOST_OFFERS:
        raise InvalidValue(
            f"{len(offers)} offers are more than {MOST_OFFERS}.", remedy=f"Give at most {MOST_OFFERS}.", field="offers"
        )
    names = [one.name for one in offers]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InvalidValue(
            f"Two offers are called {twice[0]!r}.", remedy="Give each a name of its own.", field="name", value=twice[0]
        )
    return list(offers)


def _number(value: Any, name: str, field: str) -> float | None:
    try:
        number = as_number(value)
    except (ValueError, TypeError):
        raise WrongType(
            f"{name}: {field} = {str(value)[:60]!r} is no number.",
            remedy="Write a number such as 12.5, or a share such as 0.3 or 30%.",
            field=field,
            value=str(value)[:60],
        ) from None
    return None if np.isnan(number) else number


def _plain_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
