"""A small HTTP/1.1 load generator over kept-alive connections, meant to run in its own process.

    python benchmarks/http_load.py URL BODY_FILE --concurrency 16 --seconds 5

Sends the same JSON body by POST as fast as `concurrency` connections take it and prints one JSON line: requests,
errors, requests per second, p50 and p99 in milliseconds, and the CPU time that a request cost the generator itself. It
speaks just enough HTTP for servers that answer with a `Content-Length`, so that it is not what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit


class Connection(asyncio.Protocol):
    """One kept-alive connection that sends the next request as soon as the answer to the last one is complete."""

    def __init__(self, request: bytes, until: float, latencies: list[float], statuses: dict[int, int]) -> None:
        self.request = request
        self.until = until
        self.latencies = latencies
        self.statuses = statuses
        self.done = asyncio.get_running_loop().create_future()
        self.buffer = b""
        self.sent = 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._send()

    def _send(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lower = head.lower()
        start = lower.index(b"content-length:") + 15
        end = lower.find(b"\r\n", start)
        if len(rest) < int(lower[start : end if end >= 0 else None]):
            return
        self.buffer = b""
        now = time.perf_counter()
        status = int(head[9:12])
        self.statuses[status] = self.statuses.get(status, 0) + 1
        self.latencies.append(now - self.sent)
        if now < self.until:
            self._send()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(error)


async def load(url: str, body: bytes, concurrency: int, seconds: float, key: str | None = None) -> dict[str, float]:
    """Send for `seconds` and return the figures."""
    parts = urlsplit(url)
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n" + (f"Authorization: Bearer {key}\r\n" if key else "") + "\r\n"
    )
    request = head.encode() + body
    latencies: list[float] = []
    statuses: dict[int, int] = {}
    loop = asyncio.get_running_loop()
    begin, own = time.perf_counter(), time.process_time()
    made = [
        await loop.create_connection(
            lambda: Connection(request, begin + seconds, latencies, statuses), parts.hostname, parts.port
        )
        for _ in range(concurrency)
    ]
    async with asyncio.timeout(seconds + 30):
        broken = [await connection.done for _, connection in made]
    elapsed, own = time.perf_counter() - begin, time.process_time() - own
    ordered = sorted(latencies)
    good = sum(count for status, count in statuses.items() if 200 <= status < 300)
    return {
        "requests": len(ordered),
        "errors": len(ordered) - good + sum(error is not None for error in broken),
        "per_second": good / elapsed,
        "p50_ms": 1000 * ordered[len(ordered) // 2] if ordered else float("nan"),
        "p99_ms": 1000 * ordered[int(len(ordered) * 0.99)] if ordered else float("nan"),
        "generator_cpu_ms": 1000 * own / len(ordered) if ordered else float("nan"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("body", type=Path)
    parser.add_argument("--concurrency", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--key", help="sent as a bearer token")
    arguments = parser.parse_args()
    try:
        import uvloop

        run = uvloop.run
    except ImportError:
        run = asyncio.run
    body = arguments.body.read_bytes()
    print(json.dumps(run(load(arguments.url, body, arguments.concurrency, arguments.seconds, arguments.key))))


if __name__ == "__main__":
    main()
