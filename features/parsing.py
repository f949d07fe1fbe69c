"""Reading values as people write them: numbers, yes and no, dates, and the many ways of saying "not there"."""

from __future__ import annotations

import math
import re
from decimal import Decimal as DecimalNumber
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Decimal = Literal[".", ","]

MISSING_WORDS = frozenset({"", "na", "n/a", "nan", "none", "null", "nil", "<na>", "nat", "-", "--", "?", "#n/a"})
TRUE_WORDS = frozenset({"yes", "y", "true", "t", "1", "1.0", "on"})
FALSE_WORDS = frozenset({"no", "n", "false", "f", "0", "0.0", "off"})

_SYMBOLS = re.compile(
    r"[\s\u00a0'_€$£¥₹₽₺₩%]|EUR|USD|GBP|CHF|SEK|NOK|DKK|ISK|PLN|CZK|HUF|RON|TRY|JPY|CNY|INR|AUD|NZD|CAD|BRL|MXN|ZAR|"
    r"kr\.?$|zł$|Kč$",
    re.IGNORECASE,
)
_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_COMMA_DECIMAL = re.compile(r"[+-]?\d{1,3}(\.\d{3})+,\d+|[+-]?\d+,(\d{1,2}|\d{4,})")
_COMMA_WRITTEN = re.compile(r"[+-]?((\d+|\d{1,3}(\.\d{3})+)(,\d*)?|,\d+)([eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
_YEAR = r"(19|20)\d\d"
_MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DATE_SHAPE = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}|\d{1,2}[./]\d{1,2}[./]\d{2,4}|\d{4}/\d{1,2}/\d{1,2}"
    rf"|{_YEAR}[-/]\d{{1,2}}$|\d{{1,2}}[-/]{_YEAR}$|{_YEAR}[ -]{_MONTH}$"
    rf"|(\d{{1,2}}[. -]+)?{_MONTH}[ ,-]+(\d{{1,2}}, ?)?({_YEAR}|\d\d)\b",
    re.IGNORECASE,
)
_DAY_AND_MONTH = re.compile(r"^\s*(\d{1,2})[./-](\d{1,2})[./-](?:\d{4}|\d{2})\b")
_PERIOD = re.compile(rf"{_YEAR}[ -]?(Q[1-4]|W\d\d)|Q[1-4][ -/]?{_YEAR}", re.IGNORECASE)
_DATE_NAME = re.compile(
    r"date|time|stamp|epoch|(^|[_\W])(at|on|ts|dt|dob|day|month|period|since|created|updated|seen|login|signup)($|[_\W])",
    re.IGNORECASE,
)
_CAMEL_DATE = re.compile(r"[a-z](At|On|Ts)$")


def is_missing(value: Any) -> bool:
    """None, NaN, NaT and words such as "", " ", "N/A"."""
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    if isinstance(value, str):
        return value.strip().lower() in MISSING_WORDS
    return isinstance(value, float) and math.isnan(value)


def as_text(value: Any) -> str | None:
    """A category's level: trimmed text; whole floats lose their ".0" so that 1, 1.0 and "1" are one level."""
    if type(value) is str:
        text = value.strip()
        return None if text.lower() in MISSING_WORDS else text
    if is_missing(value):
        return None
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def as_number(value: Any, decimal: Decimal = ".") -> float:
    """One number; NaN where missing. "29.85", "1,234", "50%" (0.5), "€ 12", booleans.

    Raises
    ------
    ValueError : the value is no number.
    """
    kind = type(value)
    if kind is float or kind is int:
        return float(value)
    if is_missing(value):
        return math.nan
    if isinstance(value, bool | np.bool_ | int | float | np.integer | np.floating | DecimalNumber):
        return float(value)
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no number")
    text = value.strip()
    bare = _SYMBOLS.sub("", text)
    if decimal == ",":
        if _COMMA_WRITTEN.fullmatch(bare):
            bare = bare.replace(".", "").replace(",", ".")
        elif "." in bare:
            raise ValueError(f"{value!r} is no number")
    elif "," in bare:
        if not _THOUSANDS.fullmatch(bare):
            raise ValueError(f"{value!r} is no number")
        bare = bare.replace(",", "")
    if not _PLAIN.fullmatch(bare):
        if bare.lower() in {"inf", "+inf", "-inf", "infinity"}:
            return math.nan
        raise ValueError(f"{value!r} is no number")
    return float(bare) / 100.0 if text.endswith("%") else float(bare)


def as_flag(value: Any) -> float:
    """1.0 for yes, 0.0 for no, NaN where missing.

    Raises
    ------
    ValueError : the value says neither.
    """
    if value is True:
        return 1.0
    if value is False:
        return 0.0
    if is_missing(value):
        return math.nan
    word = str(value).strip().lower()
    if word in TRUE_WORDS:
        return 1.0
    if word in FALSE_WORDS:
        return 0.0
    raise ValueError(f"{value!r} is neither yes nor no")


def missing_in(column: pd.Series) -> pd.Series:
    """Which rows of a column hold nothing, words such as "n/a" included; bool with the index of `column`."""
    if column.dtype == object or isinstance(column.dtype, pd.StringDtype):
        codes, levels = distinct(column)
        empty = np.array([*(is_missing(level) for level in levels), True])
        return pd.Series(empty[codes], index=column.index)
    return column.isna()


def distinct(series: pd.Series) -> tuple[NDArray[np.intp], list[Any]]:
    """Codes (−1 where pandas sees a missing value) and distinct values: text is parsed once a level, not once a row."""
    codes, values = pd.factorize(series)
    return np.asarray(codes), list(values)


def spread(codes: NDArray[np.intp], parsed: list[float]) -> NDArray[np.float64]:
    """Parsed values of the levels, back to one a row; NaN for code −1."""
    return np.asarray([*parsed, math.nan], dtype=np.float64)[codes]


def decimal_mark(levels: list[str]) -> Decimal | None:
    """How the numbers of a text column are written; None when they are not numbers.

    A comma followed by exactly three digits separates thousands ("1,234"); any other lone comma is a decimal one.
    """
    present = [level for level in levels if level.strip().lower() not in MISSING_WORDS]
    if not present:
        return None
    bare = [_SYMBOLS.sub("", level) for level in present]
    if all(_PLAIN.fullmatch(text) or _THOUSANDS.fullmatch(text) for text in bare):
        return "."
    if any(_COMMA_DECIMAL.fullmatch(text) for text in bare) and all(
        _COMMA_DECIMAL.fullmatch(text) or re.fullmatch(r"[+-]?\d+|[+-]?\d{1,3}(\.\d{3})+", text) for text in bare
    ):
        return ","
    return None


def looks_like_dates(levels: list[str]) -> bool:
    """Whether text levels are dates or months, quarters, weeks of a year (ISO, day and month with dots or slashes, or
    names of months); 98 % of them must parse.
    """
    present = [level.strip() for level in levels if level.strip().lower() not in MISSING_WORDS]
    if not present:
        return False
    if np.mean([bool(_PERIOD.fullmatch(level)) for level in present[:2000]]) >= 0.98:
        return True
    if sum(bool(_DATE_SHAPE.match(level)) for level in present[:200]) < 0.9 * len(present[:200]):
        return False
    sample = pd.Series(present[:2000])
    for day_first in (False, True):
        parsed = pd.to_datetime(sample, errors="coerce", format="mixed", dayfirst=day_first)
        if parsed.notna().mean() >= 0.98:
            return True
    return False


def dates_as_numbers(name: str, numbers: NDArray[np.float64]) -> str:
    """How dates are written as numbers: "YYYYMMDD", "YYYYMM", "Unix time"; "" where the numbers are none.

    All but the usual ways of saying never (0, −1, 99991231) must be dates of 1900 to 2100; what could as well be an
    amount, YYYYMM and Unix time in s, ms, µs or ns, must also have the name of a date.
    """
    known = numbers[np.isfinite(numbers)]
    dates = np.unique(known[~np.isin(known, (0.0, -1.0, 99991231.0))])
    if not len(dates) or 2 * np.isin(known, dates).sum() < len(known):
        return ""
    low, high = float(dates[0]), float(dates[-1])
    whole = bool(np.all(dates == np.round(dates)))
    if whole and low >= 1900_01_01 and high <= 2100_12_31:
        texts = pd.Series(dates.astype(np.int64).astype(str))
        return "YYYYMMDD" if pd.to_datetime(texts, format="%Y%m%d", errors="coerce").notna().all() else ""
    if not (_DATE_NAME.search(name) or _CAMEL_DATE.search(name)):
        return ""
    if whole and low >= 1900_01 and high <= 2100_12:
        return "YYYYMM" if np.all((dates % 100 >= 1) & (dates % 100 <= 12)) else ""
    # From 1980 to 2049; shorter numbers with such a name are durations.
    return "Unix time" if any(3.1e8 * unit <= low and high <= 2.5e9 * unit for unit in (1.0, 1e3, 1e6, 1e9)) else ""


def month_comes_first(texts: pd.Series) -> bool:
    """Whether dates such as 03/01/2024 are written the American way.

    They are where the second number goes beyond 12 and the first never does, or where neither does and the second is
    always the same: days of monthly data. Else the day comes first.
    """
    pairs = texts.str.extract(_DAY_AND_MONTH).dropna().astype("int64")
    if pairs.empty:
        return False
    first, second = pairs[0], pairs[1]
    if max(first.max(), second.max()) > 12:
        return bool(first.max() <= 12)
    return bool(second.nunique() == 1 and first.nunique() > 1)


def as_times(series: pd.Series) -> pd.Series:
    """Naive UTC timestamps (`datetime64[us]`), NaT where a value is no date. Integers are not taken for dates.

    Where day and month could be either, all dates of the column are read alike; see `month_comes_first`.
    """
    if pd.api.types.is_datetime64_any_dtype(series):
        parsed = series
    else:
        text = series.astype("string")
        parsed = pd.to_datetime(text, errors="coerce", format="ISO8601", utc=True)
        if parsed.isna().sum() > series.isna().sum():
            # What is ISO stays what it is: pandas would take day and month of it for exchanged, too.
            rest = text.where(parsed.isna())
            other = pd.to_datetime(
                rest, errors="coerce", format="mixed", dayfirst=not month_comes_first(rest), utc=True
            )
            parsed = parsed.fillna(other)
    if parsed.dt.tz is not None:
        parsed = parsed.dt.tz_convert("UTC").dt.tz_localize(None)
    return parsed.astype("datetime64[us]")
