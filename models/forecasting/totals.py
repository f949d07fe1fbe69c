"""Totals that a panel of parts does not hold: series added up before they are forecast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from features.contracts import suggestion
from features.panel import Panel
from models.forecasting.hierarchy import TOTAL, check_separator
from store.errors import InvalidValue, MissingColumn

SEPARATOR = "/"


def separator_of(text: str) -> str:
    """The character between the parts of ids: the one that was given, or a slash where columns were named."""
    return SEPARATOR if any(character.isalnum() for character in text) else text


def read_hierarchy(frame: pd.DataFrame, text: str, id_column: str | None) -> tuple[pd.DataFrame, str | None, str]:
    """The frame, its id column and the separator, of what somebody wrote: columns, or the character between the parts.

    Raises
    ------
    MissingColumn, InvalidValue : see `nested_ids` and `hierarchy.check_separator`.
    """
    separator = separator_of(text)
    if separator == text:
        check_separator(text)
        return frame, id_column, text
    return nested_ids(frame, names_in(text), id_column), "unique_id", separator


def names_in(text: str) -> tuple[str, ...]:
    """`"region, store"` → ("region", "store")."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def nested_ids(frame: pd.DataFrame, columns: Sequence[str], id_column: str | None) -> pd.DataFrame:
    """The frame with a column `unique_id` made of the columns, outermost first: `total/EU/DE`, the id last.

    Raises
    ------
    MissingColumn : one of the columns is not there. InvalidValue : one is empty somewhere, or holds a slash.
    """
    names = [*columns, *([id_column] if id_column is not None and id_column not in columns else [])]
    parts = pd.Series(TOTAL, index=frame.index, dtype=object)
    for name in names:
        if name not in frame.columns:
            raise MissingColumn(
                f"There is no column {name!r} to add up by.",
                remedy=suggestion(name, [str(column) for column in frame.columns]),
                field="hierarchy",
                value=name,
            )
        values = frame[name].astype(object).map(str).str.strip()
        wrong = frame[name].isna() | (values == "") | values.str.contains(SEPARATOR, regex=False)
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            raise InvalidValue(
                f"Column {name!r} cannot be added up by: row {row + 1} holds {frame[name].iloc[row]!r}.",
                remedy=f"Give every row a value without {SEPARATOR!r}.",
                field="hierarchy",
                value=str(frame[name].iloc[row]),
            )
        parts = parts + SEPARATOR + values
    others = frame.drop(columns=[name for name in ("unique_id",) if name in frame.columns])
    return others.assign(unique_id=parts)


def with_totals(panel: Panel, separator: str) -> Panel:
    """The panel with a series for every part of an id that has series below it and is none itself.

    A total reaches from the first step of any of its parts to the end; a part that begins later is nothing before.
    Where parts do not end together there is no total, and a note says so.
    """
    known = set(panel.frame["unique_id"])
    below: dict[str, list[str]] = {}
    for name in panel.frame["unique_id"].unique():
        above, _, last = str(name).rpartition(separator)
        while above:
            if last != TOTAL and above not in known and f"{above}{separator}{TOTAL}" not in known:
                below.setdefault(above, []).append(str(name))
            above, _, last = above.rpartition(separator)
    ends = panel.frame.groupby("unique_id", sort=False)["ds"].max()
    added, notes = [], []
    for total, names in below.items():
        leaves = [name for name in names if not any(other.startswith(name + separator) for other in names)]
        first = next((leaf for leaf in leaves if "=" in leaf[len(total) :]), "")
        if first:  # several dimensions tell of the same whole: one is enough
            dimension = first[: first.index("=", len(total))]
            leaves = [leaf for leaf in leaves if leaf.startswith(dimension + "=")]
        if ends[leaves].nunique() > 1:
            notes.append(f"{total} is not added up: its parts do not end at the same time.")
            continue
        rows = panel.frame[panel.frame["unique_id"].isin(leaves)]
        summed = rows.groupby("ds", sort=True)["y"].sum().reset_index()
        added.append(summed.assign(unique_id=total)[["unique_id", "ds", "y"]])
    if not added:
        return replace(panel, notes=(*panel.notes, *notes))
    report = pd.DataFrame([_reported(rows) for rows in added])
    return replace(
        panel,
        frame=pd.concat([panel.frame, *added], ignore_index=True),
        report=pd.concat([panel.report, report], ignore_index=True)[list(panel.report.columns)],
        ids=(*panel.ids, *(rows["unique_id"].iloc[0] for rows in added)),
        notes=(*panel.notes, *notes),
    )


def check_known(panel: Panel, exog: Sequence[str]) -> None:
    """Raise InvalidValue where a total was added up and exogenous columns are used: those do not add up."""
    if exog and panel.exog is not None:
        missing = set(panel.frame["unique_id"]) - set(panel.exog["unique_id"])
        if missing:
            raise InvalidValue(
                f"The total {min(missing)!r} has no values of {', '.join(exog)}.",
                remedy="Bring the totals as series of their own, or leave --exog or --hierarchy out.",
                field="hierarchy",
                value=min(missing),
            )


def _reported(rows: pd.DataFrame) -> dict[str, object]:
    """A line of the panel's report for a series that was added up."""
    y = rows["y"]
    return {
        "unique_id": rows["unique_id"].iloc[0], "rows": 0,
        "start": str(rows["ds"].iloc[0]).removesuffix(" 00:00:00"),
        "end": str(rows["ds"].iloc[-1]).removesuffix(" 00:00:00"),
        "length": len(rows), "duplicates": 0, "gaps": 0, "missing": 0, "cut": 0, "moved": 0,
        "zeros": int((y == 0).sum()), "negative": int((y < 0).sum()), "constant": bool((y == y.iloc[0]).all()),
        "note": "added up from its parts",
    }  # fmt: skip
