"""Run by Alembic, from `store.database.migrate` (which hands over its connection) or from the `alembic` command."""

from __future__ import annotations

from alembic import context
from sqlalchemy.engine import Connection

from store.tables import Base


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,  # SQLite alters a table by rebuilding it
        compare_type=True,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    from store.database import engine
    from store.settings import load_settings

    with engine(load_settings()).begin() as opened:
        _run(opened)
