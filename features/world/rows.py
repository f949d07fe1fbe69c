"""From drawn arrays to rows of the contract tables, with both clocks, and cut off where the customer left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.contracts import CONTRACTS
from features.contracts.schema import ARROW_TYPES
from features.world.business import (
    CHANNELS,
    CONTRACT_MONTHS,
    COUNTRIES,
    KINDS,
    PLANS,
    REGIONS,
    Array,
    Span,
)
from features.world.customers import Customers
from features.world.events import NAMES, Events
from features.world.invoices import WRITE_OFF_DAYS, Invoices
from features.world.terms import Terms
from features.world.tickets import CATEGORIES, SEVERITIES, Tickets
from features.world.usage import Usage

CORRECTED_USAGE = 0.004
CORRECTED_CUSTOMERS = 0.01
CREDIT_NOTES = 0.003
METERED_AFTER_HOURS = 1 / 3
REASONS = ("not_using", "service", "price", "competitor", "other")


@dataclass(frozen=True)
class Frame:
    """What every table needs to know about a chunk of customers.

    Attributes
    ----------
    who : the customers. `ids` : their identifiers.
    span : the simulated days. `first` : day of the first column.
    leaves : column of the day each one decided to leave; number of columns where they stay.
    """

    who: Customers
    ids: pa.Array
    span: Span
    first: int
    leaves: Array

    @property
    def columns(self) -> int:
        return self.span.days - self.first

    @property
    def final(self) -> Array:
        """Last column with service: the day after the decision."""
        last: Array = np.minimum(self.leaves + 1, self.columns - 1)
        return last

    def still_there(self, row: Array, column: Array) -> Array:
        """Whether the customer had service on that day."""
        return (column >= self.who.signup[row] - self.first) & (column <= self.final[row])


def customer_ids(numbers: Array) -> pa.Array:
    """`C0000001` and so on."""
    return pa.array([f"C{number:07d}" for number in numbers])


def customer_rows(at: Frame, rng: np.random.Generator) -> pa.Table:
    """One row each, and a correction of channel or size for some."""
    who, n = at.who, len(at.who)
    row = np.arange(n)
    hour = rng.uniform(8.0, 20.0, n)
    channel, employees = who.channel.copy(), who.employees.astype(np.float64)
    unknown = (who.kind == 0) | (rng.random(n) < 0.02)
    wrong = rng.random(n) < CORRECTED_CUSTOMERS
    channel[wrong] = (channel[wrong] + 1) % len(CHANNELS)
    employees[wrong] = np.ceil(employees[wrong] * 1.5)
    later = rng.uniform(24.0 * 20, 24.0 * 90, n)
    # Somebody types the country in small letters now and then: a warning, not an error.
    names = [*COUNTRIES, *(country.lower() for country in COUNTRIES)]
    country = who.country + len(COUNTRIES) * (rng.random(n) < 0.002)

    fixed = np.flatnonzero(wrong)
    every = np.r_[row, fixed]
    event = at.span.stamps(who.signup, hour)
    recorded = np.r_[event + 300_000_000, at.span.stamps(who.signup[fixed], hour[fixed] + later[fixed])]
    return _table(
        at.span,
        "customers",
        customer_id=_coded(every, at.ids),
        signup_date=at.span.stamps(who.signup)[every],
        kind=_coded(who.kind[every], KINDS),
        region=_coded(who.region[every], REGIONS),
        channel=_coded(np.r_[channel, who.channel[fixed]], CHANNELS),
        employees=pa.array(
            np.r_[employees, who.employees[fixed]].astype(np.int64), mask=unknown[every], type=pa.int64()
        ),
        country=_coded(country[every], names),
        event_time=event[every],
        recorded_at=recorded,
    )


def subscription_rows(at: Frame, deal: Terms, why: Array, rng: np.random.Generator) -> pa.Table:
    """A row for joining, for each change of plan or price, and for leaving; some reasons are corrected later."""
    who = at.who
    kept = deal.change_day - at.first <= np.minimum(at.leaves, at.columns - 1)[deal.change_row]
    row, day = deal.change_row[kept], deal.change_day[kept]
    joining = day == who.signup[row]
    hours = np.where(joining, rng.uniform(8.0, 20.0, len(row)), 0.0)
    plan, price = deal.change_plan[kept], deal.change_price[kept]

    gone = np.flatnonzero(at.leaves < at.columns)
    told = np.where(rng.random(len(gone)) < 0.7, why[gone], -1)
    column = at.leaves[gone]
    wrong = np.flatnonzero((rng.random(len(gone)) < 0.03) & (told >= 0))
    first_told = told.copy()
    first_told[wrong] = REASONS.index("other")
    cancel_hours = rng.uniform(8.0, 20.0, len(gone))
    cancelled = at.span.stamps(column + at.first, cancel_hours)
    corrected = at.span.stamps(column[wrong] + at.first, cancel_hours[wrong] + rng.uniform(72, 480, len(wrong)))

    every = np.r_[row, gone, gone[wrong]]
    count = len(row)
    ending = np.arange(len(every)) >= count
    event = np.r_[at.span.stamps(day, hours), cancelled, cancelled[wrong]]
    last_day = at.span.stamps(np.r_[day, column + at.first, (column + at.first)[wrong]] + 1)
    last_plan = deal.plan[gone, np.minimum(column, at.columns - 1)]
    last_price = deal.price[gone, np.minimum(column, at.columns - 1)].astype(np.float64).round(2)
    reason = np.r_[np.full(count, -1), first_told, told[wrong]]
    return _table(
        at.span,
        "subscriptions",
        subscription_id=_numbered("S", who.number[every], 7),
        customer_id=_coded(every, at.ids),
        plan=_coded(np.r_[plan, last_plan, last_plan[wrong]], PLANS),
        status=_coded(ending.astype(np.int8), ("active", "cancelled")),
        monthly_price=np.r_[price, last_price, last_price[wrong]],
        contract_months=np.array(CONTRACT_MONTHS)[who.term[every]],
        started_on=at.span.stamps(who.signup)[every],
        ended_on=_stamps(last_day, missing=~ending),
        reason=_coded(reason, REASONS),
        event_time=event,
        recorded_at=np.r_[event[: count + len(gone)] + 300_000_000, corrected],
    )


def usage_rows(at: Frame, measured: Usage, rng: np.random.Generator) -> pa.Table:
    """A row per customer and day with service, known twenty minutes after midnight.

    Some rows are wrong at first; the true values follow days later as another row with the same key.
    """
    columns = np.arange(at.columns)
    there = (columns >= (at.who.signup - at.first)[:, None]) & (columns <= at.final[:, None])
    row, column = np.nonzero(there)
    values = {name: getattr(measured, name)[there] for name in Usage.__dataclass_fields__}
    wrong = np.flatnonzero(rng.random(len(row), dtype=np.float32) < CORRECTED_USAGE)
    truth = {name: taken[wrong] for name, taken in values.items()}
    error = np.exp(rng.normal(0.0, 0.5, len(wrong)))
    values["api_calls"][wrong] = np.rint(values["api_calls"][wrong] * error)
    values["energy_kwh"][wrong] *= error
    delay = rng.integers(2, 21, len(wrong))

    every_row, every_column = np.r_[row, row[wrong]], np.r_[column, column[wrong]]
    day = at.span.stamps(every_column + at.first)
    event = at.span.stamps(every_column + at.first + 1)
    recorded = event + round(METERED_AFTER_HOURS * 3_600_000_000)
    recorded[len(row) :] = at.span.stamps(column[wrong] + at.first + 1 + delay, 3.0)
    arrays = {name: np.r_[taken, truth[name]] for name, taken in values.items()}
    return _table(
        at.span,
        "usage_daily",
        customer_id=_coded(every_row, at.ids),
        day=day,
        api_calls=arrays["api_calls"].astype(np.int64),
        storage_gb=np.round(arrays["storage_gb"].astype(np.float64), 2),
        compute_hours=np.round(arrays["compute_hours"].astype(np.float64), 2),
        energy_kwh=np.round(arrays["energy_kwh"].astype(np.float64), 2),
        active_users=arrays["active_users"].astype(np.int64),
        event_time=event,
        recorded_at=recorded,
    )


def invoice_rows(at: Frame, bills: Invoices, rng: np.random.Generator) -> pa.Table:
    """An invoice when it is sent, again when it is overdue, and again when it is paid or written off."""
    kept = np.flatnonzero(at.still_there(bills.row, bills.period - at.first))
    late, never = bills.late[kept], bills.paid[kept] < 0
    sent, overdue = kept, kept[late]
    settled, lost = kept[~never], kept[never]
    every = np.r_[sent, overdue, settled, lost]
    sizes = (len(sent), len(overdue), len(settled), len(lost))
    stage = np.repeat(np.arange(4), sizes)
    # A few settled invoices are credit notes: negative amounts are unusual, which the contract says as a warning.
    credit = (rng.random(len(bills.row)) < CREDIT_NOTES) & ~bills.late
    amount = np.where(credit, -0.2, 1.0) * bills.amount
    day = np.select(
        [stage == 0, stage == 1, stage == 2],
        [bills.period[every], bills.due[every] + 1, bills.paid[every]],
        bills.due[every] + WRITE_OFF_DAYS,
    )
    event = at.span.stamps(day, np.array([0.0, 0.0, 12.0, 9.0])[stage])
    return _table(
        at.span,
        "invoices",
        invoice_id=_numbered("I", at.who.number[bills.row[every]] * 1000 + bills.number[every], 10),
        customer_id=_coded(bills.row[every], at.ids),
        period_start=at.span.stamps(bills.period[every]),
        amount=np.round(amount[every], 2),
        due_on=at.span.stamps(bills.due[every]),
        paid_on=_stamps(at.span.stamps(bills.paid[every]), missing=stage != 2),
        status=_coded(stage, ("open", "late", "paid", "written_off")),
        event_time=event,
        recorded_at=event + 3_600_000_000,
    )


def ticket_rows(at: Frame, cases: Tickets) -> pa.Table:
    """A ticket when it is opened and again when it is closed."""
    kept = np.flatnonzero(at.still_there(cases.row, cases.column))
    every = np.r_[kept, kept]
    closing = np.arange(len(every)) >= len(kept)
    opened = at.span.stamps(cases.column + at.first, cases.hour)[every]
    closed = at.span.stamps(cases.column + at.first, cases.hour + cases.open_hours)[every]
    event = np.where(closing, closed, opened)
    satisfaction = cases.satisfaction[every]
    number = np.arange(len(cases.row)) - np.searchsorted(cases.row, cases.row)
    return _table(
        at.span,
        "tickets",
        ticket_id=_numbered("T", at.who.number[cases.row[every]] * 10_000 + number[every], 11),
        customer_id=_coded(cases.row[every], at.ids),
        opened_at=opened,
        closed_at=_stamps(closed, missing=~closing),
        severity=_coded(cases.severity[every], SEVERITIES),
        category=_coded(cases.category[every], CATEGORIES),
        satisfaction=pa.array(satisfaction, mask=~closing | (satisfaction == 0), type=pa.int64()),
        event_time=event,
        recorded_at=event + 120_000_000,
    )


def event_rows(at: Frame, clicks: Events, rng: np.random.Generator) -> pa.Table:
    """Product events, known ten minutes later."""
    kept = np.flatnonzero(at.still_there(clicks.row, clicks.column))
    number = np.arange(len(clicks.row)) - np.searchsorted(clicks.row, clicks.row)
    # A week's count is closed late on its Sunday.
    single = clicks.name[kept] == NAMES.index("downgrade_page")
    hours = np.where(single, rng.uniform(7.0, 22.0, len(kept)), 23.75)
    occurred = at.span.stamps(clicks.column[kept] + at.first, hours)
    row = clicks.row[kept]
    return _table(
        at.span,
        "product_events",
        event_id=_numbered("E", at.who.number[row] * 100_000 + number[kept], 12),
        customer_id=_coded(row, at.ids),
        name=_coded(clicks.name[kept], NAMES),
        occurred_at=occurred,
        count=clicks.count[kept],
        event_time=occurred,
        recorded_at=occurred + 600_000_000,
    )


def _table(span: Span, name: str, /, **columns: Array | pa.Array) -> pa.Table:
    """Arrow table in the contract's order, without what is not recorded yet on the last morning."""
    contract = CONTRACTS[name]
    known = np.flatnonzero(columns["recorded_at"] <= span.as_of_microseconds)
    complete = len(known) == len(columns["recorded_at"])
    arrays = []
    for column in contract:
        values = columns[column.name]
        kind = ARROW_TYPES[column.type]
        if isinstance(values, np.ndarray):
            taken = values if complete else values[known]
            array = pa.array(taken).view(kind) if pa.types.is_timestamp(kind) else pa.array(taken, type=kind)
        else:
            array = values if complete else values.take(pa.array(known))
        arrays.append(array)
    return pa.Table.from_arrays(arrays, names=list(contract.names))


def _coded(codes: Array, values: Sequence[str] | pa.Array) -> pa.Array:
    """Text from codes; −1 is missing. Kept as a dictionary: the file then holds each text once."""
    dictionary = values if isinstance(values, pa.Array) else pa.array(list(values))
    indices = pa.array(codes.astype(np.int32), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(indices, dictionary)


def _numbered(letter: str, numbers: Array, width: int) -> pa.Array:
    digits = pc.utf8_lpad(pa.array(numbers.astype(np.int64)).cast(pa.string()), width, "0")
    return pc.binary_join_element_wise(letter, digits, "")


def _stamps(microseconds: Array, *, missing: Array) -> pa.Array:
    return pa.array(microseconds, mask=missing, type=pa.int64()).view(pa.timestamp("us"))
