"""What travels between steps instead of a frame: where the data lies, and a digest that says which data it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class DatasetRef:
    """An immutable Parquet file.

    Attributes
    ----------
    uri : absolute path of the Parquet file.
    digest : hex digest over the schema and every row, the same in any row order and on any machine.
    rows : number of rows.
    as_of : nothing known after this moment is in the data; None for a file somebody brought.
    roles : what the columns are for, e.g. `{"entity": "customer_id", "time": "as_of", "target": "churned"}`.
    source : where the data came from, for people: `"snapshot 3f2a…"` or the name of a file.
    """

    uri: str
    digest: str
    rows: int
    as_of: datetime | None = None
    roles: Mapping[str, str] = field(default_factory=dict)
    source: str = ""

    @property
    def path(self) -> Path:
        return Path(self.uri)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; `from_dict` reverses it."""
        return {
            "uri": self.uri,
            "digest": self.digest,
            "rows": self.rows,
            "as_of": self.as_of.isoformat() if self.as_of else None,
            "roles": dict(self.roles),
            "source": self.source,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> DatasetRef:
        as_of = data.get("as_of")
        return cls(
            uri=data["uri"],
            digest=data["digest"],
            rows=data["rows"],
            as_of=datetime.fromisoformat(as_of) if as_of else None,
            roles=dict(data.get("roles") or {}),
            source=data.get("source", ""),
        )


@dataclass(frozen=True)
class SnapshotRef:
    """A folder of Parquet files, one per table, as the database stood at `as_of`.

    Attributes
    ----------
    uri : absolute path of the folder; table `t` is `<uri>/t.parquet`.
    digest : hex digest over the digests of the tables.
    tables : table → number of rows.
    as_of : only rows with `recorded_at` ≤ `as_of` are in it.
    """

    uri: str
    digest: str
    tables: Mapping[str, int]
    as_of: datetime

    def table(self, name: str) -> Path:
        return Path(self.uri) / f"{name}.parquet"

    def to_dict(self) -> dict[str, Any]:
        return {
            "uri": self.uri,
            "digest": self.digest,
            "tables": dict(self.tables),
            "as_of": self.as_of.isoformat(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SnapshotRef:
        return cls(data["uri"], data["digest"], dict(data["tables"]), datetime.fromisoformat(data["as_of"]))
