"""Quarantine: a row of a source is kept once, however often it is loaded."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import orjson
import sqlalchemy as sa
from alembic import op

revision = "0003_quarantine_once"
down_revision = "0002_business"
branch_labels = None
depends_on = None

_INDEX = "uq_quarantine_table_name_row_hash"


def upgrade() -> None:
    op.add_column("quarantine", sa.Column("row_hash", sa.String(length=32), nullable=True))
    _fill()
    _nullable(False)
    op.create_index(_INDEX, "quarantine", ["table_name", "row_hash"], unique=True)


def downgrade() -> None:
    op.drop_index(_INDEX, table_name="quarantine")
    with op.batch_alter_table("quarantine", table_kwargs={"sqlite_autoincrement": True}) as batch:
        batch.drop_column("row_hash")


def _nullable(nullable: bool) -> None:
    # SQLite rebuilds the table for this, which must not cost it its AUTOINCREMENT.
    with op.batch_alter_table("quarantine", table_kwargs={"sqlite_autoincrement": True}) as batch:
        batch.alter_column("row_hash", existing_type=sa.String(length=32), nullable=nullable)


def _fill() -> None:
    """Hash what is there, as `features.quarantine` does; of what piled up, the latest load's row stays."""
    connection = op.get_bind()
    table = sa.table(
        "quarantine",
        sa.column("id", sa.Integer),
        sa.column("table_name", sa.String),
        sa.column("row", sa.JSON),
        sa.column("source", sa.Text),
        sa.column("ingest_id", sa.String),
        sa.column("row_hash", sa.String),
    )
    seen: Counter[tuple[str, str, bytes]] = Counter()
    latest: dict[tuple[str, str], int] = {}
    filled: list[dict[str, Any]] = []
    obsolete: list[dict[str, Any]] = []
    columns = (table.c.id, table.c.table_name, table.c.row, table.c.source, table.c.ingest_id)
    for found in connection.execute(sa.select(*columns).order_by(table.c.id)).all():
        content = orjson.dumps([found.source, found.row], option=orjson.OPT_SORT_KEYS)
        key = (found.table_name, found.ingest_id, hashlib.sha256(content).digest())
        text = hashlib.sha256(content + b"%d" % seen[key]).hexdigest()[:32]
        seen[key] += 1
        before = latest.get((found.table_name, text))
        if before is not None:
            obsolete.append({"gone": before})
        latest[found.table_name, text] = found.id
        filled.append({"which": found.id, "text": text})
    if obsolete:
        connection.execute(sa.delete(table).where(table.c.id == sa.bindparam("gone")), obsolete)
    if filled:
        update = sa.update(table).where(table.c.id == sa.bindparam("which")).values(row_hash=sa.bindparam("text"))
        connection.execute(update, filled)
