"""The gateway's calls as rows to learn from: which model was asked, with which probability, and what came of it.

Words never leave the database: of a prompt that its workspace keeps, the gist is taken while it is read (see
`features.gist`); a workspace that keeps nothing, or whose key is not here, contributes what the gateway had told of the
task, the tokens and the outcome. As of a moment, calls asked until then count, with the feedback that was there then.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from features.digest import TableDigest
from features.gist import STRUCTURE, gists
from features.snapshot import utc
from store.database import migrate, session
from store.dataset import SnapshotRef
from store.errors import EmptyData, MeritError
from store.llm_feedback import one_each
from store.settings import Settings
from store.tables.gateway import FeedbackRow, LlmCallRow, LlmContentRow

log = logging.getLogger("merit.features")

TABLE = "llm_calls"
# What the columns of `training_frame` are for.
ROLES: Mapping[str, str] = {
    "row": "call",
    "time": "at",
    "group": "workspace",
    "model": "model",
    "words": "words",
    "structure": "structure",
}
# (workspace, id of the row, id of the key or None, stored bytes) → the words as they were.
Read = Callable[[str, str, str | None, bytes], bytes]

_NANOS = 1e9
_PAGE = 4_000
_STALE_AFTER = timedelta(days=3)
_PREFIX = 16
_SCHEMA = pa.schema(
    [
        ("call", pa.string()),
        ("at", pa.timestamp("us")),
        ("workspace", pa.string()),
        ("model", pa.string()),
        ("strategy", pa.string()),
        ("propensity", pa.float64()),
        ("explored", pa.bool_()),
        ("score", pa.float64()),
        ("score_from", pa.string()),
        ("input_tokens", pa.int64()),
        ("tokens", pa.float64()),
        ("cost", pa.float64()),
        ("latency", pa.float64()),
        ("domain", pa.string()),
        ("complexity", pa.string()),
        ("words", pa.binary()),
        ("structure", pa.binary()),
    ]
)


def end_of_calls(settings: Settings) -> datetime:
    """The moment up to which the ledger tells: now while it is in use, else the last call.

    Raises
    ------
    EmptyData : the ledger is empty.
    """
    migrate(settings)
    with session(settings, readonly=True) as opened:
        last = opened.scalar(sa.select(sa.func.max(LlmCallRow.at)))
    if last is None:
        raise EmptyData("The ledger holds no call.", remedy="Send prompts through the gateway first: `merit chat`.")
    now = utc(None)
    return now if now - last < _STALE_AFTER else last


def take(settings: Settings, as_of: datetime | None = None, read: Read | None = None) -> SnapshotRef:
    """Immutable copy of the calls that were answered by a model until `as_of`, gists in place of words.

    Parameters
    ----------
    read : opens words that are kept encrypted; None: those count as not kept.

    Raises
    ------
    EmptyData : there is none.
    """
    moment = utc(as_of) if as_of is not None else end_of_calls(settings)
    migrate(settings)
    shelf = settings.root / "snapshots"
    shelf.mkdir(parents=True, exist_ok=True)
    draft = shelf / f".{uuid.uuid4().hex}"
    draft.mkdir()
    digest = TableDigest(_SCHEMA)
    try:
        with pq.ParquetWriter(draft / f"{TABLE}.parquet", _SCHEMA, compression="zstd") as writer:
            for table in _pages(settings, moment, read):
                writer.write_table(table)
                for batch in table.to_batches():
                    digest.update(batch)
        if not digest.rows:
            raise EmptyData(
                f"No model had answered a call until {moment.isoformat(' ', 'minutes')}.",
                remedy="Send prompts through the gateway first, or choose a later moment.",
                field="as_of",
            )
        whole = hashlib.sha256(json.dumps([TABLE, digest.hexdigest()]).encode()).hexdigest()
        content = {"digest": whole, "tables": {TABLE: digest.rows}, "as_of": moment.isoformat()}
        (draft / "snapshot.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        place = shelf / whole[:_PREFIX]
        try:
            draft.rename(place)
        except OSError:
            if not (place / "snapshot.json").exists():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return SnapshotRef(str(place), whole, {TABLE: digest.rows}, moment)


def training_frame(snapshot: SnapshotRef, *, days: int) -> pd.DataFrame:
    """Calls of the last days before the snapshot's moment; see `ROLES`.

    Returns
    -------
    One row per call: `call, at, workspace, model, strategy, propensity, explored`, `score` (feedback, else the quality
    that was stored; NaN where nobody judged), `score_from` ("feedback", "judge" or null), `input_tokens`, `tokens` of
    the answer, `cost` in dollars, `latency` in milliseconds (NaN where other models were tried before), `domain`,
    `complexity`, `words` and `structure` (gists; of none where the words were not kept).

    Raises
    ------
    EmptyData : there is none.
    """
    frame: pd.DataFrame = pq.read_table(Path(snapshot.uri) / f"{TABLE}.parquet").to_pandas()
    recent = frame[frame["at"] > snapshot.as_of - timedelta(days=days)].reset_index(drop=True)
    if not len(recent):
        raise EmptyData(f"No call was answered in the last {days} days.", remedy="Look further back.", field="days")
    return recent


def words_of(body: bytes) -> str:
    """The last words of the user in the body of a request, as `gateway.choose` reads them; "" where there are none."""
    try:
        messages = json.loads(body).get("messages")
    except (ValueError, AttributeError):
        return ""
    if not isinstance(messages, list):
        return ""
    for message in reversed(messages):
        if isinstance(message, dict) and message.get("role") == "user":
            text = _text(message.get("content"))
            if text:
                return text
    last = messages[-1] if messages else None
    return _text(last.get("content")) if isinstance(last, dict) else ""


def _pages(settings: Settings, moment: datetime, read: Read | None) -> Iterator[pa.Table]:
    calls, contents = LlmCallRow, LlmContentRow
    judged = one_each(FeedbackRow.at <= moment)
    query = (
        sa.select(
            calls.seq, calls.id, calls.at, calls.workspace, calls.model, calls.strategy, calls.propensity,
            calls.explored, calls.quality, calls.input_tokens, calls.output_tokens, calls.cost, calls.latency_ms,
            calls.domain, calls.complexity, calls.decision["model"].as_string().label("chosen"),
            judged.c.score, judged.c.source, contents.key_id, contents.prompt,
        )
        .outerjoin(judged, judged.c.call_id == calls.id)
        .outerjoin(contents, contents.id == calls.id)
        .where(
            calls.at <= moment,
            calls.kind == "chat",
            calls.outcome == "ok",
            calls.model.is_not(None),
            # An answer from the cache says nothing about the model.
            sa.or_(calls.cache.is_(None), calls.cache == "miss"),
        )
        .order_by(calls.seq)
        .limit(_PAGE)
    )  # fmt: skip
    seq = 0
    with session(settings, readonly=True) as opened:
        while rows := opened.execute(query.where(calls.seq > seq)).all():
            seq = rows[-1].seq
            yield _table(rows, read)


def _table(rows: Sequence[sa.Row[Any]], read: Read | None) -> pa.Table:
    made = gists([_words(row, read) for row in rows])
    silent = np.diff(made.starts) == 0
    blank = np.zeros(len(STRUCTURE), "<f4").tobytes()
    structure = [blank if nothing else told for nothing, told in zip(silent, made.packed_structure(), strict=True)]
    # Another model than the chosen one answered: the probability was that of the one that failed.
    as_chosen = [row.chosen is None or row.chosen == row.model for row in rows]
    columns = {
        "call": [row.id for row in rows],
        "at": [row.at for row in rows],
        "workspace": [row.workspace for row in rows],
        "model": [row.model for row in rows],
        "strategy": [row.strategy for row in rows],
        "propensity": [float(row.propensity) if same else 1.0 for row, same in zip(rows, as_chosen, strict=True)],
        "explored": [bool(row.explored) for row in rows],
        "score": [row.quality if row.score is None else row.score for row in rows],
        "score_from": [_source(row) for row in rows],
        "input_tokens": [row.input_tokens for row in rows],
        "tokens": [float(row.output_tokens) for row in rows],
        "cost": [row.cost / _NANOS for row in rows],
        "latency": [row.latency_ms if same else None for row, same in zip(rows, as_chosen, strict=True)],
        "domain": [row.domain for row in rows],
        "complexity": [row.complexity for row in rows],
        "words": made.packed(),
        "structure": structure,
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in _SCHEMA], schema=_SCHEMA)


def _source(row: sa.Row[Any]) -> str | None:
    if row.score is not None and row.source != "judge":
        return "feedback"
    return None if row.score is None and row.quality is None else "judge"


def _words(row: sa.Row[Any], read: Read | None) -> str:
    if row.prompt is None:
        return ""
    if row.key_id is None:
        return words_of(row.prompt)
    if read is None:
        return ""
    try:
        return words_of(read(row.workspace, row.id, row.key_id, row.prompt))
    except MeritError as error:
        # The key is gone, or the row was changed: what is left is the ledger's line.
        log.warning("The words of the call %s cannot be read: %s", row.id, error.message)
        return ""


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = [part.get("text") if isinstance(part, dict) else part for part in content]
    return "\n".join(part for part in parts if isinstance(part, str) and part)
