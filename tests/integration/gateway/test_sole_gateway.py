"""One gateway per database where nothing is shared, on real SQLite and real Postgres, and as real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from gateway.account.sole_gateway import SoleGateway
from store.database import engine
from store.errors import SettingsError
from store.settings import Settings

# Postgres frees the lock of a session a moment after its client has gone.
FREED_S = 30.0
HOLDER = (
    "from gateway.account.sole_gateway import SoleGateway; from store.settings import load_settings; import time\n"
    "held = SoleGateway(load_settings()); held.acquire(); print('held', flush=True); time.sleep(60)"
)


def sharing(settings: Settings) -> Settings:
    return settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})


def test_the_second_is_told_what_to_do(on_both: Settings) -> None:
    first, second = SoleGateway(on_both), SoleGateway(on_both)
    first.acquire()
    with pytest.raises(SettingsError, match="MERIT_REDIS_URL"):
        second.acquire(0)
    first.release()
    second.acquire(FREED_S)
    assert second.held()
    second.release()


def test_those_that_share_a_redis_run_together_but_not_beside_one_that_does_not(on_both: Settings) -> None:
    first, second, alone = SoleGateway(sharing(on_both)), SoleGateway(sharing(on_both)), SoleGateway(on_both)
    first.acquire(0)
    second.acquire(0)
    with pytest.raises(SettingsError, match="Another gateway"):
        alone.acquire(0)
    first.release()
    with pytest.raises(SettingsError, match="Another gateway"):
        alone.acquire(0)
    second.release()
    alone.acquire(FREED_S)
    with pytest.raises(SettingsError, match="without MERIT_REDIS_URL"):
        first.acquire(0)
    alone.release()


def test_a_killed_gateway_frees_it(on_both: Settings) -> None:
    environment = {**os.environ, "MERIT_HOME": str(on_both.root), "MERIT_DATABASE_URL": on_both.resolved_database_url}
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE, text=True, env=environment)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    mine = SoleGateway(on_both)
    with pytest.raises(SettingsError):
        mine.acquire(0)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    mine.acquire(FREED_S)
    mine.release()


def test_a_session_that_postgres_ended_is_noticed(settings: Settings, postgres_url: str) -> None:
    settings = settings.model_copy(update={"database_url": SecretStr(postgres_url)})
    mine, other = SoleGateway(settings), SoleGateway(settings)
    mine.acquire(0)
    assert mine.held()
    with engine(settings).connect() as connection:
        # Waits until it has gone, and its lock with it: it says that it ends before it does.
        ended = "SELECT pg_terminate_backend(pid, 30000) FROM pg_locks WHERE locktype = 'advisory'"
        assert connection.scalar(sa.text(ended))
    assert mine.held()
    with pytest.raises(SettingsError):
        other.acquire(0)
    mine.release()
    engine(settings).dispose()
