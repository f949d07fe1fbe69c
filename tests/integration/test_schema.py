"""The schema on real SQLite and real Postgres: migrations and models agree, twice at once is harmless."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydantic import SecretStr

from features.quarantine import Quarantine
from store import database
from store.database import (
    alembic_config,
    current_revision,
    database_url,
    dispose,
    engine,
    head_revision,
    migrate,
    session,
)
from store.errors import ServiceUnavailable, SettingsError
from store.settings import Settings
from store.tables import Base
from store.tables.base import utc_now
from store.tables.business import QuarantineRow
from store.tables.platform import EventRow


@pytest.fixture(autouse=True)
def by_migrations(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here alone nothing takes the short way of `tests/conftest.py`."""
    if request.function is not test_what_other_tests_start_from_is_what_the_migrations_make:
        monkeypatch.setattr(database, "_upgrade", inspect.unwrap(database._upgrade))


@pytest.fixture
def migrated_postgres_url(postgres_url: str) -> str:
    """Here alone `on_both` begins with an empty one."""
    return postgres_url


def test_models_and_migrations_agree(on_both: Settings) -> None:
    migrate(on_both)
    with engine(on_both).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_migrating_from_many_threads_at_once(on_both: Settings) -> None:
    errors: list[Exception] = []

    def work() -> None:
        try:
            migrate(on_both)
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with engine(on_both).connect() as connection:
        assert current_revision(connection) == head_revision()


def test_migrating_from_processes_in_any_folder(on_both: Settings, tmp_path: Path) -> None:
    code = "from store.database import migrate; from store.settings import load_settings; migrate(load_settings())"
    environment = {**os.environ, "MERIT_HOME": str(on_both.home), "MERIT_DATABASE_URL": on_both.resolved_database_url}
    running = [
        subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in running:
        _, stderr = process.communicate(timeout=60)
        assert (process.returncode, stderr) == (0, "")
    with engine(on_both).connect() as connection:
        assert current_revision(connection) == head_revision()


def test_downgrade_leaves_nothing_behind(on_both: Settings) -> None:
    migrate(on_both)
    with engine(on_both).begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    with engine(on_both).connect() as connection:
        assert set(sa.inspect(connection).get_table_names()) <= {"alembic_version", "sqlite_sequence"}
    migrate(on_both)
    with engine(on_both).connect() as connection:
        assert current_revision(connection) == head_revision()


def test_quarantine_that_piled_up_is_kept_once(on_both: Settings) -> None:
    def to(revision: str) -> None:
        with engine(on_both).begin() as connection:
            config = alembic_config()
            config.attributes["connection"] = connection
            getattr(command, "downgrade" if revision < "0003" else "upgrade")(config, revision)

    migrate(on_both)
    to("0002_business")
    load = {"table_name": "customers", "source": "a.csv", "digest": "", "notes": "[]", "at": utc_now()}
    rows = [('{"a": 1, "b": 0.1}', 3), ('{"b": 0.1, "a": 1}', 4), ('{"a": 2}', 5)]
    with session(on_both) as opened:
        for number in ("1", "2"):
            opened.execute(
                sa.text(
                    "INSERT INTO ingests VALUES (:id, :table_name, :source, :digest, 3, 0, 0, 3, :notes, :at, :at)"
                ),
                load | {"id": number},
            )
            for row, position in rows:
                opened.execute(
                    sa.text(
                        "INSERT INTO quarantine (table_name, row, reasons, source, position, ingest_id, at) "
                        "VALUES (:table_name, :row, '[]', :source, :position, :id, :at)"
                    ),
                    load | {"id": number, "row": row, "position": position},
                )
    to("head")
    with session(on_both, readonly=True) as opened:
        kept = opened.scalars(sa.select(QuarantineRow).order_by(QuarantineRow.position)).all()
    # The two equal rows of one load stay two; of the two loads the later one's stay.
    assert [(one.position, one.ingest_id, one.row["a"]) for one in kept] == [(3, "2", 1), (4, "2", 1), (5, "2", 2)]
    with engine(on_both).begin() as connection:
        again = Quarantine(
            connection, {"table_name": "customers", "source": "a.csv", "id": "1", "started_at": utc_now()}
        )
        again.add({"position": 9, "row": {"b": 0.1, "a": 1}, "reasons": []} for _ in range(2))
    with session(on_both, readonly=True) as opened:
        assert opened.scalar(sa.select(sa.func.count()).select_from(QuarantineRow)) == 3


def test_a_later_schema_is_refused(on_both: Settings) -> None:
    migrate(on_both)
    with session(on_both) as opened:
        opened.execute(sa.text("UPDATE alembic_version SET version_num = '9999_future'"))
    with pytest.raises(SettingsError, match="Upgrade Meritorder"):
        migrate(on_both)


def test_a_raising_transaction_leaves_nothing(on_both: Settings) -> None:
    migrate(on_both)

    def interrupted() -> None:
        with session(on_both) as opened:
            opened.add(EventRow(kind="x", payload={}, created_at=utc_now()))
            opened.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    with session(on_both, readonly=True) as opened:
        assert opened.scalar(sa.select(sa.func.count()).select_from(EventRow)) == 0


def test_concurrent_writers_lose_nothing(on_both: Settings) -> None:
    migrate(on_both)
    errors: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(20):
                with session(on_both) as opened:
                    # Reads, then writes: the pattern that fails on SQLite when a transaction starts as a reader.
                    opened.scalar(sa.select(sa.func.count()).select_from(EventRow))
                    opened.add(EventRow(kind="x", payload={}, created_at=utc_now()))
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with session(on_both, readonly=True) as opened:
        assert opened.scalar(sa.select(sa.func.count()).select_from(EventRow)) == 80


def test_json_keeps_what_python_holds(on_both: Settings) -> None:
    import numpy as np
    import pandas as pd

    migrate(on_both)
    payload = {
        "float": np.float64(0.5),
        "nan": float("nan"),
        "int": np.int64(3),
        "bool": np.bool_(True),
        "array": np.array([1.0, np.inf]),
        "when": pd.Timestamp("2026-01-02"),
        "never": pd.NaT,
        "missing": pd.NA,
        "text": "Größe",
    }
    with session(on_both) as opened:
        opened.add(EventRow(kind="x", payload=payload, created_at=utc_now()))
    with session(on_both, readonly=True) as opened:
        (row,) = opened.scalars(sa.select(EventRow))
    assert row.payload == {
        "float": 0.5,
        "nan": None,
        "int": 3,
        "bool": True,
        "array": [1.0, None],
        "when": "2026-01-02T00:00:00",
        "never": None,
        "missing": None,
        "text": "Größe",
    }


def test_a_reader_does_not_wait_for_a_writer(settings: Settings) -> None:
    migrate(settings)
    done = threading.Event()

    def read() -> None:
        with session(settings, readonly=True) as opened:
            opened.scalar(sa.select(sa.func.count()).select_from(EventRow))
        done.set()

    with session(settings) as writing:
        writing.add(EventRow(kind="x", payload={}, created_at=utc_now()))
        writing.flush()
        thread = threading.Thread(target=read)
        thread.start()
        assert done.wait(25)  # less than a writer would be waited for
        thread.join()
    dispose(settings)


def test_an_absent_server_is_named_without_its_password(settings: Settings) -> None:
    url = SecretStr("postgres://merit:hunter2@127.0.0.1:1/none")
    absent = settings.model_copy(update={"database_url": url})
    for use in (lambda: migrate(absent), lambda: session(absent).__enter__().execute(sa.text("SELECT 1"))):
        with pytest.raises(Exception) as caught:
            use()
        assert "hunter2" not in str(caught.value)
    with pytest.raises(ServiceUnavailable, match=r"127\.0\.0\.1"):
        migrate(absent)


@pytest.mark.parametrize("url", ["nonsense", "mysql://u:hunter2@h/d", "sqlite://", "sqlite:///:memory:"])
def test_a_database_that_cannot_serve_is_refused(settings: Settings, url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        database_url(settings.model_copy(update={"database_url": SecretStr(url)}))
    assert caught.value.field == "MERIT_DATABASE_URL"
    assert "hunter2" not in str(caught.value)


def test_many_databases_do_not_keep_files_open(settings: Settings, tmp_path: Path) -> None:
    first = settings.model_copy(update={"home": tmp_path / "0"})
    migrate(first)
    held = engine(first)
    for number in range(1, 12):
        migrate(settings.model_copy(update={"home": tmp_path / str(number)}))
    descriptors = Path("/proc/self/fd")
    if descriptors.is_dir():  # Linux
        opened = {str(entry.resolve()) for entry in descriptors.iterdir()}
        assert str(tmp_path / "11" / "merit.db") in opened
        assert str(tmp_path / "0" / "merit.db") not in opened
    # One that was put aside while somebody holds it goes on working.
    with held.connect() as connection:
        assert current_revision(connection) == head_revision()


def test_what_other_tests_start_from_is_what_the_migrations_make(settings: Settings, tmp_path: Path) -> None:
    migrate(settings)
    other = Settings(home=tmp_path / "other", threads=1)
    with engine(other).begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    query = sa.text("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name")
    with engine(settings).connect() as ours, engine(other).connect() as theirs:
        assert ours.execute(query).all() == theirs.execute(query).all()
