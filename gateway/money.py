"""Money as integers: a nano is a billionth of a US dollar, so that sums are exact in every database.

A price of 0.15 dollars per million tokens is 150 nanos a token.
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

NANOS_PER_DOLLAR = 1_000_000_000


def nanos(dollars: float | Decimal | str) -> int:
    """Dollars as nanos, rounded half to even; a float counts as the decimal number that it is written as."""
    exact = dollars if isinstance(dollars, Decimal) else Decimal(str(dollars))
    return int((exact * NANOS_PER_DOLLAR).to_integral_value(ROUND_HALF_EVEN))


def dollars(amount: int) -> float:
    """Nanos as dollars, for people and JSON."""
    return amount / NANOS_PER_DOLLAR
