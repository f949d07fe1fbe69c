"""Builds the world in chunks of customers, so that memory does not grow with its size."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.contracts import CONTRACTS
from features.contracts.schema import arrow_schema
from features.world import rows, truth
from features.world.business import HISTORY_DAYS, Array, Span
from features.world.calendar import Calendar, calendar
from features.world.customers import Customers, customers
from features.world.engagement import engagement
from features.world.events import product_events
from features.world.hazard import COEFFICIENTS, FRAILTY_SPREAD, Hazard, hazard, last_days
from features.world.incidents import Incidents, incidents
from features.world.invoices import invoices
from features.world.prices import PriceBook, experiment_cells, price_book, price_changes
from features.world.terms import terms
from features.world.tickets import tickets
from features.world.usage import usage
from store.errors import InvalidValue

Progress = Callable[[int, int, str], None]

CELLS_PER_CHUNK = 730_000
LIMITS = {"customers": (50, 5_000_000), "days": (120, 3_650)}
REASON_OF_DRIVER = (0, 0, 1, 1, 1, 4, 2, 3, 4)
"""Which of `rows.REASONS` a customer would give for each driver of the hazard."""


@dataclass(frozen=True)
class WorldRef:
    """A world on disk.

    Attributes
    ----------
    folder : holds `tables/<table>.parquet` and `truth/`.
    tables : table → number of rows.
    as_of : the morning after the last day; everything in the tables was known by then.
    """

    folder: Path
    tables: Mapping[str, int]
    customers: int
    start: date
    end: date
    as_of: datetime
    seed: int

    def table(self, name: str) -> Path:
        """Parquet file of a contract table."""
        return self.folder / "tables" / f"{name}.parquet"

    def truth(self, name: str) -> Path:
        """A file of the truth: `world.json`, `hazard.parquet`, `customers.parquet`, `incidents.parquet`, …"""
        return self.folder / "truth" / name


@dataclass(frozen=True)
class _Setting:
    """What all customers share."""

    span: Span
    calendar: Calendar
    book: PriceBook
    incidents: Incidents


def build(
    folder: Path | str,
    *,
    customers: int = 2000,
    days: int = 730,
    seed: int = 7,
    end: date,
    progress: Progress | None = None,
) -> WorldRef:
    """Simulate the business and write its tables and its truth.

    The same arguments give the same bytes. What was in `tables/` and `truth/` before is replaced at the end, so that
    an interrupted build leaves the old world as it was.

    Parameters
    ----------
    customers : everybody who is a customer on the first day or becomes one (50 – 5,000,000); about half of them are
        customers on any one day.
    days : length of the history, the last day being `end` (120 – 3,650).
    progress : called with customers done, customers in all, and what is being done.

    Raises
    ------
    InvalidValue : `customers` or `days` lies outside its limits.
    """
    for name, value in (("customers", customers), ("days", days)):
        low, high = LIMITS[name]
        if not low <= value <= high:
            raise InvalidValue(
                f"{name} = {value} lies outside {low:,} – {high:,}.",
                remedy=f"Choose {name} within these limits.",
                field=name,
                value=value,
            )
    span = Span(end - timedelta(days=days - 1), days)
    rng = _stream(seed, 0)
    seasons = calendar(span)
    setting = _Setting(span, seasons, price_book(span, rng), incidents(span, rng))
    who = _customers(customers, setting, rng)

    place = Path(folder).expanduser().absolute()
    place.mkdir(parents=True, exist_ok=True)
    draft = place / f".draft-{uuid.uuid4().hex}"
    try:
        counts = _write(draft, who, setting, seed, progress)
        for name in ("tables", "truth"):
            if (place / name).exists():
                shutil.rmtree(place / name)
            (draft / name).rename(place / name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return WorldRef(place, counts, customers, span.start, span.end, span.as_of, seed)


def _customers(total: int, setting: _Setting, rng: np.random.Generator) -> Customers:
    return customers(total, setting.span, setting.book, setting.calendar, rng)


def _stream(seed: int, number: int) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=(number,))))


@dataclass(frozen=True)
class _Chunk:
    tables: dict[str, pa.Table]
    hazard: pa.Table
    people: pa.Table
    judged: Array
    customers: int


def _write(draft: Path, who: Customers, setting: _Setting, seed: int, progress: Progress | None) -> dict[str, int]:
    (draft / "tables").mkdir(parents=True)
    (draft / "truth").mkdir()
    counts = dict.fromkeys(CONTRACTS, 0)
    writers: dict[Path, pq.ParquetWriter] = {}
    judged, done = [], 0

    def append(path: Path, table: pa.Table) -> None:
        if path not in writers:
            texts = [field.name for field in table.schema if _repeats(field)]
            # Dictionaries are how the file is written, not what a reader should get: the Arrow schema is left out.
            writers[path] = pq.ParquetWriter(
                path, table.schema, compression="zstd", compression_level=1, use_dictionary=texts, store_schema=False
            )
        if table.num_rows:
            writers[path].write_table(table, row_group_size=table.num_rows)

    try:
        for chunk in _chunks(who, setting, seed):
            for name, table in chunk.tables.items():
                append(draft / "tables" / f"{name}.parquet", table)
                counts[name] += table.num_rows
            append(draft / "truth" / "hazard.parquet", chunk.hazard)
            append(draft / "truth" / "customers.parquet", chunk.people)
            judged.append(chunk.judged)
            done += chunk.customers
            if progress:
                progress(done, len(who), "customers")
    finally:
        for writer in writers.values():
            writer.close()

    prices = _price_table(setting)
    pq.write_table(prices, draft / "tables" / "prices.parquet", compression="zstd", store_schema=False)
    counts["prices"] = prices.num_rows
    _write_truth(draft / "truth", setting, np.concatenate(judged), seed, len(who))
    return counts


def _repeats(field: pa.Field) -> bool:
    kind = field.type
    return bool(pa.types.is_dictionary(kind) or pa.types.is_timestamp(kind) or pa.types.is_integer(kind))


def _write_truth(folder: Path, setting: _Setting, judged: Array, seed: int, total: int) -> None:
    span = setting.span
    setting.incidents.listed.to_parquet(folder / "incidents.parquet", index=False)
    experiment_cells(setting.book, span).to_parquet(folder / "experiments.parquet", index=False)
    content = {
        "customers": total,
        "days": span.days,
        "seed": seed,
        "start": span.start.isoformat(),
        "end": span.end.isoformat(),
        **truth.statement(judged),
    }
    (folder / "world.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _price_table(setting: _Setting) -> pa.Table:
    frame = price_changes(setting.book)
    valid = setting.span.stamps(frame["valid_from"].to_numpy())
    frame["valid_from"] = valid.astype("datetime64[us]")
    frame["event_time"] = frame["valid_from"]
    frame["recorded_at"] = frame["valid_from"] + pd.Timedelta(minutes=5)
    schema = arrow_schema(CONTRACTS["prices"])
    return pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False).replace_schema_metadata(None)


def _chunks(who: Customers, setting: _Setting, seed: int) -> Iterator[_Chunk]:
    """Chunks in order, made by a few threads: numpy lets go of the lock where it matters."""
    size = max(50, CELLS_PER_CHUNK // setting.span.days)
    parts = [slice(begin, begin + size) for begin in range(0, len(who), size)]
    threads = min(len(parts), 4, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[_Chunk]] = deque()
        for number, part in enumerate(parts, start=1):
            waiting.append(pool.submit(_simulate, who.part(part), setting, _stream(seed, number)))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _simulate(who: Customers, setting: _Setting, rng: np.random.Generator) -> _Chunk:
    """Everything about some customers: first as if nobody left, then cut off at the day they do."""
    span = setting.span
    first = max(0, int(who.signup.min()))
    days = span.days - first
    weekday = setting.calendar.weekday[first:]
    frailty = rng.normal(0.0, FRAILTY_SPREAD, len(who))
    state = engagement(who.signup - first, days, rng)
    deal = terms(who, first, span, setting.book, rng)
    measured = usage(who, first, state, deal, setting.calendar, setting.incidents, rng)
    cases = tickets(who, first, state, setting.incidents, rng)
    clicks = product_events(who, first, weekday, state, deal, setting.incidents, rng)
    bills = invoices(who, first, span, state, deal, rng)
    competitor = setting.book.competitor[:, :, first + HISTORY_DAYS :]
    chance = hazard(who, first, weekday, measured, deal, cases, clicks, bills, competitor, frailty)
    leaves = last_days(chance.daily, who.signup - first, rng)

    at = rows.Frame(who, rows.customer_ids(who.number), span, first, leaves)
    tables = {
        "customers": rows.customer_rows(at, rng),
        "subscriptions": rows.subscription_rows(at, deal, _reasons(chance, leaves), rng),
        "usage_daily": rows.usage_rows(at, measured, rng),
        "invoices": rows.invoice_rows(at, bills, rng),
        "tickets": rows.ticket_rows(at, cases),
        "product_events": rows.event_rows(at, clicks, rng),
    }
    return _Chunk(
        tables,
        truth.hazard_rows(at, chance),
        truth.customer_rows(at, state, frailty),
        truth.judged(at, chance),
        len(who),
    )


def _reasons(chance: Hazard, leaves: Array) -> Array:
    """The reason each customer would give: the driver that weighed most on the last day."""
    column = np.minimum(leaves, chance.daily.shape[1] - 1)
    row = np.arange(len(leaves))
    weights = np.stack([COEFFICIENTS[name] * values[row, column] for name, values in chance.drivers.items()])
    reason = np.array(REASON_OF_DRIVER)[weights.argmax(axis=0)]
    return np.where(weights.max(axis=0) < 0.25, len(rows.REASONS) - 1, reason)
