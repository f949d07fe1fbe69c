"""The one physical form of a contract table: which Arrow type, and so which pandas type, each column has.

Days are held as midnight in the same type as timestamps (`timestamp[us]`, naive UTC), because a column of
`datetime.date` objects is slow in pandas. A nullable integer is int64 in Arrow and, where something is missing, float64
in pandas.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from features.contracts.contract import ColumnType, Contract, suggestion
from store.errors import MissingColumn, WrongType

ARROW_TYPES: dict[ColumnType, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.timestamp("us"),
    "timestamp": pa.timestamp("us"),
}


def arrow_schema(contract: Contract) -> pa.Schema:
    """Fields in the order of the contract."""
    return pa.schema([pa.field(column.name, ARROW_TYPES[column.type]) for column in contract])


def cast_to_contract(table: pa.Table | pa.RecordBatch, contract: Contract) -> pa.Table:
    """The table with exactly the contract's columns, order and types; other columns are left out.

    A float column with whole numbers and gaps (what pandas makes of a nullable integer) becomes int64 with nulls.

    Raises
    ------
    MissingColumn : a column of the contract is not there and may not be empty.
    WrongType : a value cannot be held in the column's type without loss.
    """
    arrays = []
    names = table.schema.names
    for column in contract:
        target = ARROW_TYPES[column.type]
        if column.name not in names:
            if column.nullable:
                arrays.append(pa.nulls(table.num_rows, target))
                continue
            raise MissingColumn(
                f"Table {contract.name} lacks the column {column.name!r}.",
                remedy=suggestion(column.name, names),
                field=column.name,
            )
        array = table.column(column.name)
        try:
            arrays.append(_cast(array, target))
        except pa.ArrowException as error:
            raise WrongType(
                f"{contract.name}.{column.name} holds {array.type}, which does not fit {column.type}: "
                f"{str(error).splitlines()[0]}.",
                remedy="Load the table through `merit ingest`, which says which rows are at fault.",
                field=column.name,
            ) from None
    return pa.Table.from_arrays(
        [a if isinstance(a, pa.ChunkedArray) else pa.chunked_array([a]) for a in arrays], schema=arrow_schema(contract)
    )


def _cast(array: pa.ChunkedArray | pa.Array, target: pa.DataType) -> pa.ChunkedArray | pa.Array:
    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.cast(kind.value_type)
        kind = array.type
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        array = array.cast(pa.timestamp(kind.unit, tz="UTC")).cast(pa.timestamp(kind.unit))
        kind = array.type
    if pa.types.is_timestamp(kind) and kind.unit == "ns" and pa.types.is_timestamp(target):
        # Nanoseconds are cut off: no clock of ours counts them.
        return array.cast(target, safe=False)
    if pa.types.is_floating(kind) and pa.types.is_integer(target):
        array = pc.if_else(pc.is_nan(array), pa.scalar(None, kind), array)
    return array.cast(target)
