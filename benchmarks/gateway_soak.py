"""A gateway worker over many calls: what it takes of the memory, and whether it grows.

    python -m benchmarks.gateway_soak [--calls 20000]

One worker with everything on in front of the simulated provider. Calls are whole, streamed, embedded, cached, by
strategy and by name, with a failure in a hundred, and every fortieth client goes away before its answer. The memory is
the worker's resident set; the ledger's sum is compared with the provider's bill in the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.gateway_peers import Peer, meritorder, upstream

CONCURRENCY = 64
STEPS = 10


def request(number: int) -> tuple[str, dict[str, Any]]:
    """What is asked in turn."""
    said = [{"role": "user", "content": "What is 17 * 23?"}]
    body: dict[str, Any] = {"model": "simulated/small", "messages": said, "max_tokens": 60, "user": f"u{number % 500}"}
    match number % 8:
        case 0:
            return "chat/completions", {**body, "model": "auto"}
        case 1 | 2:
            return "chat/completions", {**body, "stream": True}
        case 3:
            return "messages", body
        case 4:
            return "embeddings", {"model": "simulated/embed", "input": ["a river", f"buoy {number}"]}
        case 5:
            return "chat/completions", {**body, "merit": {"cache": "exact"}}
        case _:
            return "chat/completions", {**body, "messages": [{"role": "user", "content": f"Say {number}."}]}


async def ask(peer: Peer, numbers: Iterable[int]) -> Counter[int]:
    """Those calls, `CONCURRENCY` at a time; how many ended with which status."""
    statuses: Counter[int] = Counter()
    left: Iterator[int] = iter(numbers)
    root = peer.url.removesuffix("chat/completions")

    async def one(session: aiohttp.ClientSession) -> None:
        for number in left:
            path, body = request(number)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.005 if number % 40 == 7 else 60):
                    async with session.post(root + path, json=body) as answer:
                        await answer.read()
                        statuses[answer.status] += 1

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=dict(peer.headers)) as session:
        await asyncio.gather(*(one(session) for _ in range(CONCURRENCY)))
    return statuses


def resident(pid: int) -> float:
    """MiB in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20


def _json(url: str, headers: dict[str, str] | None = None, data: bytes | None = None) -> Any:
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json", **(headers or {})})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return json.load(answer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    calls = parser.parse_args().calls
    with tempfile.TemporaryDirectory(prefix="merit-soak-") as name, upstream(Path(name)) as base:
        fault = {"kind": "status", "status": 500, "probability": 0.01}
        with meritorder(base, {}, Path(name)) as peer:
            print(f"| calls | MiB | calls/s | answered |\n|---|---|---|---|\n| 0 | {resident(peer.pid):.1f} | | |")
            _json(f"{base}/simulator/faults", data=json.dumps(fault).encode())
            for step in range(STEPS):
                begin = time.perf_counter()
                numbers = range(calls * step // STEPS, calls * (step + 1) // STEPS)
                statuses = asyncio.run(ask(peer, numbers))
                rate = len(numbers) / (time.perf_counter() - begin)
                print(f"| {numbers.stop:,} | {resident(peer.pid):.1f} | {rate:.0f} | {statuses[200]:,} |", flush=True)
            root = peer.url.removesuffix("/chat/completions")
            used = _json(f"{root}/usage?by=outcome", dict(peer.headers))["rows"]
            bill = _json(f"{base}/simulator/bill?limit=0")
            told = ", ".join(f"{row['calls']:,} {row['outcome']}" for row in used)
            ledger = sum(row["cost"] for row in used)
            print(f"\nThe ledger: {told}; ${ledger:.6f}, and the provider's bill ${bill['total'] / 1e9:.6f}.")


if __name__ == "__main__":
    main()
