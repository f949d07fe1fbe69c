"""A gateway killed at any moment: every call that was opened is in the ledger once, and charged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import sqlalchemy as sa

from gateway.account.ledger import Ledger
from store.database import migrate, session
from store.settings import Settings
from store.tables.gateway import LlmCallRow, LlmContentRow

ROOT = Path(__file__).resolve().parents[3]

# Opens and closes calls without end and says so, unbuffered: `b` before a call is opened, `o` after, `c` once closed.
CHILD = """
import os, random, sys
from gateway.account import journal
from gateway.account.contents import Content
from gateway.account.ledger import Ledger
from gateway.account.record import CallRecord
from gateway.prompt import Tenant
from gateway.usage import Usage
from store.settings import load_settings
from store.tables.base import new_id, utc_now

journal.SEGMENT_BYTES, journal.SPENT_BYTES = 20_000, 5_000
ledger = Ledger(load_settings(), interval=0.001)
ledger.start()
tenant, chance = Tenant(user="u"), random.Random(int(sys.argv[1]))
say = lambda *words: os.write(1, (" ".join(map(str, words)) + "\\n").encode())
streams = []
while True:
    call, at = new_id(), utc_now()
    say("b", call)
    common = dict(kind="chat", asked="auto", strategy="auto", model="sim/a", provider="sim")
    ledger.open(call, at, tenant, reserved=1000, **common)
    if chance.random() < 0.2:
        ledger.open(call, at, tenant, reserved=3000, **(common | {"model": "sim/b"}))
        say("o", call, 3000)
    else:
        say("o", call, 1000)
    streams.append((call, at))
    if len(streams) > 20 or chance.random() < 0.5:
        call, at = streams.pop(chance.randrange(len(streams)))
        cost = chance.randrange(1, 1000)
        ledger.close_call(
            CallRecord(call, at, tenant, "chat", "auto", "auto", "ok", usage=Usage(3, output=4), cost=cost),
            Content(call, "default", "u", None, b'{"q": 1}', None) if cost % 2 else None,
        )
        say("c", call, cost)
"""


def start(settings: Settings, seed: int) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "MERIT_HOME": str(settings.home),
        "MERIT_DATABASE_URL": settings.resolved_database_url,
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(seed)], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )


def heard(child: subprocess.Popen[str], lines: int) -> list[list[str]]:
    """What a child said until it was killed, in the middle of its work after so many lines."""
    assert child.stdout is not None
    said = [child.stdout.readline() for _ in range(lines)]
    child.send_signal(signal.SIGKILL)
    said += child.stdout.readlines()
    child.wait()
    child.stdout.close()
    # The last line may be torn.
    return [line.split() for line in said if line.endswith("\n")]


def test_killed_in_the_middle_of_many_calls(on_both: Settings) -> None:
    migrate(on_both)
    said: list[list[str]] = []
    for rounds, lines in enumerate((5, 700, 2500)):
        # Two gateways at once, the other one recovering what the last round left.
        first, second = start(on_both, rounds), start(on_both, 100 + rounds)
        said += heard(first, lines) + heard(second, lines)
    ledger = Ledger(on_both)
    ledger.start()
    ledger.close()
    assert [path.name for path in (on_both.root / "journal").iterdir()] == ["lock"]

    begun = {words[1] for words in said if words[0] == "b"}
    opened = {words[1]: int(words[2]) for words in said if words[0] == "o"}
    closed = {words[1]: int(words[2]) for words in said if words[0] == "c"}
    with session(on_both, readonly=True) as found:
        rows = {row.id: row for row in found.scalars(sa.select(LlmCallRow))}
        count = found.scalar(sa.select(sa.func.count()).select_from(LlmCallRow))
        kept = set(found.scalars(sa.select(LlmContentRow.id)))
    assert len(rows) == count  # each once
    assert len(closed) > 1000
    assert opened.keys() - closed.keys()
    assert opened.keys() <= rows.keys() <= begun
    for call, cost in closed.items():
        row = rows[call]
        assert (row.outcome, row.cost, row.input_tokens, row.output_tokens) == ("ok", cost, 3, 4)
        assert (call in kept) == (cost % 2 == 1)
    # One line of each child may have been written and not said.
    untold = 0
    for call in opened.keys() - closed.keys():
        row = rows[call]
        if row.outcome == "unknown":
            assert (row.cost, row.reserved, row.estimated, row.error) == (opened[call],) * 2 + (True, "interrupted")
        else:
            untold += 1
    assert untold <= 6
    # And recovering once more finds nothing.
    again = Ledger(on_both)
    again.start()
    assert again.recovered == []
    again.close()


def test_the_living_recover_the_dead_without_a_restart(settings: Settings) -> None:
    migrate(settings)
    living = Ledger(settings)
    living.start()
    said = heard(start(settings, 7), 400)
    found = living.recover()
    opened = {words[1] for words in said if words[0] == "o"}
    closed = {words[1] for words in said if words[0] == "c"}
    unknown = {one.id for one in found if one.outcome == "unknown"}
    assert len(opened - closed - unknown) <= 1
    assert unknown <= {words[1] for words in said if words[0] == "b"}
    assert not unknown & closed
    assert all(one.cost == one.reserved > 0 for one in found if one.outcome == "unknown")
    assert living.recover() == []
    assert living.state().recovered == len(found)
    living.close()
