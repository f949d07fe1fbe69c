"""What every table shares: the declarative base, moments in naive UTC, ids that sort by time."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from struct import unpack

from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase

# Random numbers to come, of which a process that is forked off must not use the same.
_TAILS = 256
_tails: list[int] = []
os.register_at_fork(after_in_child=_tails.clear)


class Base(DeclarativeBase):
    """Constraints get names, so that a migration can alter them on every database."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def utc_now() -> datetime:
    """This moment as naive UTC, the form in which every moment is stored."""
    return datetime.now(UTC).replace(tzinfo=None)


def new_id() -> str:
    """32 hex digits that sort by the time they were made (layout of RFC 9562's UUID version 7)."""
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    # 12 bits below the millisecond keep ids of one process in order within it.
    fraction = (nanoseconds << 12) // 1_000_000
    try:
        tail = _tails.pop()
    except IndexError:
        # Many at once: asking the kernel for each costs more than all the rest.
        tail, *more = unpack(f"{_TAILS}Q", os.urandom(8 * _TAILS))
        _tails.extend(more)
    return f"{milliseconds:012x}7{fraction:03x}{0x8 << 60 | tail >> 4:016x}"


def id_at(moment: datetime) -> str:
    """The least id that can have been made at a moment, naive UTC: ids sort by time, so a range of them is indexed."""
    return f"{int(moment.replace(tzinfo=UTC).timestamp() * 1000):012x}"
