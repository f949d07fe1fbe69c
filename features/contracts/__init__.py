"""What every table must look like. One file per table; `CONTRACTS` holds them all by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from features.contracts.contract import (
    EVENT_TIME,
    RECORDED_AT,
    Between,
    Column,
    ColumnType,
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
from features.contracts.customers import CUSTOMERS
from features.contracts.invoices import INVOICES
from features.contracts.prices import PRICES
from features.contracts.product_events import PRODUCT_EVENTS
from features.contracts.subscriptions import SUBSCRIPTIONS
from features.contracts.tickets import TICKETS
from features.contracts.usage_daily import USAGE_DAILY
from store.errors import InvalidValue

CONTRACTS: Mapping[str, Contract] = MappingProxyType(
    {
        contract.name: contract
        for contract in (CUSTOMERS, SUBSCRIPTIONS, USAGE_DAILY, INVOICES, TICKETS, PRODUCT_EVENTS, PRICES)
    }
)


def contract_of(table: str) -> Contract:
    """The contract of a table. Raises `InvalidValue` with the closest name where there is none."""
    if table not in CONTRACTS:
        raise InvalidValue(
            f"There is no table {table!r}.", remedy=suggestion(table, list(CONTRACTS)), field="table", value=table
        )
    return CONTRACTS[table]


__all__ = [
    "CONTRACTS",
    "EVENT_TIME",
    "RECORDED_AT",
    "Between",
    "Column",
    "ColumnType",
    "Contract",
    "FilledWhen",
    "Matches",
    "NotBefore",
    "OneOf",
    "RowCheck",
    "Severity",
    "ValueCheck",
    "contract_of",
    "suggestion",
]
