"""Whether a store on SQLite may have changed, told from its files without asking it.

Every worker of the API looks for new champions every two seconds. With four models that takes MLflow 7 to 10 ms of
processor time, a look at two files 0.01 ms.
"""

from __future__ import annotations

import time
from pathlib import Path

# Of the database and of its write-ahead log: device, number, size, time of the last write; None where there is no file.
State = tuple[tuple[int, int, int, int] | None, ...]

# Two writes so close to each other may have the same time: there are file systems that count in steps of two seconds.
_COARSEST_CLOCK_NS = 3_000_000_000


def settled_state(database: Path | None) -> State | None:
    """What changes with every write, to be taken before the store is read.

    Returns
    -------
    None where nothing can be told: the store is no file, or was written to a moment ago.
    """
    if database is None:
        return None
    state = tuple(_file(path) for path in (database, database.with_name(f"{database.name}-wal")))
    if state[0] is None:
        return None
    # A time that lies ahead is not trusted either: the clock was set back.
    if any(one is not None and time.time_ns() - one[3] < _COARSEST_CLOCK_NS for one in state):
        return None
    return state


def _file(path: Path) -> tuple[int, int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
