"""Recovery: what processes that died left in their journals is posted, and calls that nobody ended are charged."""

from __future__ import annotations

import logging
from pathlib import Path

from gateway.account import lines
from gateway.account.journal import DeadJournal, dead_journals
from gateway.account.posting import Posting
from gateway.account.record import CallRecord

log = logging.getLogger("merit.gateway")
_BATCH = 500


def recover(root: Path, posting: Posting) -> list[CallRecord]:
    """The calls that were found, see `Ledger.recover`. Each journal is worked on by one process alone."""
    found: list[CallRecord] = []
    claimed = dead_journals(root)
    for number, journal in enumerate(claimed):
        try:
            found += _recover(journal, posting)
        except BaseException:
            for one in claimed[number:]:
                one.release()
            raise
        journal.remove()
    if found:
        lost = sum(one.outcome == "unknown" for one in found)
        log.warning("Recovered %d calls of processes that ended; how %d of them ended nobody knows.", len(found), lost)
    return found


def _recover(journal: DeadJournal, posting: Posting) -> list[CallRecord]:
    pending: dict[bytes, bytes] = {}
    found: list[CallRecord] = []
    for chunk in journal.chunks():
        ended: list[bytes] = []
        for line in chunk.split(b"\n"):
            letter = line[:2]
            if letter == b"O\t":
                pending[lines.id_of(line)] = line
            elif letter == b"C\t":
                pending.pop(lines.id_of(line), None)
                ended.append(line)
            elif letter == b"W\t":
                ended.append(line)
            elif line:
                posting.put_by(line, "unreadable")
        found += posting.post_new(b"\n".join(ended))
    ends: list[bytes] = []
    for line in pending.values():
        try:
            ends.append(lines.closed(lines.unknown(line))[:-1])
        except ValueError:
            posting.put_by(line, "unreadable")
    for start in range(0, len(ends), _BATCH):
        found += posting.post_new(b"\n".join(ends[start : start + _BATCH]))
    return found
