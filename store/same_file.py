"""Whether a path still names the file that a process has open.

An SQLite file that is removed or replaced while a process holds it open goes on taking writes, which nobody will ever
read: the path leads elsewhere by then.
"""

from __future__ import annotations

from pathlib import Path

Identity = tuple[int, int]


def identity(path: str | Path) -> Identity | None:
    """Device and number of the file at a path; None when there is none."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
