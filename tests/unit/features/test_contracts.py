"""The contracts say enough, and the database's tables are what they say."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from features.contracts import CONTRACTS, EVENT_TIME, NotBefore, contract_of
from store.errors import InvalidValue, MissingColumn
from store.tables import Base

SQL_TYPES = {
    "string": sa.String,
    "integer": sa.BigInteger,
    "number": sa.Double,
    "boolean": sa.Boolean,
    "date": sa.Date,
    "timestamp": sa.DateTime,
}


@pytest.mark.parametrize("name", CONTRACTS)
def test_the_table_is_what_the_contract_says(name: str) -> None:
    contract, table = CONTRACTS[name], Base.metadata.tables[name]
    assert [c.name for c in table.columns] == list(contract.names)
    assert [c.name for c in table.primary_key.columns] == list(contract.natural_key)
    for column in contract:
        assert type(table.c[column.name].type) is SQL_TYPES[column.type], column.name
        assert table.c[column.name].nullable == column.nullable, column.name


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_contract_refers_to_its_own_columns_and_describes_them(name: str) -> None:
    contract = CONTRACTS[name]
    referred = [*contract.key, *contract.event_time_from, *contract.known_with]
    for check in contract.checks:
        referred.extend((check.later, check.earlier) if isinstance(check, NotBefore) else (check.column, check.when))
    for column in referred:
        contract.column(column)
    assert len(set(contract.names)) == len(contract.names)
    assert all(column.description for column in contract)
    assert not any(contract.column(key).nullable for key in contract.key)
    for origin in (*contract.event_time_from, *contract.known_with):
        assert contract.column(origin).type in ("date", "timestamp")
    assert not contract.column(contract.event_time_from[-1]).nullable, f"{EVENT_TIME} could be empty"


def test_unknown_names_come_with_the_closest() -> None:
    with pytest.raises(InvalidValue, match="Did you mean 'usage_daily'"):
        contract_of("usage_dayly")
    with pytest.raises(MissingColumn, match="Did you mean 'customer_id'"):
        CONTRACTS["customers"].column("custommer_id")
