"""Limits that a person sets, beside what is learned: they hold from the first value on.

`below 0`, `above 500`, `change 50%` (from one value to the next), `missing 3` (so many steps without a value),
`flat 7` (so many equal values in a row).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from models.anomaly.checks import Kind
from store.errors import InvalidValue

Test = Literal["above", "below", "change", "missing", "flat"]
_FORM = re.compile(r"\s*(above|below|change|missing|flat)\s+(-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*(%?)\s*")
_KINDS: dict[Test, Kind] = {
    "above": "limit", "below": "limit", "change": "limit", "missing": "missing", "flat": "flat line",
}  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """One limit.

    Attributes
    ----------
    limit : a value of the series; for "change" a share of the last value; for "missing" and "flat" a number of steps.
    """

    test: Test
    limit: float

    @property
    def kind(self) -> Kind:
        return _KINDS[self.test]

    def __str__(self) -> str:
        return (
            f"{self.test} {self.limit:.6%}".replace(".000000", "")
            if self.test == "change"
            else (f"{self.test} {self.limit:g}")
        )

    def broken(self, value: float, before: float, gap: int, equal: int) -> str:
        """What is wrong, in words; "" when nothing is.

        Parameters
        ----------
        value : NaN where it is missing.
        before : the last known value before it; NaN where there is none.
        gap : steps without a value up to this one, it included where it is missing; 0 where none was skipped since
            the last check.
        equal : how many values in a row, this one included, are the same.
        """
        known = math.isfinite(value)
        if self.test == "above" and known and value > self.limit:
            return f"{value:g} is above {self.limit:g}"
        if self.test == "below" and known and value < self.limit:
            return f"{value:g} is below {self.limit:g}"
        if self.test == "change" and known and math.isfinite(before):
            change = abs(value - before)
            if change > self.limit * abs(before):
                said = f"{change / abs(before):.0%}" if before else "from 0"
                return f"changed {said}, more than {self.limit:.0%}"
        if self.test == "missing" and gap >= self.limit:
            return f"{gap} steps without a value"
        if self.test == "flat" and known and equal >= self.limit:
            return f"{equal} equal values in a row"
        return ""


def parse_rule(text: str) -> Rule:
    """`"below 0"` → a rule.

    Raises
    ------
    InvalidValue : it is not written as one of the five.
    """
    found = _FORM.fullmatch(str(text))
    if not found:
        raise _refused(text, "it is not a rule")
    test, number, percent = found.groups()
    limit = float(number)
    if percent and test != "change":
        raise _refused(text, "only a change is in percent")
    if test == "change":
        limit = limit / 100.0 if percent else limit
        if limit <= 0:
            raise _refused(text, "a change is above 0")
    least = {"missing": 1, "flat": 2}.get(test)
    if least is not None and (limit < least or limit != int(limit)):
        raise _refused(text, f"a whole number of steps from {least} on is needed")
    if not math.isfinite(limit):
        raise _refused(text, "the limit is not finite")
    return Rule(test, limit)  # type: ignore[arg-type]  # the pattern admits no other


def parse_rules(text: str) -> tuple[Rule, ...]:
    """`"below 0, missing 3"` → rules; an empty text has none."""
    return tuple(parse_rule(part) for part in re.split(r"[,;]", text) if part.strip())


def _refused(text: str, why: str) -> InvalidValue:
    return InvalidValue(
        f"Rule {text!r}: {why}.",
        remedy='Write rules like "below 0, above 500, change 50%, missing 3, flat 7".',
        field="rules",
        value=text,
    )
