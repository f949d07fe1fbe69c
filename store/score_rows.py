"""Scores as they come from a model, checked and put into the one form in which they are kept and digested."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from store.database import to_json
from store.errors import EmptyData, InvalidValue, MissingColumn, WrongType
from store.pages import storable

LONGEST_ID, LONGEST_LABEL = 256, 64
_BATCH = 5_000


@dataclass(frozen=True)
class ScoreRows:
    """Scores in the order of their entities.

    Attributes
    ----------
    frame : index = entity id as text, `label` (str), `value` (float64), every other column in alphabetical order.
    digest : hex SHA-256 over every row, the same in any order of rows and of columns.
    """

    frame: pd.DataFrame
    digest: str

    def __len__(self) -> int:
        return len(self.frame)

    def batches(self) -> Iterator[list[dict[str, Any]]]:
        """`entity_id`, `label`, `value`, `output` of some thousand entities at a time."""
        return _batches(self.frame)


def checked(rows: pd.DataFrame) -> ScoreRows:
    """Scores that can be kept on every database.

    Parameters
    ----------
    rows : one per entity, its id as the index; `label`, `value`, and any JSON-ready columns.

    Raises
    ------
    EmptyData : there is no row.
    MissingColumn : `label` or `value` is not there.
    InvalidValue : an entity twice, without an id or with one that is too long; a label that is missing or too long; a
        value that is not finite.
    WrongType : a value is no number.
    """
    if rows.empty:
        raise EmptyData("There is nobody to write scores of.", remedy="Score at least one entity.")
    for name in ("label", "value"):
        if name not in rows.columns:
            raise MissingColumn(
                f"The scores have no column {name!r}; they have {', '.join(map(str, rows.columns))}.",
                remedy="A family's `score` returns `label` and `value` of every entity.",
                field=name,
            )
    frame = rows.set_axis(_ids(rows), axis=0)
    others = sorted(str(name) for name in frame.columns if name not in ("label", "value"))
    frame = frame.rename(columns=str)[["label", "value", *others]]
    frame = frame.assign(label=_labels(frame), value=_values(frame)).sort_index(kind="stable")
    digest = hashlib.sha256()
    for batch in _batches(frame):
        for row in batch:
            digest.update(to_json(list(row.values())).encode() + b"\n")
    return ScoreRows(frame, digest.hexdigest())


def _batches(frame: pd.DataFrame) -> Iterator[list[dict[str, Any]]]:
    others = list(frame.columns[2:])
    for start in range(0, len(frame), _BATCH):
        part = frame.iloc[start : start + _BATCH]
        outputs = part[others].to_dict("records") if others else [{} for _ in range(len(part))]
        yield [
            {"entity_id": entity, "label": label, "value": value, "output": output}
            for entity, label, value, output in zip(
                part.index.tolist(), part["label"].tolist(), part["value"].tolist(), outputs, strict=True
            )
        ]


def _ids(rows: pd.DataFrame) -> pd.Index:
    if rows.index.hasnans:
        place = int(np.flatnonzero(rows.index.isna())[0])
        raise InvalidValue(
            f"The scores hold an entity without an id, in row {place + 1} of {len(rows)}.",
            remedy="Give every entity its id as the index.",
            field=str(rows.index.name or "entity_id"),
        )
    ids = pd.Index([storable(str(entity)) for entity in rows.index], dtype=object, name="entity_id")
    twice = ids[ids.duplicated()]
    if len(twice):
        raise InvalidValue(
            f"The scores hold the entity {twice[0]!r} twice.",
            remedy="Give exactly one row per entity.",
            field="entity_id",
            value=twice[0],
        )
    _check_length(ids, "The id", LONGEST_ID, "entity_id")
    return ids


def _labels(frame: pd.DataFrame) -> list[str]:
    missing = frame["label"].isna().to_numpy()
    if missing.any():
        raise InvalidValue(
            f"The score of {frame.index[int(np.flatnonzero(missing)[0])]!r} has no label.",
            remedy="Give every entity a label.",
            field="label",
        )
    labels = [storable(str(label)) for label in frame["label"]]
    _check_length(labels, "The label", LONGEST_LABEL, "label")
    return labels


def _values(frame: pd.DataFrame) -> np.ndarray:
    numbers = pd.to_numeric(frame["value"], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        entity, found = frame.index[wrong[0]], frame["value"].iloc[wrong[0]]
        kind = WrongType if isinstance(found, str) else InvalidValue
        raise kind(
            f"The score of {entity!r} has the value {str(found)!r}, which is no finite number.",
            remedy="Look at the features of this entity.",
            field="value",
            value=str(found),
        )
    return numbers


def _check_length(texts: Any, what: str, longest: int, field: str) -> None:
    for text in texts:
        if not text or len(text) > longest:
            raise InvalidValue(
                f"{what} {text[:40] + '…' if len(text) > 40 else text!r} has {len(text)} characters.",
                remedy=f"Use 1 to {longest} characters.",
                field=field,
                value=text[:longest],
            )
