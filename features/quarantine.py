"""Rows that did not fit, kept with the reasons until somebody mends their source; each once, however often it comes."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

import numpy as np
import orjson
import pandas as pd
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from store.database import to_json
from store.tables.business import QuarantineRow

BATCH = 5_000

_RENEWED = ("reasons", "position", "ingest_id", "at")


class Quarantine:
    """The quarantine of one load.

    A row that an earlier load of the same source put there already is not added again: it gets the reasons, the
    position and the load of this time. Rows that are the same within the source are kept as often as they are there.

    Parameters
    ----------
    load : the load's row of the table `ingests`: id, table_name, source, started_at.
    derived : columns that the load filled by itself and differently each time; they do not tell rows apart.
    """

    def __init__(self, connection: Connection, load: Mapping[str, Any], derived: Iterable[str] = ()) -> None:
        self._connection, self._load, self._derived = connection, load, frozenset(derived)
        self._seen: Counter[bytes] = Counter()
        insert = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(QuarantineRow)
        self._insert = insert.on_conflict_do_update(
            index_elements=["table_name", "row_hash"], set_={name: insert.excluded[name] for name in _RENEWED}
        )

    def add(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Keep records of `position`, `row` (column → value, JSON-ready) and `reasons`."""
        complete = self._complete(records)
        while batch := list(islice(complete, BATCH)):
            self._connection.execute(self._insert, batch)

    def _complete(self, records: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        for record in records:
            yield {
                **record,
                "table_name": self._load["table_name"],
                "row_hash": self._hash(record["row"]),
                "source": self._load["source"],
                "ingest_id": self._load["id"],
                "at": self._load["started_at"],
            }

    def _hash(self, row: Mapping[str, Any]) -> str:
        # Read back from JSON, a value is what the database will hold.
        kept = orjson.loads(to_json({name: value for name, value in row.items() if name not in self._derived}))
        content = orjson.dumps([self._load["source"], kept], option=orjson.OPT_SORT_KEYS)
        key = hashlib.sha256(content).digest()
        nth = self._seen[key]
        self._seen[key] += 1
        return hashlib.sha256(content + b"%d" % nth).hexdigest()[:32]


def jsonable(row: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON holds them; what it does not know becomes its text."""
    return {name: value if _plain(value) else str(value) for name, value in row.items()}


def _plain(value: Any) -> bool:
    if value is None or isinstance(value, str | bool | int | float | np.integer | np.floating | np.bool_):
        return not (isinstance(value, int) and not -(2**63) <= value < 2**64)
    return isinstance(value, datetime) and not isinstance(value, pd.Timestamp)
