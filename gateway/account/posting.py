"""Posting: what stands in a journal is entered into the ledger, each call once, whatever is wrong with a line."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DataError, IntegrityError

from gateway.account import lines
from gateway.account.record import CallRecord
from store import llm_calls
from store.settings import Settings

log = logging.getLogger("merit.gateway")

# What a line itself is to blame for: the same again would fail for ever, and keep all others waiting.
HOPELESS = (DataError, IntegrityError, TypeError, ValueError, OverflowError)


class Posting:
    """Brings lines into the database. What it can never hold is put by in a file, and told in the log.

    Attributes
    ----------
    written : calls brought into the database.
    unwritable : lines put by.
    """

    def __init__(self, settings: Settings, put_by: Path) -> None:
        self._settings = settings
        self._put_by = put_by
        self.written = 0
        self.unwritable = 0

    def post(self, data: bytes) -> None:
        """Enter the calls that have ended, and what was said, among whole lines; all in one transaction where nothing
        is wrong with any of them. Entering the same again changes nothing."""
        count = data.count(b"\nC\t") + data.startswith(b"C\t")
        if not count and b"W\t" not in data:
            return
        try:
            llm_calls.insert(self._settings, lines.rows(data), lines.contents(data))
        except HOPELESS:
            self._fitted(data)
        else:
            self.written += count

    def post_new(self, data: bytes) -> list[CallRecord]:
        """As `post`; returns the calls that were not in the database before."""
        if not data:
            return []
        try:
            rows = list(lines.rows(data))
            new = llm_calls.insert_new(self._settings, rows, lines.contents(data))
        except HOPELESS:
            rows, new = self._fitted(data)
        else:
            self.written += len(new)
        return [lines.record(row) for row in rows if row[0] in new]

    def _fitted(self, data: bytes) -> tuple[list[tuple[Any, ...]], set[str]]:
        """Lines made to fit: together where that is enough, else one by one."""
        try:
            rows = [llm_calls.fitted(row) for row in lines.rows(data)]
            new = llm_calls.insert_new(self._settings, rows, lines.contents(data))
        except HOPELESS:
            return self._one_by_one(data)
        self.written += len(rows)
        return rows, new

    def _one_by_one(self, data: bytes) -> tuple[list[tuple[Any, ...]], set[str]]:
        rows: list[tuple[Any, ...]] = []
        new: set[str] = set()
        hopeless: list[tuple[bytes, str]] = []
        for line in data.split(b"\n"):
            try:
                if line[:2] == b"C\t":
                    row = llm_calls.fitted(lines.row_of(line))
                    new |= llm_calls.insert_new(self._settings, [row])
                    rows.append(row)
                elif line[:2] == b"W\t":
                    llm_calls.insert(self._settings, (), [lines.content_of(line)])
            except HOPELESS as error:
                hopeless.append((line, type(error).__name__))
        # In the end: a database that goes away meanwhile makes all of this happen again.
        for line, reason in hopeless:
            self.put_by(line, reason)
        self.written += len(rows)
        return rows, new

    def put_by(self, line: bytes, reason: str) -> None:
        """Keep a line in a file of its own: somebody has to look at it."""
        self.unwritable += 1
        log.error("A line of the ledger cannot be stored (%s) and is put by in %s.", reason, self._put_by)
        with self._put_by.open("ab") as file:
            file.write(line + b"\n")
