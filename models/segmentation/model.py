"""A fitted division of customers: scale, partition, numbered segments in words, their outlook, and what customers are
worth. On disk it is one `contract.json`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.segmentation.behaviour import BEHAVIOURS, Behaviour
from models.segmentation.naming import Wording
from models.segmentation.outlook import Outlook
from models.segmentation.partition import Partition, assign, partition_from
from models.segmentation.scaling import Scaler, number_of
from models.segmentation.value.valuing import ValueModel, value_columns, value_from
from store.errors import IntegrityFailed, MissingColumn, UnknownEntity

FORMAT = 1
_DIGITS = 9


@dataclass(frozen=True)
class Segment:
    """A segment of a model.

    Attributes
    ----------
    id : stays the same people's from one version to the next; never given to others.
    rows, share : customers in it when the model was made, and their share.
    mean_value : of their lifetime values; None without a value model.
    centre : of its training rows on the scale; spread : root mean squared distance from it.
    """

    id: int
    wording: Wording
    rows: int
    share: float
    mean_value: float | None
    centre: tuple[float, ...]
    spread: float

    @property
    def name(self) -> str:
        return self.wording.name

    def to_dict(self) -> dict[str, Any]:
        words = self.wording.to_dict()
        numbers = {"rows": self.rows, "share": self.share, "mean_value": self.mean_value}
        return {"id": self.id, **words, **numbers, "centre": list(self.centre), "spread": self.spread}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Segment:
        numbers = (data["rows"], data["share"], data["mean_value"])
        return cls(data["id"], Wording.from_dict(data), *numbers, tuple(data["centre"]), data["spread"])


@dataclass(frozen=True)
class Assignment:
    """One customer's segment.

    Attributes
    ----------
    confidence : 0 on the border to another segment, 1 far from every other.
    missing : traits that were not known and counted as typical.
    """

    segment: Segment
    confidence: float
    missing: tuple[str, ...]


@dataclass(frozen=True)
class SegmentationModel:
    """Segments of customers.

    Attributes
    ----------
    candidate : name of the recipe.
    selection : loss on the next period, cross-validated over the customers of the training rows.
    segments : in the order of the partition's codes.
    highest : the highest id ever given to a segment of this model or of those before it.
    value : None for a model that was fitted for comparison only.
    value_as_of : the moment up to which the value model knows what customers did (ISO).
    facts : what else the contract states, JSON-ready: how k was chosen, rows, settings.
    example : a few rows, as records; answers : what the model said of them when it was saved.
    """

    candidate: str
    selection: float
    behaviour: Behaviour
    scaler: Scaler
    partition: Partition
    outlook: Outlook
    segments: tuple[Segment, ...]
    highest: int
    value: ValueModel | None
    value_as_of: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    example: tuple[Mapping[str, Any], ...] = ()
    answers: tuple[Mapping[str, Any], ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """What is read of a frame or record: behaviour first, then what only the value needs."""
        more = value_columns(self.behaviour) if self.value else ()
        return tuple(dict.fromkeys((*self.scaler.columns, *more)))

    @property
    def horizon_days(self) -> int:
        """Days of the period that segments are judged by."""
        return int(self.facts["horizon_days"])

    def segment(self, segment_id: int) -> Segment:
        """The segment of that id.

        Raises
        ------
        UnknownEntity : there is none.
        """
        for one in self.segments:
            if one.id == segment_id:
                return one
        raise UnknownEntity(
            f"There is no segment {segment_id}.",
            remedy=f"The segments are {', '.join(str(one.id) for one in self.segments)}.",
            field="segment",
            value=segment_id,
        )

    def codes(self, frame: pd.DataFrame) -> NDArray[np.intp]:
        """Place of each row's segment in `segments`.

        Raises
        ------
        MissingColumn, WrongType, InvalidValue : the rows do not fit.
        """
        return assign(self.partition, self.scaler.matrix(frame))

    def assign(self, record: Mapping[str, Any]) -> Assignment:
        """The segment of one customer, from a record and without pandas: well below a millisecond.

        Raises
        ------
        MissingColumn, WrongType, InvalidValue : a value is absent, no number, or infinite.
        """
        z = np.array([self.scaler.row(record)])
        place = int(np.argmax(self.partition.closeness(z)[0]))
        sure = float(self.partition.confidence(z)[0])
        return Assignment(self.segments[place], sure, tuple(self.scaler.missing(record)))

    def value_lacks(self, record: Mapping[str, Any]) -> list[str]:
        """What the value reads and the record does not name."""
        return [] if self.value is None else [name for name in self.value.columns if name not in record]

    def worth(self, record: Mapping[str, Any]) -> dict[str, float] | None:
        """Value, expected purchases and probability of being a customer of one record; None where the record lacks what
        the value needs.

        Raises
        ------
        WrongType, InvalidValue : a value is no number, or infinite.
        """
        if self.value is None or self.value_lacks(record):
            return None
        numbers = {name: np.array([number_of(record[name], name)]) for name in self.value.columns}
        found = self.value.worth(numbers)
        out = {
            "value": float(found.value[0]),
            "expected_purchases": float(found.expected_purchases[0]),
            "p_alive": float(found.p_alive[0]),
        }
        if found.low is not None and found.high is not None:
            out |= {"value_low": float(found.low[0]), "value_high": float(found.high[0])}
        return out

    def score(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Segment and worth of every row; a row's answer does not depend on the others.

        Returns
        -------
        Index of `rows`; label (id of the segment as text), value, name, confidence, expected_purchases, p_alive, and
        value_low, value_high where the interval is known.

        Raises
        ------
        MissingColumn, WrongType, InvalidValue : the rows do not fit.
        """
        absent = [name for name in self.columns if name not in rows.columns]
        if absent:
            raise MissingColumn(
                f"Columns are missing: {', '.join(absent)}.", remedy="Bring what the model reads.", field=absent[0]
            )
        z = self.scaler.matrix(rows)
        codes = assign(self.partition, z)
        out = pd.DataFrame(index=rows.index)
        out["label"] = [str(self.segments[code].id) for code in codes]
        out["name"] = [self.segments[code].name for code in codes]
        out["confidence"] = self.partition.confidence(z).round(_DIGITS)
        value = np.zeros(len(rows))
        if self.value is not None:
            columns = {name: _column(rows[name]) for name in self.value.columns}
            worth = self.value.worth(columns)
            value = worth.value
            out["expected_purchases"] = worth.expected_purchases.round(_DIGITS)
            out["p_alive"] = worth.p_alive.round(_DIGITS)
            if worth.low is not None and worth.high is not None:
                out["value_low"], out["value_high"] = worth.low.round(6), worth.high.round(6)
        out.insert(1, "value", value.round(6))
        return out

    def answer(self, given: pd.DataFrame) -> pd.DataFrame:
        """What the model says of the input of its signature."""
        return self.score(given).reset_index(drop=True)

    def signature(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """A few customers and what was said of them when the model was made."""
        given = pd.DataFrame(list(self.example), columns=list(self.columns)).astype("float64")
        said = self.answer(given)
        if self.answers:
            said = pd.DataFrame(list(self.answers), columns=list(said.columns)).astype(said.dtypes.to_dict())
        return given, said

    def contract(self) -> dict[str, Any]:
        """Everything, JSON-ready."""
        said = self.answers or self.answer(self.signature()[0]).to_dict("records")
        return {
            "family": "segmentation",
            "format": FORMAT,
            "candidate": self.candidate,
            "selection": {"metric": "next_period_loss", "value": self.selection, "how": "cross-validated"},
            "behaviour": self.behaviour.name,
            "columns": list(self.columns),
            "segments": [one.to_dict() for one in self.segments],
            "highest_id": self.highest,
            "scaler": self.scaler.to_dict(),
            "partition": self.partition.to_dict(),
            "outlook": self.outlook.to_dict(),
            "value": self.value.to_dict() if self.value else None,
            "value_as_of": self.value_as_of,
            "facts": dict(self.facts),
            "example": [dict(record) for record in self.example],
            "answers": [dict(record) for record in said],
        }

    def save(self, folder: Path) -> None:
        """Write the model into an empty folder; the same model gives the same bytes."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(json_ready(self.contract()), indent=1, ensure_ascii=False, allow_nan=False)
        (folder / "contract.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> SegmentationModel:
        """Read back what `save` wrote.

        Raises
        ------
        IntegrityFailed : the folder holds no segmentation model, or one of another format.
        """
        try:
            data = json.loads((Path(folder) / "contract.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise IntegrityFailed(
                f"{folder} holds no readable contract.json: {error}.", remedy="Train again."
            ) from None
        if data.get("family") != "segmentation" or data.get("format") != FORMAT:
            raise IntegrityFailed(
                f"{folder} holds family {data.get('family')!r} format {data.get('format')!r}, expected segmentation "
                f"{FORMAT}.",
                remedy="Load it with the release that wrote it, or train again.",
            )
        selection = data["selection"]["value"]
        return cls(
            candidate=data["candidate"],
            selection=math.nan if selection is None else selection,
            behaviour=BEHAVIOURS[data["behaviour"]],
            scaler=Scaler.from_dict(data["scaler"]),
            partition=partition_from(data["partition"]),
            outlook=Outlook.from_dict(data["outlook"]),
            segments=tuple(Segment.from_dict(one) for one in data["segments"]),
            highest=data["highest_id"],
            value=value_from(data["value"]) if data["value"] else None,
            value_as_of=data["value_as_of"],
            facts=data["facts"],
            example=tuple(data["example"]),
            answers=tuple(data["answers"]),
        )


def _column(values: pd.Series) -> NDArray[np.float64]:
    if not pd.api.types.is_numeric_dtype(values):
        values = pd.Series([number_of(value, str(values.name)) for value in values], index=values.index)
    return values.to_numpy(dtype=np.float64, na_value=np.nan)


def json_ready(value: Any) -> Any:
    """NaN has no place in JSON: what is missing is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    return value
