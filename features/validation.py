"""Whether a table keeps its contract: Great Expectations behind one function, with the rows at fault.

One suite per contract, built from its columns and checks. What Great Expectations cannot be asked (does a text convert
to the column's type, is a required column there) is answered here and reported alike.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.coercion import Coerced, coerce
from features.contracts import (
    Between,
    Contract,
    FilledWhen,
    Matches,
    NotBefore,
    OneOf,
    RowCheck,
    Severity,
    ValueCheck,
    suggestion,
)
from store.errors import ValidationFailed

Positions = npt.NDArray[np.int64]

_SAMPLES = 5
# Great Expectations keeps one current context per process.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Failure:
    """One check that did not hold.

    Attributes
    ----------
    column : the column at fault; several are joined by ", ".
    check : what should hold, in words.
    rows : number of rows at fault; `of` is the number of rows checked.
    samples : up to five distinct values at fault, as they came.
    positions : which rows, counted from 0 in the checked frame.
    """

    column: str
    check: str
    severity: Severity
    rows: int
    of: int
    samples: tuple[str, ...] = ()
    positions: Positions = field(default_factory=lambda: np.empty(0, dtype=np.int64), compare=False, repr=False)

    @property
    def share(self) -> float:
        return self.rows / self.of if self.of else 1.0

    def __str__(self) -> str:
        if self.rows == 0:
            return f"{self.column}: {self.check}"
        shown = f", such as {', '.join(map(repr, self.samples))}" if self.samples else ""
        return f"{self.column}: {self.check}: {self.rows:,} of {self.of:,} rows fail ({self.share:.2%}){shown}"

    def to_dict(self) -> dict[str, Any]:
        return {
            "column": self.column,
            "check": self.check,
            "severity": self.severity,
            "rows": self.rows,
            "of": self.of,
            "samples": list(self.samples),
        }


@dataclass(frozen=True)
class ValidationReport:
    """What became of every check on one table.

    Attributes
    ----------
    rows : number of rows checked.
    checks : number of checks made.
    notes : things worth telling that are no failure.
    """

    table: str
    rows: int
    checks: int
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def critical(self) -> tuple[Failure, ...]:
        return tuple(failure for failure in self.failures if failure.severity == "critical")

    @property
    def warnings(self) -> tuple[Failure, ...]:
        return tuple(failure for failure in self.failures if failure.severity == "warning")

    @property
    def ok(self) -> bool:
        """No critical failure."""
        return not self.critical

    def bad_rows(self) -> npt.NDArray[np.bool_]:
        """Mask of the rows that fail a critical check."""
        mask = np.zeros(self.rows, dtype=bool)
        for failure in self.critical:
            mask[failure.positions] = True
        return mask

    def stopping(self, tolerance: float = 0.0, spare: int = 0) -> tuple[Failure, ...]:
        """Critical failures that are too many: a column is not there, every row fails, or more than the share
        `tolerance` of the rows and more than `spare` rows."""
        return tuple(f for f in self.critical if f.rows in (0, f.of) or f.rows > max(tolerance * f.of, spare))

    def require(
        self,
        tolerance: float = 0.0,
        spare: int = 0,
        remedy: str = "Correct the rows at the source and load it again.",
    ) -> None:
        """Raise `ValidationFailed` where a critical failure is `stopping`.

        The message has each failing column with its check, the number of rows and values.
        """
        stopping = self.stopping(tolerance, spare)
        if stopping:
            lines = "\n".join(f"  {failure}" for failure in stopping)
            limit = f" on more than {tolerance:.0%} of the rows" if tolerance else ""
            count = "1 critical check" if len(stopping) == 1 else f"{len(stopping)} critical checks"
            raise ValidationFailed(
                f"{count} of {self.table} failed{limit}:\n{lines}\n",
                remedy=remedy,
                field=stopping[0].column,
                value=list(stopping[0].samples),
            )

    def text(self) -> str:
        """A few lines for a terminal or a log."""
        head = f"{self.table}: {self.rows:,} rows, {self.checks} checks, "
        head += f"{len(self.critical)} critical and {len(self.warnings)} warning failures"
        body = [f"  {failure.severity:8} {failure}" for failure in (*self.critical, *self.warnings)]
        return "\n".join([head, *body, *(f"  note     {note}" for note in self.notes)])

    def to_dict(self) -> dict[str, Any]:
        return {
            "table": self.table,
            "rows": self.rows,
            "checks": self.checks,
            "ok": self.ok,
            "failures": [failure.to_dict() for failure in self.failures],
            "notes": list(self.notes),
        }


def validate(frame: pd.DataFrame, contract: Contract) -> ValidationReport:
    """Check a table against its contract, uniqueness of its natural key included.

    Parameters
    ----------
    frame : one row per row of the table; columns may hold texts that convert. Columns without a contract are ignored.
    """
    return inspect(frame, contract)[1]


def inspect(
    frame: pd.DataFrame,
    contract: Contract,
    *,
    decimal: str = ".",
    keys: bool = True,
    complete: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
) -> tuple[Coerced, ValidationReport]:
    """`validate`, with the converted frame.

    Parameters
    ----------
    decimal : decimal sign of numbers held as text.
    keys : whether the natural key must be unique within the frame.
    complete : adds columns to the converted frame before it is checked.
    """
    coerced = coerce(frame, contract, decimal)
    if complete is not None:
        coerced = replace(coerced, frame=complete(coerced.frame))
    failures = _missing_columns([str(name) for name in frame.columns], coerced.frame, contract)
    misfits = {unfit.column: unfit.rows for unfit in coerced.unfit}
    for unfit in coerced.unfit:
        positions = np.flatnonzero(unfit.rows)
        check = unfit.reason.replace("is not", "must be", 1)
        failures.append(_failure(frame, (unfit.column,), check, "critical", positions))
    present = [name for name in contract.names if name in coerced.frame.columns]
    asked = _suite(contract, present, keys)
    for (columns, check, severity), positions in _run(coerced.frame, asked):
        if check == _FILLED and columns[0] in misfits:
            positions = positions[~misfits[columns[0]][positions]]
        if len(positions):
            failures.append(_failure(frame, columns, check, severity, positions))
    checks = len(asked) + len(contract.names)
    report = ValidationReport(contract.name, len(frame), checks, tuple(failures), coerced.notes)
    return coerced, report


_FILLED = "must be filled"
_Question = tuple[tuple[str, ...], str, Severity]


def _missing_columns(names: list[str], converted: pd.DataFrame, contract: Contract) -> list[Failure]:
    absent = [c.name for c in contract if c.name not in converted.columns]
    rows = len(converted)
    return [Failure(name, f"must be there ({suggestion(name, names)})", "critical", 0, rows) for name in absent]


def _failure(
    frame: pd.DataFrame, columns: tuple[str, ...], check: str, severity: Severity, positions: Positions
) -> Failure:
    known = [name for name in columns if name in frame.columns]
    samples: dict[str, None] = {}
    for position in positions[:200]:
        values = [frame[name].iloc[int(position)] for name in known]
        samples[" / ".join("" if pd.isna(value) else str(value)[:80] for value in values)] = None
        if len(samples) == _SAMPLES:
            break
    shown = tuple(samples) if check != _FILLED else ()
    return Failure(", ".join(columns), check, severity, len(positions), len(frame), shown, positions)


def _suite(contract: Contract, present: Iterable[str], keys: bool) -> list[_Question | tuple[_Question, Any]]:
    """Every question to Great Expectations, as (columns, check in words, severity) with the check itself."""
    there = set(present)
    asked: list[Any] = []
    for column in contract:
        if column.name not in there:
            continue
        if not column.nullable:
            asked.append((((column.name,), _FILLED, "critical"), None))
        asked.extend((((column.name,), f"must be {check}", check.severity), check) for check in column.checks)
    for row_check in contract.checks:
        columns = _columns_of(row_check)
        if there.issuperset(columns):
            asked.append(((columns, f"needs {row_check}", row_check.severity), row_check))
    if keys and there.issuperset(contract.natural_key):
        asked.append(((contract.natural_key, "must be unique", "critical"), "unique"))
    return asked


def _columns_of(check: RowCheck) -> tuple[str, ...]:
    return (check.later, check.earlier) if isinstance(check, NotBefore) else (check.column, check.when)


def _expectation(gx: Any, columns: tuple[str, ...], check: ValueCheck | RowCheck | str | None, number: int) -> Any:
    gxe = gx.expectations
    meta = {"question": number}
    if check is None:
        return gxe.ExpectColumnValuesToNotBeNull(column=columns[0], meta=meta)
    if isinstance(check, OneOf):
        return gxe.ExpectColumnValuesToBeInSet(column=columns[0], value_set=list(check.values), meta=meta)
    if isinstance(check, Between):
        return gxe.ExpectColumnValuesToBeBetween(
            column=columns[0], min_value=check.low, max_value=check.high, meta=meta
        )
    if isinstance(check, Matches):
        return gxe.ExpectColumnValuesToMatchRegex(column=columns[0], regex=check.pattern, meta=meta)
    if isinstance(check, NotBefore):
        return gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A=check.later,
            column_B=check.earlier,
            or_equal=True,
            ignore_row_if="either_value_is_missing",
            meta=meta,
        )
    if isinstance(check, FilledWhen):
        return gxe.ExpectColumnValuesToNotBeNull(
            column=check.column, row_condition=gxe.row_conditions.Column(check.when) == check.value, meta=meta
        )
    return gxe.ExpectCompoundColumnsToBeUnique(column_list=list(columns), meta=meta)


def _run(frame: pd.DataFrame, asked: list[Any]) -> list[tuple[_Question, Positions]]:
    if not len(frame) or not asked:
        return []
    form = {"result_format": "COMPLETE", "return_unexpected_index_query": False, "partial_unexpected_count": 1}
    with _one_at_a_time:
        gx = _great_expectations()
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = gx.data_context.types.base.ProgressBarsConfig(
            globally=False, metric_calculations=False
        )
        asset = context.data_sources.add_pandas("frame").add_dataframe_asset("frame")
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch(batch_parameters={"dataframe": frame})
        expectations = [_expectation(gx, question[0], check, i) for i, (question, check) in enumerate(asked)]
        outcome: Any = batch.validate(gx.ExpectationSuite("contract", expectations=expectations), result_format=form)
    answers: list[tuple[_Question, Positions]] = []
    for result in sorted(outcome.results, key=lambda r: r.expectation_config.meta["question"]):
        question: _Question = asked[result.expectation_config.meta["question"]][0]
        if result.success:
            continue
        found = result.result.get("unexpected_index_list")
        if not found:
            # The question itself broke: never to be taken for a yes.
            reason = str(result.exception_info.get("exception_message") or result.exception_info)
            columns, check, _ = question
            answers.append(((columns, f"{check} (could not be checked: {reason[:200]})", "critical"), _all(frame)))
            continue
        answers.append((question, np.unique(np.asarray(found, dtype=np.int64))))
    return answers


def _great_expectations() -> Any:
    """The library: seconds to import, so only where it is used."""
    # Read when it is imported: it would otherwise report its use to its makers.
    os.environ["GX_ANALYTICS_ENABLED"] = "False"
    with warnings.catch_warnings():
        # It imports a module of the standard library that is deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        import great_expectations as gx
        import great_expectations.data_context.types.base
        import great_expectations.expectations.row_conditions
    for name in ("great_expectations", "great_expectations.data_context.types.base"):
        logging.getLogger(name).setLevel(logging.WARNING)  # the second sets itself to INFO
    return gx


def _all(frame: pd.DataFrame) -> Positions:
    return np.arange(len(frame), dtype=np.int64)
