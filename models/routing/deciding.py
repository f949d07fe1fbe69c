"""A policy decides for a file of prompts: one row for each prompt and trade-off, written as they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from models.lifecycle.threads import one_blas_thread
from models.routing.model import RoutingModel
from store.errors import InvalidValue

CHUNK = 4_096
MOST_TRADEOFFS = 1_001

Progress = Callable[[int, int], None]


def checked_tradeoffs(tradeoffs: Sequence[float]) -> list[float]:
    """Trade-offs that can be decided at.

    Raises
    ------
    InvalidValue : none, too many, or one that is not between 0 and 1.
    """
    if not 1 <= len(tradeoffs) <= MOST_TRADEOFFS:
        raise InvalidValue(
            f"--tradeoff holds {len(tradeoffs)} numbers.",
            remedy=f"Give between 1 and {MOST_TRADEOFFS}, such as 0,0.5,1.",
            field="tradeoff",
        )
    for one in tradeoffs:
        if not 0.0 <= one <= 1.0:
            raise InvalidValue(
                f"The trade-off {one:g} is not between 0 and 1.",
                remedy="0 is quality alone, 1 is cost alone.",
                field="tradeoff",
                value=one,
            )
    return [float(one) for one in tradeoffs]


def decisions(
    model: RoutingModel, texts: Sequence[str], tradeoffs: Sequence[float], progress: Progress | None = None
) -> Iterator[pa.Table]:
    """Decide, some thousand prompts at a time.

    Yields
    ------
    `row` (of the prompt, from 0), `tradeoff`, `model`, `quality` and `cost` (predicted for that model); the rows of a
    prompt follow each other in the order of the trade-offs.
    """
    names = pa.array(list(model.models), pa.string())
    count = len(tradeoffs)
    for start in range(0, len(texts), CHUNK):
        part = texts[start : start + CHUNK]
        with one_blas_thread():
            made = model.decide(part, tradeoffs)
        chosen = np.stack([one[0] for one in made], axis=1).ravel()
        yield pa.table(
            {
                "row": np.repeat(np.arange(start, start + len(part)), count),
                "tradeoff": np.tile(np.asarray(tradeoffs, np.float64), len(part)),
                "model": names.take(pa.array(chosen)),
                "quality": np.stack([one[1] for one in made], axis=1).ravel(),
                "cost": np.stack([one[2] for one in made], axis=1).ravel(),
            }
        )
        if progress:
            progress(min(start + len(part), len(texts)), len(texts))


def write(tables: Iterator[pa.Table], path: Path) -> int:
    """Write decisions as CSV or Parquet by the file's ending, whole or not at all; returns the number of rows."""
    partial = path.with_name(f".{path.name}.partial")
    rows = 0
    writer: pa_csv.CSVWriter | pq.ParquetWriter | None = None
    try:
        for table in tables:
            if writer is None:
                kind = pq.ParquetWriter if path.suffix.lower() == ".parquet" else pa_csv.CSVWriter
                writer = kind(str(partial), table.schema)
            writer.write_table(table)
            rows += table.num_rows
        if writer is not None:
            writer.close()
            writer = None
        partial.replace(path)
    finally:
        if writer is not None:
            writer.close()
        partial.unlink(missing_ok=True)
    return rows
