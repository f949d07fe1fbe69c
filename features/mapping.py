"""From their column names to ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from features.contracts import EVENT_TIME, RECORDED_AT, Contract, suggestion
from store.errors import InvalidValue, MissingColumn, ValidationFailed


@dataclass(frozen=True)
class ColumnMap:
    """Which columns of a source are read as what.

    Attributes
    ----------
    ours : their name → our name, for every column that is used.
    ignored : their columns that no column of the contract is filled from.
    absent : columns of the contract that nothing fills; nullable ones and the two clocks.
    """

    ours: Mapping[str, str]
    ignored: tuple[str, ...]
    absent: tuple[str, ...]


def parse_mapping(pairs: Iterable[str]) -> dict[str, str]:
    """`["kunde=customer_id"]` as `{"kunde": "customer_id"}`. Raises `InvalidValue` where a pair has no "="."""
    mapping: dict[str, str] = {}
    for pair in pairs:
        # From the right: a column of theirs may hold a "=", none of ours does.
        theirs, sign, ours = pair.rpartition("=")
        if not sign or not theirs.strip() or not ours.strip():
            raise InvalidValue(
                f"{pair!r} is no mapping.",
                remedy="Write theirs=ours, such as kunde=customer_id.",
                field="map",
                value=pair,
            )
        mapping[theirs.strip()] = ours.strip()
    return mapping


def map_columns(columns: Iterable[str], mapping: Mapping[str, str], contract: Contract) -> ColumnMap:
    """Match the columns of a source with those of a contract: by the mapping, the rest by equal names.

    Raises
    ------
    MissingColumn : the mapping names a column that the source or the contract does not have.
    InvalidValue : two columns would fill one.
    ValidationFailed : a column that must be there is not.
    """
    theirs = [str(name) for name in columns]
    for name, ours in mapping.items():
        if name not in theirs:
            raise MissingColumn(
                f"The source has no column {name!r}, which is mapped to {ours!r}.",
                remedy=suggestion(name, theirs),
                field=name,
                value=name,
            )
        contract.column(ours)
    used = dict(mapping)
    for name in theirs:
        if name not in used and name in contract.names:
            used[name] = name
    for ours in contract.names:
        sources = [name for name, target in used.items() if target == ours]
        if len(sources) > 1:
            raise InvalidValue(
                f"Columns {' and '.join(map(repr, sources))} would both fill {contract.name}.{ours}.",
                remedy="Map only one of them, or rename the other in the source.",
                field=ours,
            )
    filled = set(used.values())
    lacking = [name for name in contract.required if name not in filled]
    if lacking:
        free = [name for name in theirs if name not in used]
        lines = "\n".join(f"  {contract.name}.{name}: must be there; {suggestion(name, free)}" for name in lacking)
        raise ValidationFailed(
            f"The source lacks {len(lacking)} column{'s' * (len(lacking) != 1)} of {contract.name}:\n{lines}\n",
            remedy=f"Map the source's own name with --map THEIRS={lacking[0]}; nothing was written.",
            field=lacking[0],
        )
    absent = tuple(name for name in contract.names if name not in filled)
    assert all(contract.column(n).nullable or n in (EVENT_TIME, RECORDED_AT) for n in absent)
    return ColumnMap(used, tuple(name for name in theirs if name not in used), absent)
